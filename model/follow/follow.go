// Package follow keeps the version of a model that a reference names loaded
// and warm: it asks a registry what the reference names, loads a new version
// beside the one that serves, and swaps the two atomically. Whatever fails on
// the way leaves the last good version serving. It knows neither registries nor
// runtimes; both are functions that it is given.
package follow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/millrace/millrace/model"
)

// Resolved is what a reference names at the moment.
type Resolved struct {
	Name     string
	Version  string
	Identity string // tells apart versions that share a name and number
	Value    any    // what the resolver wants to hand to the loader

	// Stale says why this is from memory: the registry could not be asked. nil
	// when it was.
	Stale error

	Announced bool      // by another: the registry was not asked
	At        time.Time // when that was so; zero is now

	// Withdrawn is the version that the reference names, when the pool went back
	// from it: all else is of the version that serves in its place.
	Withdrawn *LeftAlone
}

// Observer is told what happens, for metrics. Any of its functions may be nil.
// They are called from the goroutines of [Follower.Run].
type Observer struct {
	Polled func(model string, err error)
	// Heard is called in place of it when the answer was announced.
	Heard  func(model string, at time.Time, err error)
	Loaded func(model string, took time.Duration, err error)
	// Swapped gets the snapshot that serves from now on and the one before,
	// which is nil the first time and after it was unloaded. name is the
	// target's.
	Swapped func(name string, now, before *model.Snapshot)
	// Unloaded gets what no longer serves and has no heir.
	Unloaded func(name string, s *model.Snapshot, why Unload)
	// Stepped gets every step of a version.
	Stepped func(model string, s Step)
	// Compared gets how far the answers of a new version are from those of the
	// current one; see [Comparison].
	Compared func(model string, distance float64)
	// RolledBack is told after Swapped was.
	RolledBack func(now, bad *model.Snapshot, reason string)
	// OnProbation is told whether the version before is kept warm, and LeftAlone
	// whether a version is that the reference names.
	OnProbation func(model string, on bool)
	LeftAlone   func(model string, on bool)
}

// Target is one reference to follow.
type Target struct {
	Reference string // for people and logs
	Name      string // what requests may call it besides its registered name; may be empty
	Alias     string // makes name@alias a name for it, while it serves
	Model     string // the registered model's name, where the reference tells it

	// Resolve asks what the reference names. Load gives a snapshot of it, warm
	// and owned by the follower.
	Resolve func(context.Context) (Resolved, error)
	Load    func(context.Context, Resolved) (*model.Snapshot, error)

	// Moved, unless it is nil, tells that it is time to resolve again.
	Moved <-chan struct{}
	// Endpoint, unless it is nil, describes for GET /models where a model that
	// is served elsewhere is reached.
	Endpoint func() any
	// Wake gets a duration when the reference should be resolved within that
	// time. Withdraw is told of a version that was rolled back, and of the one
	// that serves in its place; it must not wait. Both may be nil.
	Wake     <-chan time.Duration
	Withdraw func(ctx context.Context, bad LeftAlone, instead Resolved)
}

// Deps are what a [Follower] works with. Only Targets is required.
type Deps struct {
	Targets  []Target // the first is the default
	Log      *slog.Logger
	Observer Observer

	// Compatible says why a new signature breaks users of the current one, nil
	// when it does not.
	Compatible func(current, next *model.Signature) error

	// OnDemand makes a reference of a name that a request may name, such as
	// fraud@champion. nil: none is loaded on demand. Missing says whether an
	// error of its Resolve is that there is no such model.
	OnDemand func(name string) (Target, error)
	Missing  func(error) bool
}

// Follower follows references. It is a worker's source of snapshots.
type Follower struct {
	cfg     Config
	deps    Deps
	targets []*target
	start   start

	shrinking sync.Mutex // one goroutine at a time looks for what to unload

	mu      sync.RWMutex         // guards what follows
	launch  func(*demanded) bool // starts what a request has named; nil before Run and after
	demands map[string]*demanded // by the name in requests
	started sync.WaitGroup       // the loops of demands
}

// New makes a follower; Run starts it.
func New(cfg Config, d Deps) (*Follower, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if len(d.Targets) == 0 {
		return nil, errors.New("follow: no model to serve")
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	f := &Follower{cfg: cfg, deps: d, demands: make(map[string]*demanded), start: newStart()}
	for _, t := range d.Targets {
		if t.Resolve == nil || t.Load == nil {
			return nil, fmt.Errorf("follow: %s lacks Resolve or Load", t.Reference)
		}
		own := newTarget(t, cfg, d)
		own.ended = func() { f.look(own) }
		f.targets = append(f.targets, own)
	}
	return f, nil
}

// Run follows all references until ctx is done, then closes the models when
// their last batches have let go of them. It joins all it started. It returns
// nil after ctx was cancelled, else what closing failed with.
func (f *Follower) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	f.open(ctx)
	wg.Go(func() { f.beside(ctx) })
	errs := make([]error, len(f.targets))
	for i, t := range f.targets {
		wg.Go(func() { errs[i] = t.run(ctx) })
	}
	wg.Wait()
	f.endDemands()
	return errors.Join(errs...)
}

// Status describes every reference, the default first, then what was loaded on
// demand.
func (f *Follower) Status() []Status {
	var list []Status
	for _, t := range f.all() {
		list = append(list, t.status())
	}
	return list
}
