package follow_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/model/follow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeModel notices when it is used after it was closed.
type fakeModel struct{ closed atomic.Bool }

func (m *fakeModel) Info() model.Info { return model.Info{} }

func (m *fakeModel) Predict(context.Context, []model.Tensor) ([]model.Tensor, error) {
	if m.closed.Load() {
		return nil, errors.New("used after it was closed")
	}
	return nil, nil
}

func (m *fakeModel) Close() error {
	if m.closed.Swap(true) {
		return errors.New("closed twice")
	}
	return nil
}

// registry is what the reference names, and what came of it.
type registry struct {
	mu      sync.Mutex
	now     follow.Resolved
	err     error
	loadErr error
	loads   int
	models  []*fakeModel
	swaps   int
	polls   int
	hold    chan struct{} // loads wait for it, when there is one
}

func (r *registry) set(version, identity string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now, r.err = follow.Resolved{Name: "fraud", Version: version, Identity: identity}, err
}

func (r *registry) failLoads(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.loadErr = err
}

func (r *registry) counts() (loads, swaps, polls int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.loads, r.swaps, r.polls
}

func (r *registry) resolve(context.Context) (follow.Resolved, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now, r.err
}

func (r *registry) load(_ context.Context, v follow.Resolved) (*model.Snapshot, error) {
	r.mu.Lock()
	hold := r.hold
	r.mu.Unlock()
	if hold != nil {
		<-hold
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.loads++
	if r.loadErr != nil {
		return nil, r.loadErr
	}
	m := &fakeModel{}
	r.models = append(r.models, m)
	return model.Open(&model.Snapshot{Name: v.Name, Version: v.Version, Identity: v.Identity, Flavor: "onnx", Model: m}), nil
}

// start follows r until the test's bubble ends it by stop.
func start(t *testing.T, r *registry, compatible func(a, b *model.Signature) error) (f *follow.Follower, stop func()) {
	t.Helper()
	f, err := follow.New(
		follow.Config{Poll: 30 * time.Second, RetryMin: time.Second, RetryMax: 5 * time.Minute, LoadTimeout: time.Minute},
		follow.Deps{
			Targets:    []follow.Target{{Reference: "models:/fraud@champion", Name: "detector", Alias: "champion", Resolve: r.resolve, Load: r.load}},
			Compatible: compatible,
			Observer: follow.Observer{
				Polled:  func(string, error) { r.mu.Lock(); r.polls++; r.mu.Unlock() },
				Swapped: func(string, *model.Snapshot, *model.Snapshot) { r.mu.Lock(); r.swaps++; r.mu.Unlock() },
			},
		})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	return f, func() {
		cancel()
		require.NoError(t, <-ended)
		for _, m := range r.models {
			require.True(t, m.closed.Load(), "a model was left open")
		}
	}
}

func version(t *testing.T, f *follow.Follower, name string) string {
	t.Helper()
	s, err := f.Acquire(name)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Release()) }()
	_, err = s.Model.Predict(t.Context(), nil)
	require.NoError(t, err)
	return s.Version
}

// settle lets the time of several polls pass.
func settle() {
	time.Sleep(2 * time.Minute)
	synctest.Wait()
}

func code(t *testing.T, err error) model.Code {
	t.Helper()
	require.Error(t, err)
	return model.AsError(err).Code
}

func TestNamesAndStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &registry{err: errors.New("no such alias")}
		f, stop := start(t, r, nil)
		settle()
		require.False(t, f.Ready())
		_, err := f.Acquire("")
		require.Equal(t, model.Unavailable, code(t, err))
		require.Contains(t, f.Status()[0].LastError, "no such alias")

		r.set("3", "id3", nil)
		settle()
		require.True(t, f.Ready())
		for _, name := range []string{"", "fraud", "fraud@champion", "fraud/3", "detector", "detector@champion"} {
			require.Equal(t, "3", version(t, f, name))
		}
		for _, name := range []string{"other", "fraud/2", "fraud@other", "frau", "fraudulent"} {
			_, err := f.Acquire(name)
			require.Equal(t, model.NotFound, code(t, err), name)
		}
		st := f.Status()[0]
		require.Equal(t, follow.StateServing, st.State)
		require.Empty(t, st.LastError)
		require.False(t, st.LastPoll.IsZero())
		stop()
		_, err = f.Acquire("")
		require.Equal(t, model.Unavailable, code(t, err))
	})
}

func TestKeepsLastGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &registry{}
		r.set("1", "id1", nil)
		f, stop := start(t, r, nil)
		settle()
		require.Equal(t, "1", version(t, f, ""))

		r.set("", "", errors.New("alias deleted"))
		settle()
		require.Equal(t, "1", version(t, f, ""))

		r.set("2", "id2", nil)
		r.failLoads(errors.New("truncated"))
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Equal(t, "1", version(t, f, ""))
		loads, _, polls := r.counts()
		require.Less(t, loads, 25, "a broken version is loaded at each poll")
		require.Greater(t, polls, 100, "the reference is no longer polled")

		r.failLoads(nil)
		r.set("1", "id1 made again", nil)
		settle()
		_, swaps, _ := r.counts()
		require.Equal(t, 2, swaps, "a version made again is another one")
		stop()
	})
}

func TestBreakingSignatureIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &registry{}
		r.set("1", "id1", nil)
		f, stop := start(t, r, func(_, _ *model.Signature) error { return errors.New("column b is new") })
		settle()
		r.set("2", "id2", nil)
		settle()
		require.Equal(t, "1", version(t, f, ""))
		require.Contains(t, f.Status()[0].LastError, "column b is new")
		stop()
	})
}

// TestReleaseDoesNotClose holds a snapshot over a swap: it stays open, and
// giving it up closes it elsewhere.
func TestSwapUnderUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &registry{}
		r.set("1", "id1", nil)
		f, stop := start(t, r, nil)
		settle()
		held, err := f.Acquire("")
		require.NoError(t, err)
		r.set("2", "id2", nil)
		settle()
		require.False(t, r.models[0].closed.Load())
		require.NoError(t, held.Release())
		synctest.Wait()
		require.True(t, r.models[0].closed.Load())
		stop()
	})
}

func TestSwapUnderConcurrentUse(t *testing.T) {
	r := &registry{}
	r.set("0", "0", nil)
	f, err := follow.New(
		follow.Config{Poll: time.Microsecond, RetryMin: time.Microsecond, RetryMax: time.Second, LoadTimeout: time.Minute},
		follow.Deps{Targets: []follow.Target{{Reference: "x", Resolve: r.resolve, Load: r.load}}})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var runner, users sync.WaitGroup
	runner.Go(func() { _ = f.Run(ctx) })
	for !f.Ready() {
		time.Sleep(time.Microsecond)
	}
	var wrong atomic.Int64
	for range 4 {
		users.Go(func() {
			for range 5000 {
				s, err := f.Acquire("")
				if err != nil {
					wrong.Add(1)
					return
				}
				if _, err := s.Model.Predict(ctx, nil); err != nil {
					wrong.Add(1)
				}
				_ = s.Release()
			}
		})
	}
	for i := range 200 {
		r.set("v", string(rune('A'+i)), nil)
		time.Sleep(10 * time.Microsecond)
	}
	users.Wait()
	cancel()
	runner.Wait()
	require.Zero(t, wrong.Load())
	for _, m := range r.models {
		require.True(t, m.closed.Load())
	}
}

func TestConfigNamesEachMistake(t *testing.T) {
	err := follow.Config{RetryMin: 2, RetryMax: 1}.Validate()
	require.ErrorContains(t, err, "MILLRACE_MODEL_POLL")
	require.ErrorContains(t, err, "MILLRACE_MODEL_LOAD_TIMEOUT")
	require.ErrorContains(t, err, "MILLRACE_MODEL_RETRY_MAX")
}
