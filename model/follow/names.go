package follow

import (
	"cmp"
	"strings"
	"time"

	"github.com/millrace/millrace/model"
)

// Acquire returns the snapshot that name stands for, held: the caller Releases
// it, which never closes a model. "" is the default. It does not block: for a
// model that is being loaded it fails with [*model.LoadingError], and for one
// that did not load, or not in time, with [model.Unavailable].
func (f *Follower) Acquire(name string) (*model.Snapshot, error) {
	if name == "" {
		s, _, err := f.targets[0].acquire(name)
		return s, err
	}
	for _, t := range f.targets {
		if s, ok, err := t.acquire(name); ok {
			return s, err
		}
	}
	if s, ok, err := f.onDemand(name); ok {
		return s, err
	}
	if f.anyUnnamed() {
		return nil, model.Errorf(model.Unavailable, "the model is not loaded yet")
	}
	return nil, model.Errorf(model.NotFound, "no model %q is served here; served are: %s", name, strings.Join(f.names(), ", "))
}

// anyUnnamed says whether the name of a model is not known yet, which its
// folder tells.
func (f *Follower) anyUnnamed() bool {
	for _, t := range f.targets {
		if t.registered() == "" {
			return true
		}
	}
	return false
}

func (f *Follower) names() []string {
	names := make([]string, len(f.targets))
	for i, t := range f.targets {
		names[i] = t.called("")
	}
	return names
}

// acquire holds the snapshot when name stands for it. ok says that it does.
func (t *target) acquire(name string) (s *model.Snapshot, ok bool, err error) {
	var registered, version string
	if h := t.current.Load(); h != nil {
		registered, version = h.snapshot.Name, h.snapshot.Version
	} else {
		registered, version = t.registered(), t.version()
	}
	if !t.answersTo(name, registered, version) {
		return nil, false, nil
	}
	s, err = t.hold(name)
	return s, true, err
}

// hold holds the snapshot, whatever it is called.
func (t *target) hold(name string) (*model.Snapshot, error) {
	t.used.Store(time.Now().UnixNano())
	for {
		h := t.current.Load()
		if h == nil {
			return nil, t.absent(name)
		}
		if h.snapshot.Acquire() {
			return h.snapshot, nil
		}
		// It was swapped and closed between the two; the next load has its heir.
	}
}

// registered is the registered model's name, "" when it is not known yet.
func (t *target) registered() string {
	if t.Model != "" {
		return t.Model
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state.Name
}

func (t *target) version() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state.Version
}

// called is how a request may call the target; it may hold mu.
func (t *target) called(name string) string { return cmp.Or(name, t.Name, t.Model, t.Reference) }

func (t *target) answersTo(name, registered, version string) bool {
	if name == "" {
		return true
	}
	for _, own := range []string{registered, t.Name} {
		if own == "" {
			continue
		}
		rest, ok := strings.CutPrefix(name, own)
		if ok && (rest == "" || rest == "/"+version || t.Alias != "" && rest == "@"+t.Alias) {
			return true
		}
	}
	return false
}
