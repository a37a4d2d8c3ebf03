package follow

import (
	"context"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/model"
)

// demanded is a target that a request has named.
type demanded struct {
	*target
	by    string // what requests call it
	since time.Time
	end   context.CancelFunc
}

// all lists the targets that are configured, the default first, and those that
// requests have named.
func (f *Follower) all() []*target {
	f.mu.RLock()
	defer f.mu.RUnlock()
	list := slices.Clip(f.targets)
	for _, d := range f.demands {
		list = append(list, d.target)
	}
	return list
}

// open lets requests have models loaded, until ctx ends.
func (f *Follower) open(ctx context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.launch = func(d *demanded) bool {
		own, end := context.WithCancel(ctx)
		if d.end = end; ctx.Err() != nil {
			return false
		}
		f.started.Go(func() {
			defer end()
			_ = d.run(own) // what fails is logged
		})
		return true
	}
}

// onDemand finds what requests have had loaded, and begins to load what they
// may. ok says that the name is one of those.
func (f *Follower) onDemand(name string) (s *model.Snapshot, ok bool, err error) {
	f.mu.RLock()
	d := f.demands[name]
	f.mu.RUnlock()
	if d == nil {
		if !f.allowed(name) {
			return nil, false, nil
		}
		if d, err = f.demand(name); err != nil {
			return nil, true, err
		}
	}
	s, err = d.hold(name)
	return s, true, err
}

// allowed says whether the name is one of a version that may be loaded.
func (f *Follower) allowed(name string) bool {
	i := strings.IndexAny(name, "@/")
	if f.deps.OnDemand == nil || i <= 0 || i == len(name)-1 {
		return false
	}
	for _, pattern := range f.cfg.OnDemand {
		if ok, _ := path.Match(pattern, name[:i]); ok {
			return true
		}
	}
	return false
}

// demand begins to follow what a name stands for.
func (f *Follower) demand(name string) (*demanded, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if d := f.demands[name]; d != nil {
		return d, nil
	}
	if len(f.demands) >= f.cfg.OnDemandMax && !f.giveWay() {
		return nil, model.Errorf(model.Overloaded, "%d models loaded on demand are in use, which is the limit", len(f.demands))
	}
	t, err := f.deps.OnDemand(name)
	if err != nil {
		return nil, model.Errorf(model.NotFound, "no model %q can be served here: %w", name, err)
	}
	d := &demanded{by: name, since: time.Now()}
	resolve := t.Resolve
	t.Resolve = func(ctx context.Context) (Resolved, error) {
		r, err := resolve(ctx)
		d.miss(err != nil && f.deps.Missing != nil && f.deps.Missing(err))
		return r, err
	}
	d.target = newTarget(t, f.cfg, f.deps)
	d.onDemand, d.state.OnDemand = true, true
	d.round.began = d.since
	d.used.Store(d.since.UnixNano())
	d.ended = func() { f.looked(d) }
	if f.launch == nil || !f.launch(d) {
		return nil, model.Errorf(model.Unavailable, "the worker is not running")
	}
	f.demands[name] = d
	return d, nil
}

// missRest is how long a name that the registry does not know keeps its place:
// requests with made-up names must not become as many questions to it.
const missRest = time.Second

// giveWay ends the one that was not asked for longest and that nothing needs:
// a name that the registry does not know before any model. mu is held.
func (f *Follower) giveWay() bool {
	var oldest *demanded
	for _, d := range f.demands {
		if oldest == nil || before(d, oldest) {
			oldest = d
		}
	}
	if oldest.isMissing() && time.Since(oldest.since) < missRest || oldest.busy() {
		return false
	}
	f.dismiss(oldest)
	return true
}

// before says that a gives way before b.
func before(a, b *demanded) bool {
	if x, y := a.busy(), b.busy(); x != y {
		return y
	}
	if x, y := a.isMissing(), b.isMissing(); x != y {
		return x
	}
	return a.used.Load() < b.used.Load()
}

// busy says that requests run on it or wait for it.
func (d *demanded) busy() bool {
	if h := d.current.Load(); h != nil {
		return d.needed(h)
	}
	return d.pending() != nil
}

func (t *target) miss(missing bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.missing = missing
}

func (t *target) isMissing() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.missing
}

// dismiss ends one; mu is held.
func (f *Follower) dismiss(d *demanded) {
	delete(f.demands, d.by)
	d.end()
}

// left tells of the end of one that requests had named.
func (t *target) left(h *held) {
	if t.onDemand {
		t.unloaded(h.snapshot, UnloadUnused)
	}
}

// looked is called when a try of one has ended: the memory may be too much, or
// nobody may have asked for it for long.
func (f *Follower) looked(d *demanded) {
	f.shrink()
	if d.current.Load() != nil || time.Since(time.Unix(0, d.used.Load())) < f.cfg.RetryMax {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.demands[d.by] == d {
		f.dismiss(d)
	}
}

// endDemands waits for the loops of all of them, whose context has ended.
func (f *Follower) endDemands() {
	f.mu.Lock()
	f.launch = nil
	clear(f.demands)
	f.mu.Unlock()
	f.started.Wait()
}
