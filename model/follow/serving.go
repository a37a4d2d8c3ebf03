package follow

import (
	"time"

	"github.com/millrace/millrace/model"
)

// publish makes h serve, and tells of it. The caller holds t.serving.
func (t *target) publish(h, before *held) {
	now, old := h.snapshot, (*model.Snapshot)(nil)
	if before != nil {
		old = before.snapshot
	}
	t.current.Store(h)
	t.served(now)
	if t.obs.Swapped != nil {
		t.obs.Swapped(t.Name, now, old)
	}
	if t.alone.Identity != "" {
		t.showLeft() // the pool may have left it alone before this one served anything
	}
	t.reached(now.Name, Step{Step: StepSwapped, Version: now.Version, Identity: now.Identity})
	t.log.Info("model is serving", "model", now.Name, "version", now.Version, "flavor", now.Flavor)
}

// stopServing lets go of all that is loaded.
func (t *target) stopServing() {
	t.serving.Lock()
	defer t.serving.Unlock()
	t.endProbation()
	if h := t.current.Swap(nil); h != nil {
		t.retire(h)
		t.left(h)
	}
}

// goBack swaps to the version before without loading it again, when that is
// what the reference names and it is still warm.
func (t *target) goBack(r Resolved) bool {
	t.serving.Lock()
	defer t.serving.Unlock()
	if t.previous == nil || t.previous.snapshot.Identity != r.Identity {
		return false
	}
	from, to := t.current.Load(), t.previous
	t.previous = nil
	t.log.Info("model goes back to the version before, which is still warm", "model", r.Name, "version", r.Version)
	t.publish(to, from)
	t.foundElsewhere(r, to, from)
	t.showProbation()
	t.retire(from)
	return true
}

// succeed puts next into the place of what serves, which is kept warm for a
// while. Of two that come one after the other within the window, the one that
// had proved itself stays to go back to.
func (t *target) succeed(next *held) {
	t.serving.Lock()
	defer t.serving.Unlock()
	old := t.current.Load()
	t.publish(next, old)
	switch {
	case old == nil:
		return
	case t.cfg.RollbackWindow == 0:
		t.foundElsewhere(next.resolved, next, old)
		t.retire(old)
		return
	case old.snapshot.Identity == t.alone.Identity: // the pool went back from it
		t.foundElsewhere(next.resolved, next, old)
		t.endProbation()
		t.retire(old)
		return
	case t.previous == nil:
		t.previous = old
	default:
		t.retire(old)
	}
	t.until, t.slow = time.Now().Add(t.cfg.RollbackWindow), slowness{}
	t.showProbation()
	select {
	case t.swapped <- struct{}{}:
	default: // the watch has yet to see the last one
	}
}

// foundElsewhere tells of the rollback when to takes the place of from since
// another worker found it bad. The caller holds t.serving.
func (t *target) foundElsewhere(r Resolved, to, from *held) {
	if r.Withdrawn != nil && r.Withdrawn.Identity == from.snapshot.Identity {
		t.log.Error("model is rolled back, as another worker found", "model", from.snapshot.Name, "version", from.snapshot.Version,
			"back_to", to.snapshot.Version, "by", r.Withdrawn.By, "detail", r.Withdrawn.Detail)
		t.wentBack(to, from, ReasonPool, r.Withdrawn.Detail)
	}
}

// endProbation lets the version before go. The caller holds t.serving.
func (t *target) endProbation() {
	if t.previous == nil {
		return
	}
	name := t.previous.snapshot.Name
	t.retire(t.previous)
	t.previous = nil
	if t.obs.OnProbation != nil {
		t.obs.OnProbation(name, false)
	}
}
