package follow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/model"
)

// held is a snapshot together with the hold counts that keep Release off the
// closing path.
type held struct {
	snapshot *model.Snapshot
	closed   chan struct{} // closed by the model's Close
}

// target follows one reference. Its loop's goroutine owns the fields without a
// comment.
type target struct {
	Target
	cfg        Config
	log        *slog.Logger
	obs        Observer
	compatible func(current, next *model.Signature) error

	current atomic.Pointer[held]
	demand
	closing sync.WaitGroup // retired snapshots that batches may still hold

	mu    sync.Mutex
	state Status // guarded by mu

	closeErr error // guarded by mu

	last     Resolved // what the reference named when it was last resolved
	failures int      // in a row
	bad      string   // identity that failed to load
	badUntil time.Time
	badCount int
	badErr   error
	said     string // the reason last logged
}

func newTarget(t Target, cfg Config, d Deps) *target {
	return &target{
		Target: t, cfg: cfg, obs: d.Observer, compatible: d.Compatible,
		log:   d.Log.With("reference", t.Reference),
		state: Status{Reference: t.Reference, State: StateWaiting}, demand: newDemand(),
	}
}

// run polls until ctx is done, then retires what serves and waits for it.
func (t *target) run(ctx context.Context) error {
	t.begin()
	for ctx.Err() == nil {
		round := t.pending()
		wait := t.step(ctx)
		t.tried(round)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-t.Moved:
		case <-t.wanted:
		}
		timer.Stop()
	}
	t.setState(StateStopped)
	if h := t.current.Swap(nil); h != nil {
		t.retire(h)
		t.left(h)
	}
	t.closing.Wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.closeErr
}

// step polls once and returns how long to wait for the next.
func (t *target) step(ctx context.Context) time.Duration {
	err := t.poll(ctx)
	if ctx.Err() != nil {
		return 0
	}
	if err == nil {
		t.recovered()
		return jitter(t.cfg.Poll)
	}
	t.failed(err)
	// Never slower than the polling: the reference may move to a version that
	// works while a broken one is left alone.
	return min(t.backoff(t.failures), jitter(t.cfg.Poll))
}

// poll asks what the reference names, and swaps when that is new.
func (t *target) poll(ctx context.Context) error {
	r, err := t.Resolve(ctx)
	if ctx.Err() != nil {
		return nil //nolint:nilerr // a shutdown is no failure
	}
	t.polled(r, err)
	if err != nil {
		return errors.Join(fmt.Errorf("resolve: %w", err), t.reload(ctx))
	}
	t.last = r
	if h := t.current.Load(); h != nil && h.snapshot.Identity == r.Identity {
		t.forget()
		return nil
	}
	if t.isAsleep() {
		return nil // the next request that names it loads what is current then
	}
	if t.bad == r.Identity && time.Now().Before(t.badUntil) {
		return t.lastLoadError() // downloading it again so soon would fail again
	}
	next, err := t.load(ctx, r)
	if ctx.Err() != nil && err != nil {
		return nil //nolint:nilerr // a shutdown is no failure
	}
	if err != nil {
		t.remember(r.Identity, err)
		return t.lastLoadError()
	}
	t.forget()
	t.swap(next)
	return nil
}

func (t *target) load(ctx context.Context, r Resolved) (*model.Snapshot, error) {
	if t.current.Load() == nil {
		t.setState(StateLoading)
	}
	start := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, t.cfg.LoadTimeout, errLoadTimeout)
	defer cancel()
	s, err := t.Load(ctx, r)
	if err == nil {
		err = t.check(s)
	} else if cause := context.Cause(ctx); errors.Is(cause, errLoadTimeout) {
		err = errors.Join(cause, err)
	}
	if t.obs.Loaded != nil {
		t.obs.Loaded(r.Name, time.Since(start), err)
	}
	if err != nil {
		return nil, fmt.Errorf("load %s version %s: %w", r.Name, r.Version, err)
	}
	return s, nil
}

var errLoadTimeout = errors.New("loading took longer than MILLRACE_MODEL_LOAD_TIMEOUT")

// check refuses a snapshot whose signature breaks requests that are answered
// now, and closes it then.
func (t *target) check(next *model.Snapshot) error {
	current, known := t.lastSignature()
	if !known || t.compatible == nil || t.cfg.AllowBreaking {
		return nil
	}
	if err := t.compatible(current, next.Signature); err != nil {
		return errors.Join(fmt.Errorf("its signature breaks the current one (MILLRACE_MODEL_ALLOW_BREAKING=true takes it): %w", err),
			next.Release())
	}
	return nil
}

// swap publishes next and lets go of what it replaces.
func (t *target) swap(next *model.Snapshot) {
	h := &held{snapshot: next, closed: make(chan struct{})}
	next.Model = &lateCloser{Model: next.Model, closed: h.closed}
	old := t.current.Swap(h)
	var before *model.Snapshot
	if old != nil {
		before = old.snapshot
	}
	t.served(next)
	if t.obs.Swapped != nil {
		t.obs.Swapped(next, before)
	}
	t.log.Info("model is serving", "model", next.Name, "version", next.Version, "flavor", next.Flavor)
	if old != nil {
		t.retire(old)
	}
}

// lateCloser makes Close, which the last holder calls on its hot path, no more
// than a signal: the janitor closes.
type lateCloser struct {
	model.Model
	closed chan struct{}
}

func (c *lateCloser) Close() error {
	close(c.closed)
	return nil
}

// retire gives up the follower's hold and closes the model, in a goroutine
// that run joins, when the last batch has given up its own.
func (t *target) retire(h *held) {
	t.closing.Go(func() {
		_ = h.snapshot.Release() // a signal alone, see lateCloser
		<-h.closed
		inner, ok := h.snapshot.Model.(*lateCloser)
		if !ok {
			return
		}
		if err := inner.Model.Close(); err != nil {
			t.log.Error("model does not close", "model", h.snapshot.Name, "version", h.snapshot.Version, "error", err)
			t.mu.Lock()
			t.closeErr = errors.Join(t.closeErr, err)
			t.mu.Unlock()
		}
	})
}

// backoff doubles from RetryMin to RetryMax, and is jittered.
func (t *target) backoff(failures int) time.Duration {
	d := t.cfg.RetryMin
	for range failures - 1 {
		if d >= t.cfg.RetryMax/2 {
			d = t.cfg.RetryMax
			break
		}
		d *= 2
	}
	return jitter(d)
}

// jitter spreads the polls of a pool's workers by ± 20 %.
func jitter(d time.Duration) time.Duration {
	return d - d/5 + rand.N(max(1, 2*d/5)) //nolint:gosec // spreads load, guards nothing
}
