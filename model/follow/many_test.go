package follow_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/model/follow"
)

const shy = 500 * time.Millisecond

var errMissing = errors.New("not in the registry")

// shop is a registry of many models, each of which may be broken in a way.
type shop struct {
	mu       sync.Mutex
	versions map[string]string        // by reference's name
	takes    map[string]time.Duration // of a load
	broken   map[string]error         // what a load comes to
	away     bool
	resolves int
	models   map[string][]*fakeModel
	unloads  []string
	bytes    int64 // of each model
}

func newShop(names ...string) *shop {
	s := &shop{versions: map[string]string{}, takes: map[string]time.Duration{}, broken: map[string]error{}, models: map[string][]*fakeModel{}, bytes: 100}
	for _, name := range names {
		s.versions[name] = "1"
	}
	return s
}

// with changes the shop.
func (s *shop) with(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *shop) target(name string) follow.Target {
	registered, alias, _ := strings.Cut(name, "@")
	registered, _, _ = strings.Cut(registered, "/")
	return follow.Target{
		Reference: "models:/" + name, Model: registered, Alias: alias,
		Resolve: func(context.Context) (follow.Resolved, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.resolves++
			v, ok := s.versions[name]
			switch {
			case s.away:
				return follow.Resolved{Name: registered}, errors.New("connection refused")
			case !ok:
				return follow.Resolved{}, errMissing
			}
			return follow.Resolved{Name: registered, Version: v, Identity: name + v}, nil
		},
		Load: func(ctx context.Context, r follow.Resolved) (*model.Snapshot, error) {
			s.mu.Lock()
			takes, err := s.takes[name], s.broken[name]
			s.mu.Unlock()
			timer := time.NewTimer(takes)
			defer timer.Stop()
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-timer.C:
			}
			if err != nil {
				return nil, err
			}
			m := &fakeModel{}
			s.with(func() { s.models[name] = append(s.models[name], m) })
			return model.Open(&model.Snapshot{Name: r.Name, Version: r.Version, Identity: r.Identity, Model: m, Loaded: time.Now(), Bytes: s.bytes}), nil
		},
	}
}

// loads counts how often a model was loaded, and how many of those are open.
func (s *shop) loads(name string) (all, open int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.models[name] {
		if all++; !m.closed.Load() {
			open++
		}
	}
	return all, open
}

func (s *shop) serve(t *testing.T, change func(*follow.Config), names ...string) (f *follow.Follower, stop func()) {
	t.Helper()
	cfg := follow.Config{
		Poll: 30 * time.Second, RetryMin: time.Second, RetryMax: 5 * time.Minute, LoadTimeout: 30 * time.Minute,
		Wait: 10 * time.Second, StartWait: 2 * time.Minute, OnDemandMax: 3,
	}
	if change != nil {
		change(&cfg)
	}
	var targets []follow.Target
	for _, name := range names {
		targets = append(targets, s.target(name))
	}
	f, err := follow.New(cfg, follow.Deps{
		Targets:  targets,
		OnDemand: func(name string) (follow.Target, error) { return s.target(name), nil },
		Missing:  func(err error) bool { return errors.Is(err, errMissing) },
		Observer: follow.Observer{Unloaded: func(_ string, snap *model.Snapshot, why follow.Unload) {
			s.with(func() { s.unloads = append(s.unloads, fmt.Sprint(snap.Identity, " ", why)) })
		}},
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	return f, func() {
		cancel()
		require.NoError(t, <-ended)
		for name := range s.models {
			_, open := s.loads(name)
			require.Zero(t, open, name)
		}
	}
}

// ask acquires and releases; loading is the error's channel when it is one.
func ask(f *follow.Follower, name string) (served string, loading *model.LoadingError, err error) {
	s, err := f.Acquire(name)
	if err != nil {
		errors.As(err, &loading)
		return "", loading, err
	}
	defer func() { _ = s.Release() }()
	return s.Identity, nil, nil
}

// get asks until the load that it begins has ended.
func get(f *follow.Follower, name string) (served string, err error) {
	served, loading, err := ask(f, name)
	if loading != nil {
		<-loading.Done
		served, _, err = ask(f, name)
	}
	return served, err
}

// gone lists what was unloaded.
func (s *shop) gone() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.unloads)
}

func (s *shop) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.resolves
}

func state(f *follow.Follower, reference string) follow.State {
	for _, s := range f.Status() {
		if s.Reference == reference {
			return s.State
		}
	}
	return ""
}

func TestABrokenModelKeepsNoOtherFromServing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop("good@x", "bad@x")
		s.broken["bad@x"] = errors.New("no such operator")
		f, stop := s.serve(t, nil, "bad@x", "good@x")
		time.Sleep(time.Second)
		synctest.Wait()
		require.True(t, f.Ready(), "the other has had its try")
		_, _, err := ask(f, "good")
		require.NoError(t, err)
		for _, name := range []string{"", "bad", "bad@x"} { // the default too
			_, loading, err := ask(f, name)
			require.Equal(t, model.Unavailable, code(t, err), name)
			require.Nil(t, loading, "nobody waits for what has failed")
			require.NotContains(t, err.Error(), "operator", "the reason is the operator's")
		}
		_, _, err = ask(f, "ugly")
		require.Equal(t, model.NotFound, code(t, err), "all names are known: the references tell them")
		s.with(func() { s.broken["bad@x"] = nil })
		time.Sleep(10 * time.Minute)
		_, _, err = ask(f, "bad")
		require.NoError(t, err)
		stop()
	})
}

func TestRequestsAreTakenInWhenEachModelHadItsTime(t *testing.T) {
	settled := func(f *follow.Follower) time.Duration {
		begun := time.Now()
		<-f.Settled()
		return time.Since(begun)
	}
	for name, c := range map[string]struct {
		arrange func(*shop)
		names   []string
		want    time.Duration
	}{
		"one":        {func(s *shop) { s.takes["a@x"] = time.Hour / 3 }, []string{"a@x"}, time.Hour / 3},
		"all":        {func(s *shop) { s.takes["a@x"], s.takes["b@x"] = time.Second, time.Minute }, []string{"a@x", "b@x"}, time.Minute},
		"one fails":  {func(s *shop) { s.broken["b@x"] = errMissing; s.takes["b@x"] = time.Minute }, []string{"a@x", "b@x"}, time.Minute},
		"one hangs":  {func(s *shop) { s.takes["b@x"] = 20 * time.Minute }, []string{"a@x", "b@x"}, 2 * time.Minute},
		"nothing is": {func(s *shop) { s.versions["a@x"] = "1"; delete(s.versions, "b@x") }, []string{"a@x", "b@x"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newShop("a@x", "b@x")
				c.arrange(s)
				f, stop := s.serve(t, nil, c.names...)
				require.Equal(t, c.want, settled(f))
				stop()
			})
		})
	}
}

// A registry that is away makes all fail alike: when it is back no request may
// find that only the quickest is there.
func TestARegistryThatWasAwayIsAskedAgainForEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop("a@x", "b@x", "c@x")
		s.away = true
		s.takes["b@x"], s.takes["c@x"] = 5*time.Second, 20*time.Second
		f, stop := s.serve(t, nil, "a@x", "b@x", "c@x")
		time.Sleep(time.Hour)
		require.False(t, f.Ready(), "none serves")
		s.with(func() { s.away = false })
		<-f.Settled()
		for _, name := range []string{"a", "b", "c"} {
			_, _, err := ask(f, name)
			require.NoError(t, err, name)
		}
		stop()
	})
}

func TestConfigOfSeveralModels(t *testing.T) {
	err := follow.Config{Wait: -1, StartWait: -1, MemoryBudget: -1, OnDemand: []string{"[", "a@b"}}.Validate()
	for _, name := range []string{"MODEL_WAIT", "MODEL_START_WAIT", "MODEL_MEMORY_BUDGET", "MODEL_ON_DEMAND_MAX", `MODEL_ON_DEMAND: "["`, `MODEL_ON_DEMAND: "a@b"`} {
		require.ErrorContains(t, err, "MILLRACE_"+name)
	}
}
