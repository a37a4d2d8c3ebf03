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
	resolved Resolved
	closed   chan struct{} // closed by the model's Close
	outcomes *outcomes
}

// target follows one reference. Its loop's goroutine owns the fields without a
// comment.
type target struct {
	Target
	cfg        Config
	log        *slog.Logger
	obs        Observer
	compatible func(current, next *model.Signature) error

	current atomic.Pointer[held] // stored under serving, or taken away under mu
	demand
	closing sync.WaitGroup // retired snapshots that batches may still hold

	serving  sync.Mutex    // held over every change of what serves; taken before mu
	previous *held         // guarded by serving: to go back to, nil when there is none
	until    time.Time     // guarded by serving: when previous is let go
	alone    LeftAlone     // guarded by serving
	good     Resolved      // guarded by serving: what serves in its place
	slow     slowness      // guarded by serving: of what serves
	swapped  chan struct{} // capacity 1: wakes the watch

	mu      sync.Mutex
	state   Status // guarded by mu
	history []Step // guarded by mu, oldest first

	closeErr error // guarded by mu

	last     Resolved // what the reference named when it was last resolved
	failures int      // in a row
	bad      string   // identity that failed to load
	badUntil time.Time
	badCount int
	badErr   error
	said     string // the reason last logged
	named    string // the identity last told to be resolved
}

func newTarget(t Target, cfg Config, d Deps) *target {
	return &target{
		Target: t, cfg: cfg, obs: d.Observer, compatible: d.Compatible,
		log:     d.Log.With("reference", t.Reference),
		swapped: make(chan struct{}, 1),
		state:   Status{Reference: t.Reference, State: StateWaiting}, demand: newDemand(),
	}
}

// run polls until ctx is done, then retires what serves and waits for it.
func (t *target) run(ctx context.Context) error {
	t.begin()
	var watch sync.WaitGroup
	watch.Go(func() { t.watch(ctx) })
	for ctx.Err() == nil {
		round := t.pending()
		wait := t.step(ctx)
		t.tried(round)
		t.rest(ctx, wait)
	}
	watch.Wait()
	t.setState(StateStopped)
	t.stopServing()
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
	if errors.Is(err, errLeftAlone) {
		return jitter(t.cfg.Poll) // nothing failed that could be tried again
	}
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
	good, left := t.leaves(r)
	if left != nil && r.Withdrawn == nil {
		t.last = good
		return errors.Join(left, t.reload(ctx))
	}
	t.last = r
	if h := t.current.Load(); h != nil && h.snapshot.Identity == r.Identity || t.goBack(r) {
		t.forget()
		return left
	}
	if t.named != r.Identity {
		t.named = r.Identity
		t.reached(r.Name, Step{Step: StepResolved, Version: r.Version, Identity: r.Identity})
	}
	if t.isAsleep() {
		return left // the next request that names it loads what is current then
	}
	if t.bad == r.Identity && time.Now().Before(t.badUntil) {
		return t.lastLoadError() // downloading it again so soon would fail again
	}
	next, err := t.load(ctx, r)
	if ctx.Err() != nil && err != nil {
		return nil //nolint:nilerr // a shutdown is no failure
	}
	if err != nil {
		t.remember(r, err)
		return t.lastLoadError()
	}
	t.forget()
	t.swap(next, r)
	return left
}

func (t *target) load(ctx context.Context, r Resolved) (*model.Snapshot, error) {
	if t.current.Load() == nil {
		t.setState(StateLoading)
	}
	start := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, t.cfg.LoadTimeout, errLoadTimeout)
	defer cancel()
	ctx, done := t.withProgress(ctx, r)
	s, err := t.Load(ctx, r)
	if err == nil {
		done.reached(StepWarmed)
		if r.Withdrawn == nil { // what is gone back to is not held against what it replaces
			err = t.check(ctx, s)
		}
	}
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, errLoadTimeout) {
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

// check refuses a snapshot that must not take the place of the current one, and
// closes it then.
func (t *target) check(ctx context.Context, next *model.Snapshot) error {
	current, known := t.lastSignature()
	if !known {
		return nil
	}
	if t.compatible != nil && !t.cfg.AllowBreaking {
		if err := t.compatible(current, next.Signature); err != nil {
			return errors.Join(fmt.Errorf("its signature breaks the current one (MILLRACE_MODEL_ALLOW_BREAKING=true takes it): %w", err),
				next.Release())
		}
	}
	if err := t.compare(ctx, next); err != nil {
		return errors.Join(err, next.Release())
	}
	return nil
}

// swap publishes next, which the follower owns from now on.
func (t *target) swap(next *model.Snapshot, r Resolved) {
	h := &held{snapshot: next, resolved: r, closed: make(chan struct{}), outcomes: newOutcomes()}
	next.Model = &lateCloser{Model: next.Model, closed: h.closed, outcomes: h.outcomes}
	t.succeed(h)
}

// lateCloser makes Close, which the last holder calls on its hot path, no more
// than a signal: the janitor closes.
type lateCloser struct {
	model.Model
	closed   chan struct{}
	outcomes *outcomes
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
