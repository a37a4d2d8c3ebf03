package follow

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// The reasons of a rollback, which are a metric's label.
const (
	ReasonFailures = "failures" // too many of its requests failed
	ReasonLatency  = "latency"  // its calls take too long
	ReasonPool     = "pool"     // another worker found so
)

// lookEvery is how often the outcomes of a new version are looked at.
const lookEvery = 250 * time.Millisecond

// watch looks at how a new version does while the one before is kept warm, and
// goes back to that when it does badly. It ends with ctx.
func (t *target) watch(ctx context.Context) {
	if t.cfg.RollbackWindow == 0 {
		return
	}
	for {
		timer := time.NewTimer(t.judge(ctx))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-t.swapped:
			timer.Stop()
		}
	}
}

// judge looks at the new version and returns how long to wait for the next look.
func (t *target) judge(ctx context.Context) time.Duration {
	t.serving.Lock()
	defer t.serving.Unlock()
	h := t.current.Load()
	if h == nil {
		t.endProbation()
		return t.cfg.RollbackWindow
	}
	if t.previous == nil {
		h.outcomes.rotate() // the next version is held against how this one did of late
		return t.cfg.RollbackWindow
	}
	if reason, detail := verdict(&t.cfg, h.outcomes, t.previous.outcomes, &t.slow); reason != "" {
		t.rollBack(ctx, h, reason, detail)
		return t.cfg.RollbackWindow
	}
	left := time.Until(t.until)
	if left > 0 {
		return min(left, lookEvery)
	}
	t.log.Info("model has proved itself; the version before is let go", "model", h.snapshot.Name, "version", h.snapshot.Version,
		"before", t.previous.snapshot.Version)
	t.reached(h.snapshot.Name, Step{Step: StepKept, Version: h.snapshot.Version, Identity: h.snapshot.Identity})
	t.endProbation()
	return t.cfg.RollbackWindow
}

// verdict says why a version should not go on to serve in place of the one
// before; reason is "" when it may.
func verdict(cfg *Config, now, before *outcomes, slow *slowness) (reason, detail string) {
	recent := now.recent.Load()
	share, n := shareOf(recent)
	old, _ := shareOf(before.recent.Load(), before.last.Load())
	if n >= uint64(cfg.RollbackMin) && share > old+cfg.RollbackFailures { //nolint:gosec // above 0
		return ReasonFailures, fmt.Sprintf("%.1f %% of its %d requests failed, %.1f %% of those of the version before", 100*share, n, 100*old)
	}
	if detail := slow.judge(cfg, recent, before); detail != "" {
		return ReasonLatency, detail
	}
	return "", ""
}

// rollBack makes the version before serve again in place of bad, which is left
// alone from now on. The caller holds t.serving.
func (t *target) rollBack(ctx context.Context, bad *held, reason, detail string) {
	good := t.previous
	t.previous, t.good = nil, good.resolved
	t.alone = LeftAlone{
		Version: bad.snapshot.Version, Identity: bad.snapshot.Identity, Reason: reason, Detail: detail, At: time.Now(),
	}
	if t.cfg.Quarantine > 0 {
		t.alone.Until = t.alone.At.Add(t.cfg.Quarantine)
	}
	t.log.Error("model is rolled back", "model", bad.snapshot.Name, "version", bad.snapshot.Version, "back_to", good.snapshot.Version,
		"reason", reason, "detail", detail)
	t.publish(good, bad)
	t.wentBack(good, bad, reason, detail)
	t.showProbation()
	t.retire(bad)
	if t.Withdraw != nil {
		t.Withdraw(ctx, t.alone, good.resolved)
	}
}

// wentBack tells of a rollback. The caller holds t.serving.
func (t *target) wentBack(good, bad *held, reason, detail string) {
	t.reached(bad.snapshot.Name, Step{Step: StepRolledBack, Version: bad.snapshot.Version, Identity: bad.snapshot.Identity, Detail: detail})
	if t.obs.RolledBack != nil {
		t.obs.RolledBack(good.snapshot, bad.snapshot, reason)
	}
	t.showLeft()
}

// LeftAlone is a version that was rolled back, which is not taken again.
type LeftAlone struct {
	Version  string    `json:"version"`
	Identity string    `json:"identity"`
	Reason   string    `json:"reason"`       // failures or latency
	By       string    `json:"by,omitempty"` // the worker that found so, "" for this one
	Detail   string    `json:"detail"`
	At       time.Time `json:"at"`
	Until    time.Time `json:"until,omitzero"` // zero: until the reference names another version
}

var errLeftAlone = errors.New("it was rolled back")

// leaves says why a version is not taken that the reference names, and which
// serves in its place. That it names another forgives the one before.
func (t *target) leaves(r Resolved) (good Resolved, left error) {
	t.serving.Lock()
	defer t.serving.Unlock()
	if w := r.Withdrawn; w != nil {
		if t.alone.Identity != w.Identity {
			t.alone = *w
			t.showLeft()
		}
		return r, fmt.Errorf("version %s is left alone: %w: %s", w.Version, errLeftAlone, t.alone.Detail)
	}
	if t.alone.Identity == "" {
		return r, nil
	}
	if t.alone.Identity != r.Identity || !t.alone.Until.IsZero() && !time.Now().Before(t.alone.Until) {
		t.alone = LeftAlone{}
		t.showLeft()
		return r, nil
	}
	return t.good, fmt.Errorf("version %s is left alone: %w: %s", r.Version, errLeftAlone, t.alone.Detail)
}

// showProbation and showLeft tell the observer. The caller holds t.serving.
func (t *target) showProbation() {
	if h := t.current.Load(); h != nil && t.obs.OnProbation != nil {
		t.obs.OnProbation(h.snapshot.Name, t.previous != nil)
	}
}

func (t *target) showLeft() {
	if h := t.current.Load(); h != nil && t.obs.LeftAlone != nil {
		t.obs.LeftAlone(h.snapshot.Name, t.alone.Identity != "")
	}
}
