package follow

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/model"
)

// demand is what requests ask of a target, and what the budget takes from it.
type demand struct {
	used   atomic.Int64  // when a request last asked for it, in Unix nanoseconds
	tries  atomic.Int64  // that have ended since the start, or since others began to serve
	wanted chan struct{} // capacity 1: look now
	ended  func()        // called after each try

	// The target's mu guards what follows.
	asleep    bool             // unloaded, and no request has asked since
	onDemand  bool             // a request has named it
	missing   bool             // the registry knows no such model
	round     *round           // the load that requests wait for; nil for none
	had       bool             // it was unloaded
	signature *model.Signature // of what was
}

// round is a load that requests wait for.
type round struct {
	began time.Time
	done  chan struct{}
}

func newDemand() demand {
	return demand{wanted: make(chan struct{}, 1), round: &round{done: make(chan struct{})}}
}

// begin starts the first round.
func (t *target) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.round.began = time.Now()
}

// pending is the load that requests wait for.
func (t *target) pending() *round {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.round
}

// tried ends the wait for a load that has ended, one way or the other. One that
// was asked for since then has its turn.
func (t *target) tried(r *round) {
	t.tries.Add(1)
	t.mu.Lock()
	if r != nil {
		close(r.done)
	}
	if t.round == r {
		t.round = nil
	}
	t.mu.Unlock()
	t.ended()
}

// look makes the target's loop look at once.
func (t *target) look() {
	select {
	case t.wanted <- struct{}{}:
	default:
	}
}

// isAsleep says that the target is to stay unloaded.
func (t *target) isAsleep() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.asleep && t.current.Load() == nil
}

// settled says whether there is nothing to wait for: it serves, would on
// demand, or has failed.
func (t *target) settled() (settled, serves bool) {
	serves = t.current.Load() != nil || t.isAsleep()
	return serves || t.tries.Load() > 0, serves
}

// absent is why a request gets no snapshot of a target that has none. Asking
// wakes one that was unloaded.
func (t *target) absent(name string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.asleep {
		t.asleep = false
		t.state.State = StateLoading
		if t.round == nil {
			t.round = &round{began: time.Now(), done: make(chan struct{})}
		}
		t.look()
	}
	if t.missing {
		return model.Errorf(model.NotFound, "the registry has no model %q", name)
	}
	if t.round == nil {
		return model.Errorf(model.Unavailable, "model %s did not load; it is tried again", t.called(name))
	}
	err := model.Errorf(model.Unavailable, "model %s is being loaded", t.called(name))
	if until := t.round.began.Add(t.cfg.Wait); time.Now().Before(until) {
		return &model.LoadingError{Err: err, Done: t.round.done, Until: until}
	}
	return err
}

// unload closes the target's model when its last batch lets go of it. What it
// is called and what it looked like stays known.
func (t *target) unload(h *held) bool {
	t.serving.Lock()
	defer t.serving.Unlock()
	if !t.sleep(h) {
		return false
	}
	t.retire(h)
	t.endProbation()
	return true
}

func (t *target) sleep(h *held) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state.State == StateStopped || !t.current.CompareAndSwap(h, nil) {
		return false
	}
	t.asleep, t.had, t.signature = true, true, h.snapshot.Signature
	t.state.State, t.state.Bytes = StateUnloaded, 0
	return true
}

// lastSignature is the signature that requests are answered by, or were before
// the model was unloaded.
func (t *target) lastSignature() (s *model.Signature, known bool) {
	if h := t.current.Load(); h != nil {
		return h.snapshot.Signature, true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.signature, t.had
}

// reload brings back what was unloaded, by what the reference named last: that
// the registry is out of reach takes no model that was there.
func (t *target) reload(ctx context.Context) error {
	t.mu.Lock()
	unloaded := t.had && !t.asleep
	t.mu.Unlock()
	if !unloaded || t.current.Load() != nil {
		return nil
	}
	s, err := t.load(ctx, t.last)
	if err != nil {
		return err
	}
	t.swap(s, t.last)
	return nil
}
