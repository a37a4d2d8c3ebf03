package follow

import (
	"context"
	"time"

	"github.com/millrace/millrace/model"
)

// Unload says why a model was unloaded.
type Unload string

// The reasons.
const (
	UnloadBudget Unload = "budget" // the models loaded took more than their budget
	UnloadUnused Unload = "unused" // loaded on demand, and gave way to another or to nobody's asking
)

// shrinkPause is the time between two looks at a budget that is exceeded while
// every model is in use.
const shrinkPause = time.Second

// beside does what no single target's loop does, until ctx ends.
func (f *Follower) beside(ctx context.Context) {
	f.patience(ctx)
	if f.cfg.MemoryBudget == 0 {
		return
	}
	tick := time.NewTicker(shrinkPause)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			f.shrink()
		}
	}
}

// shrink unloads the models unused for longest while those that are loaded
// take more than the budget, after the versions that are kept to go back to:
// never one that a batch holds, one that was loaded
// for requests that are about to run, one that is served elsewhere, or the last.
func (f *Follower) shrink() {
	if f.cfg.MemoryBudget == 0 {
		return
	}
	f.shrinking.Lock()
	defer f.shrinking.Unlock()
	for {
		var sum int64
		var victim *target
		var of *held
		var spare *target
		loaded, counted := 0, make(map[string]bool) // what several references name may be shared
		for _, t := range f.all() {
			h := t.current.Load()
			if h == nil {
				continue
			}
			if p := t.warm(); p != nil && p.snapshot.Bytes > 0 {
				spare, sum = t, sum+p.snapshot.Bytes
			}
			loaded++
			if !counted[h.snapshot.Identity] {
				counted[h.snapshot.Identity] = true
				sum += h.snapshot.Bytes
			}
			if h.snapshot.Bytes > 0 && !t.needed(h) && (victim == nil || t.lastUse(h) < victim.lastUse(of)) {
				victim, of = t, h
			}
		}
		if sum > f.cfg.MemoryBudget && spare != nil { // a version that serves is worth more than one to go back to
			spare.letGo()
			continue
		}
		if sum <= f.cfg.MemoryBudget || loaded < 2 || victim == nil {
			return
		}
		if victim.unload(of) {
			victim.log.Info("model is unloaded: unused for longest, and the models loaded exceed MILLRACE_MODEL_MEMORY_BUDGET",
				"model", of.snapshot.Name, "version", of.snapshot.Version, "bytes", of.snapshot.Bytes, "loaded", sum)
			victim.unloaded(of.snapshot, UnloadBudget)
		}
	}
}

// warm is the version before, while it is kept to go back to.
func (t *target) warm() *held {
	t.serving.Lock()
	defer t.serving.Unlock()
	return t.previous
}

// letGo gives up the version before.
func (t *target) letGo() {
	t.serving.Lock()
	defer t.serving.Unlock()
	if t.previous != nil {
		t.log.Warn("the version before is let go before its time: the models loaded exceed MILLRACE_MODEL_MEMORY_BUDGET",
			"model", t.previous.snapshot.Name, "version", t.previous.snapshot.Version)
	}
	t.endProbation()
}

// lastUse is when a request last asked for it, or when it was loaded.
func (t *target) lastUse(h *held) int64 { return max(t.used.Load(), h.snapshot.Loaded.UnixNano()) }

// needed says that a batch runs on it, or that the requests it was loaded for
// have not had their turn.
func (t *target) needed(h *held) bool {
	loaded := h.snapshot.Loaded
	return h.snapshot.Held() || t.used.Load() > 0 && t.used.Load() < loaded.UnixNano() && time.Since(loaded) < t.cfg.Wait
}

func (t *target) unloaded(s *model.Snapshot, why Unload) {
	if t.obs.Unloaded != nil {
		t.obs.Unloaded(t.Name, s, why)
	}
}
