package follow

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/millrace/millrace/model"
)

// State of a reference.
type State string

// The states.
const (
	StateWaiting  State = "waiting" // nothing resolved or loaded yet
	StateLoading  State = "loading" // the first version is being loaded
	StateServing  State = "serving"
	StateUnloaded State = "unloaded" // for the memory's sake, until a request names it
	StateStopped  State = "stopped"
)

// Status is what GET /models shows of a reference.
type Status struct {
	Reference string    `json:"reference"`
	State     State     `json:"state"`
	Name      string    `json:"name,omitempty"`
	Version   string    `json:"version,omitempty"`
	Identity  string    `json:"identity,omitempty"`
	Source    string    `json:"source,omitempty"`
	Flavor    string    `json:"flavor,omitempty"`
	Signature string    `json:"signature,omitempty"`
	LoadedAt  time.Time `json:"loaded_at,omitzero"`
	Bytes     int64     `json:"bytes,omitempty"`     // of memory, by estimate
	OnDemand  bool      `json:"on_demand,omitempty"` // a request has named it
	LastPoll  time.Time `json:"last_poll,omitzero"`
	LastError string    `json:"last_error,omitempty"`
	Endpoint  any       `json:"endpoint,omitempty"` // of a model that is served elsewhere
	Stale     string    `json:"stale,omitempty"`    // why what serves is what the reference named last, not now

	Comparison *Comparison `json:"comparison,omitempty"` // of the newest version that came
	Probation  *Probation  `json:"probation,omitempty"`  // while the version before is kept warm
	LeftAlone  *LeftAlone  `json:"left_alone,omitempty"` // the version that was rolled back
	History    []Step      `json:"history,omitempty"`    // the newest last
}

// Probation is how a new version does, as long as the one before is kept to go
// back to.
type Probation struct {
	Until    time.Time `json:"until"`
	Previous string    `json:"previous"` // version
	Requests uint64    `json:"requests"` // answered or failed by the model's fault
	Failed   uint64    `json:"failed"`
	P95      float64   `json:"p95_seconds"`          // of its calls
	Before   float64   `json:"previous_p95_seconds"` // of the version before
}

func (t *target) status() Status {
	t.serving.Lock()
	probation := t.probation()
	var left *LeftAlone
	if t.alone.Identity != "" {
		left = new(t.alone)
	}
	t.serving.Unlock()
	t.mu.Lock()
	s := t.state
	s.Probation, s.LeftAlone, s.History = probation, left, slices.Clone(t.history)
	t.mu.Unlock()
	if t.Endpoint != nil {
		s.Endpoint = t.Endpoint()
	}
	return s
}

// probation describes the window that is open, nil when none is. The caller
// holds t.serving.
func (t *target) probation() *Probation {
	h := t.current.Load()
	if t.previous == nil || h == nil {
		return nil
	}
	recent := h.outcomes.recent.Load()
	p := &Probation{Until: t.until.UTC(), Previous: t.previous.snapshot.Version, Failed: recent.failed.Load()}
	_, p.Requests = shareOf(recent)
	at, _ := p95(recent.all()...)
	was, _ := p95(append(t.previous.outcomes.recent.Load().all(), t.previous.outcomes.last.Load().all()...)...)
	p.P95, p.Before = at.Seconds(), was.Seconds()
	return p
}

func (t *target) setState(s State) {
	t.mu.Lock()
	t.state.State = s
	t.mu.Unlock()
}

func (t *target) served(s *model.Snapshot) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.state.State, t.state.Bytes = StateServing, s.Bytes
	t.asleep, t.missing = false, false
	t.state.Name, t.state.Version, t.state.Identity = s.Name, s.Version, s.Identity
	t.state.Source, t.state.Flavor, t.state.LoadedAt = s.Source, s.Flavor, s.Loaded
	t.state.Signature = ""
	if text, ok := any(s.Signature).(fmt.Stringer); ok && s.Signature != nil {
		t.state.Signature = text.String()
	}
}

func (t *target) polled(r Resolved, err error) {
	at := r.At
	if at.IsZero() {
		at = time.Now()
	}
	err = errors.Join(err, r.Stale)
	t.mu.Lock()
	switch {
	case r.Stale != nil:
		t.state.Stale = r.Stale.Error()
	case err == nil:
		t.state.Stale, t.state.LastPoll = "", at
	}
	t.mu.Unlock()
	name := r.Name
	if name == "" {
		name = t.Name
	}
	switch {
	case r.Announced && t.obs.Heard != nil:
		t.obs.Heard(name, at, err)
	case !r.Announced && t.obs.Polled != nil:
		t.obs.Polled(name, err)
	}
}

// failed records a failure, and logs it when its reason is another than before.
func (t *target) failed(err error) {
	t.failures++
	t.mu.Lock()
	t.state.LastError = err.Error()
	if t.state.State == StateLoading {
		t.state.State = StateWaiting
	}
	serving := t.state.State == StateServing
	t.mu.Unlock()
	if t.said == err.Error() {
		return
	}
	t.said = err.Error()
	if serving {
		t.log.Warn("cannot follow the model; the last good version keeps serving", "error", err)
	} else {
		t.log.Warn("waiting for the model", "error", err)
	}
}

func (t *target) recovered() {
	if t.said != "" {
		t.log.Info("model reference is followed again")
	}
	t.failures, t.said = 0, ""
	t.mu.Lock()
	t.state.LastError = ""
	t.mu.Unlock()
}

// remember notes that a version failed to load, so that it is not downloaded
// again at each poll.
func (t *target) remember(r Resolved, err error) {
	identity := r.Identity
	if t.bad != identity {
		t.badCount = 0
	}
	t.badCount++
	t.bad, t.badErr = identity, err
	t.badUntil = time.Now().Add(t.backoff(t.badCount))
	if t.badCount == 1 {
		t.reached(r.Name, Step{Step: StepRefused, Version: r.Version, Identity: r.Identity, Detail: err.Error()})
	}
}

func (t *target) lastLoadError() error { return t.badErr }

func (t *target) forget() { t.bad, t.badErr, t.badCount = "", nil, 0 }
