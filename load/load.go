// Package load puts a service under load and says how it bore it.
//
// In a closed loop a number of users each send a request, wait for its response,
// and send the next: a slow service slows its users, so that the percentiles say
// nothing of requests that would have come meanwhile. In an open loop requests are
// due at a rate, whatever the service does, and a latency counts from when its
// request was due: that is what callers who do not wait for each other feel.
//
// It sends to whatever it is given and refuses nothing; point it at what is yours.
package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"time"
)

// Target is what is put under load. It is safe for concurrent use.
type Target interface {
	// Send sends one request and waits for its answer, until ctx is done at the
	// longest.
	Send(ctx context.Context, body []byte) Outcome
	// Close gives up connections, when nothing is under way any more.
	Close() error
}

// Outcome is what became of a request.
type Outcome struct {
	Reason  string // why it failed, in words that many failures share; "" when it did not
	Model   string // who answered, as far as the answer says
	Version string
	Replica string
}

// Step is a part of an open loop.
type Step struct {
	Rate float64       // requests a second
	For  time.Duration // 0: to the end of the test
}

// Config is one load test.
type Config struct {
	Target   Target
	Body     func(i int) []byte // the body of request i, counted over all users from 0; called concurrently
	Duration time.Duration      // of the whole test, the start of the users included; 0 runs until ctx is done
	Timeout  time.Duration      // of one request; 30 s when 0

	// The closed loop.
	Users     int           // at the full load
	SpawnRate float64       // users started a second; 0 starts all at once
	Think     time.Duration // a user's pause between response and next request
	Spread    float64       // share of Think by which each pause is longer or shorter, at random: users who all pause alike fall into step

	// The open loop, when it has steps. Requests that are due while MaxInFlight are
	// under way wait, and their waiting counts.
	Steps       []Step
	MaxInFlight int // 10,000 when 0

	Watch    func(context.Context) (Sample, error) // what the service says of itself, once a second; nil: nothing
	Terminal bool                                  // whether out is a terminal: the live line is written over itself
}

// Sample is what a service says of itself.
type Sample struct {
	Lag     float64 // records that wait
	Workers float64
}

// Validate names every setting that cannot be worked with, by its flag.
func (c *Config) Validate() error {
	var errs []error
	refuse := func(bad bool, why string) {
		if bad {
			errs = append(errs, errors.New(why))
		}
	}
	refuse(c.Target == nil, "there is nothing to send to")
	refuse(c.Body == nil, "there are no bodies to send")
	refuse(c.Duration < 0, "--duration: must not be below 0")
	refuse(c.Timeout < 0, "--timeout: must not be below 0")
	refuse(c.Think < 0, "--think: must not be below 0")
	refuse(c.MaxInFlight < 0, "--max-in-flight: must not be below 0")
	if len(c.Steps) == 0 {
		refuse(c.Users < 1, "--users: must be at least 1")
		refuse(!(c.Spread >= 0 && c.Spread <= 1), "--think-spread: must be 0 to 1") // nor NaN
		refuse(c.SpawnRate < 0 || math.IsNaN(c.SpawnRate), "--spawn-rate: must not be below 0")
	}
	for i, s := range c.Steps {
		refuse(s.Rate <= 0 || math.IsNaN(s.Rate) || math.IsInf(s.Rate, 0), fmt.Sprintf("--rate: %v is no rate above 0", s.Rate))
		refuse(s.For < 0, "--rate: a step must not last less than 0")
		refuse(s.For == 0 && i < len(c.Steps)-1, "--rate: every step but the last needs its time, as in 100:30s,200")
	}
	return errors.Join(errs...)
}

// Run puts the load on until the duration is over or ctx is done, and then
// returns what was measured: an early end is no error. Requests under way at the
// end are broken off and not counted; those of an open loop that were due and
// could not be sent are failures. The live lines go to out.
func Run(ctx context.Context, cfg Config, out io.Writer) (*Report, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 30 * time.Second
	}
	if cfg.MaxInFlight == 0 {
		cfg.MaxInFlight = 10_000
	}
	duration := cfg.length()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if duration > 0 { // no deadline: requests pass theirs on, and that is their own
		end := time.AfterFunc(duration, cancel)
		defer end.Stop()
	}

	r := newRecorder()
	var watching sync.WaitGroup
	watching.Go(func() { watch(ctx, out, r, cfg.Terminal, duration) })
	watching.Go(func() { r.sample(ctx, cfg.Watch) })
	if len(cfg.Steps) > 0 {
		drive(ctx, &cfg, r)
	} else {
		spawn(ctx, &cfg, r)
	}
	cancel()
	watching.Wait()
	p := r.report()
	p.describe(&cfg)
	return p, nil
}

// length is how long the test lasts, 0 when nothing says.
func (c *Config) length() time.Duration {
	var sum time.Duration
	for _, s := range c.Steps {
		if s.For == 0 {
			return c.Duration
		}
		sum += s.For
	}
	if sum == 0 || c.Duration > 0 && c.Duration < sum {
		return c.Duration
	}
	return sum
}

// request sends one and records it, unless the test ended meanwhile. Its time
// counts from due.
func request(ctx context.Context, cfg *Config, r *recorder, due time.Time) {
	body := cfg.Body(r.next())
	r.inFlight.Add(1)
	bounded, cancel := context.WithTimeout(ctx, cfg.Timeout)
	out := cfg.Target.Send(bounded, body)
	cancel()
	r.inFlight.Add(-1)
	took := time.Since(due)
	if out.Reason != "" && ctx.Err() != nil {
		return
	}
	r.record(took, out)
}

func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
