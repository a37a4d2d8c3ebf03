package follow_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/model/follow"
)

// sized is a reference whose versions take 100 bytes each, but 250 the version
// called large.
func sized(r *registry, name string) follow.Target {
	return follow.Target{
		Reference: "models:/" + name + "@champion", Name: name, Model: name,
		Resolve: func(ctx context.Context) (follow.Resolved, error) {
			v, err := r.resolve(ctx)
			v.Name = name
			return v, err
		},
		Load: func(ctx context.Context, v follow.Resolved) (*model.Snapshot, error) {
			time.Sleep(time.Millisecond) // it was asked for before it was loaded
			s, err := r.load(ctx, v)
			if err == nil {
				s.Name, s.Bytes, s.Loaded = name, 100, time.Now()
				if v.Version == "large" {
					s.Bytes = 250
				}
			}
			return s, err
		},
	}
}

// inBudget follows two references within a budget.
func inBudget(t *testing.T, budget int64, test func(f *follow.Follower, a, b *registry)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a, b := &registry{}, &registry{}
		a.set("1", "a1", nil)
		b.set("1", "b1", nil)
		f, err := follow.New(follow.Config{
			Poll: 10 * time.Second, RetryMin: time.Second, RetryMax: time.Minute, LoadTimeout: time.Hour, Wait: 10 * time.Second, StartWait: time.Minute,
			MemoryBudget: budget, RollbackWindow: 5 * time.Minute, RollbackFailures: .1, RollbackMin: 20,
		}, follow.Deps{Targets: []follow.Target{sized(a, "a"), sized(b, "b")}})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- f.Run(ctx) }()
		pause(15 * time.Second)
		test(f, a, b)
		cancel()
		require.NoError(t, <-ended)
		for _, m := range append(a.models, b.models...) {
			require.True(t, m.closed.Load(), "a model was left open")
		}
	})
}

func pause(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestTheBudgetTakesTheVersionBeforeFirst(t *testing.T) {
	inBudget(t, 250, func(f *follow.Follower, a, b *registry) {
		a.set("2", "a2", nil)
		pause(15 * time.Second)
		require.True(t, a.models[0].closed.Load(), "version 1 of a")
		require.False(t, b.models[0].closed.Load())
		for _, s := range f.Status() {
			require.Equal(t, follow.StateServing, s.State)
			require.Nil(t, s.Probation)
		}
	})
}

// A version that was rolled back to, and unloaded since, comes back when a
// request names it, though the reference names the one that is left alone.
func TestWhatServesInPlaceComesBack(t *testing.T) {
	inBudget(t, 300, func(f *follow.Follower, a, b *registry) {
		a.set("2", "a2", nil)
		pause(15 * time.Second)
		s, err := f.Acquire("a")
		require.NoError(t, err)
		require.Equal(t, "2", s.Version)
		f.Observe(s, false, time.Millisecond, 50)
		require.NoError(t, s.Release())
		pause(time.Second)
		require.Equal(t, "1", version(t, f, "a"))

		pause(time.Second)
		version(t, f, "b") // asked for last
		b.set("large", "b2", nil)
		pause(15 * time.Second)
		require.Equal(t, follow.StateUnloaded, f.Status()[0].State)
		require.Equal(t, "large", version(t, f, "b"))

		_, err = f.Acquire("a")
		require.Equal(t, model.Unavailable, code(t, err))
		pause(time.Second)
		require.Equal(t, "1", version(t, f, "a"))
		require.Equal(t, "2", f.Status()[0].LeftAlone.Version)
		loads, _, _ := a.counts()
		require.Equal(t, 3, loads)
	})
}
