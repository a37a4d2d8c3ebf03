package follow

import (
	"context"
	"time"
)

// The steps of a version, in their order.
const (
	StepResolved   = "resolved"   // the reference names it
	StepDownloaded = "downloaded" // it is on disk, verified
	StepLoaded     = "loaded"     // it is open
	StepWarmed     = "warmed"     // it has made its first runs
	StepCompared   = "compared"   // with the current version, on the input examples
	StepSwapped    = "swapped"    // it serves
	StepKept       = "kept"       // it served for the rollback window and stays
	StepRefused    = "refused"    // it could not be loaded, or must not serve
	StepRolledBack = "rolled_back"
)

// Step is something that happened to a version.
type Step struct {
	At       time.Time `json:"at"`
	Step     string    `json:"step"`
	Version  string    `json:"version"`
	Identity string    `json:"identity"`
	Seconds  float64   `json:"seconds,omitempty"` // that it took, of steps that take time
	Detail   string    `json:"detail,omitempty"`  // why, of a refusal or rollback
}

// historyLen bounds what is remembered of a reference.
const historyLen = 32

// reached notes a step in the history and tells the observer.
func (t *target) reached(model string, s Step) {
	t.remind(s)
	if t.obs.Stepped != nil {
		t.obs.Stepped(model, s)
	}
}

func (t *target) remind(s Step) {
	s.At = time.Now().UTC()
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.history) == historyLen {
		copy(t.history, t.history[1:])
		t.history = t.history[:historyLen-1]
	}
	t.history = append(t.history, s)
}

// progress notes the steps of one loading; it belongs to the goroutine that
// loads.
type progress struct {
	t     *target
	r     Resolved
	last  time.Time
	again bool // it was refused before: the history has it already
}

type progressKey struct{}

// withProgress lets what runs under the context tell of its steps.
func (t *target) withProgress(ctx context.Context, r Resolved) (context.Context, *progress) {
	p := &progress{t: t, r: r, last: time.Now(), again: t.bad == r.Identity}
	return context.WithValue(ctx, progressKey{}, p), p
}

// Reached tells of a step of the loading that ctx is for, such as
// [StepDownloaded]; it took what has passed since the step before. It does
// nothing under any other context. Calls come from one goroutine at a time.
func Reached(ctx context.Context, step string) {
	if p, ok := ctx.Value(progressKey{}).(*progress); ok {
		p.reached(step)
	}
}

func (p *progress) reached(step string) {
	now := time.Now()
	s := Step{Step: step, Version: p.r.Version, Identity: p.r.Identity, Seconds: now.Sub(p.last).Seconds()}
	p.last = now
	if !p.again {
		p.t.remind(s)
	}
	if p.t.obs.Stepped != nil {
		p.t.obs.Stepped(p.r.Name, s)
	}
}
