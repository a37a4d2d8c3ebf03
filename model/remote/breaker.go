package remote

import (
	"sync"
	"time"
)

// State of a breaker.
type State string

// The states.
const (
	Closed   State = "closed"    // requests pass
	Open     State = "open"      // the endpoint fails and is left alone
	HalfOpen State = "half-open" // one request is trying it
)

// outcome is what a request told of its endpoint.
type outcome int

const (
	unknown outcome = iota // it was cancelled
	alive                  // an answer, whatever it says of the request
	dead                   // no answer, or that there is none at the moment
)

// breaker keeps requests away from an endpoint that fails. It opens after
// limit failures in a row; rest later it lets one request through, whose
// outcome closes it or opens it again.
type breaker struct {
	limit   int
	rest    time.Duration
	changed func(State) // called with mu held

	mu       sync.Mutex // guards what follows
	state    State
	failures int       // in a row
	since    time.Time // when state began
	last     string    // the last failure
}

func newBreaker(limit int, rest time.Duration, changed func(State)) *breaker {
	b := &breaker{limit: limit, rest: rest, changed: changed, state: Closed, since: time.Now()}
	changed(Closed)
	return b
}

// allow says whether a request may pass, and if not, after how long the next
// one may. Who was let pass calls done.
func (b *breaker) allow() (ok bool, wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch b.state {
	case Closed:
		return true, 0
	case Open:
		if wait = b.rest - time.Since(b.since); wait > 0 {
			return false, wait
		}
		b.become(HalfOpen)
		return true, 0
	case HalfOpen: // the one that tries is still out
	}
	return false, 0
}

// done tells what became of a request that was let pass. why is the failure of
// a dead endpoint.
func (b *breaker) done(o outcome, why string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case o == alive:
		b.failures, b.last = 0, ""
		if b.state != Closed {
			b.become(Closed)
		}
	case o == dead:
		b.failures++
		b.last = why
		if b.state == HalfOpen || b.state == Closed && b.failures >= b.limit {
			b.become(Open)
		}
	case b.state == HalfOpen: // nothing was learnt: the next one may try
		b.state = Open
		b.since = b.since.Add(-b.rest)
		b.changed(Open)
	}
}

// become needs mu.
func (b *breaker) become(s State) {
	b.state, b.since = s, time.Now()
	b.changed(s)
}

// Status is what GET /models shows of an endpoint.
type Status struct {
	URL       string    `json:"url"`
	Breaker   State     `json:"breaker"`
	Since     time.Time `json:"since"`
	Failures  int       `json:"failures"` // in a row
	LastError string    `json:"last_error,omitempty"`
}

func (b *breaker) status() Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	return Status{Breaker: b.state, Since: b.since, Failures: b.failures, LastError: b.last}
}
