package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/model"
)

// watcher is a witness of every second prediction.
type watcher struct {
	mu   sync.Mutex
	seen map[int64]int // outputs by offset
	done func(offset int64) bool
	late []int64 // seen after they were resolved
}

func (w *watcher) Wants(r *kgo.Record, by *model.Snapshot) bool {
	return r.Offset%2 == 0 && by.Version == "1"
}

func (w *watcher) Answered(a *wire.Answer, outputs []model.Tensor) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen[a.Request.Offset] = len(outputs)
	if w.done(a.Request.Offset) {
		w.late = append(w.late, a.Request.Offset)
	}
}

func TestTheWitnessSeesWhatIsAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(&fake{})
		w := &watcher{seen: map[int64]int{}}
		w.done = func(offset int64) bool {
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.done[fmt.Sprint(0, "/", offset)] > 0
		}
		r.deps.Witness = w
		r.run(t, rec(0, 0, "a"), rec(0, 1, "b"), rec(0, 2, "bad"))
		require.Equal(t, map[int64]int{0: 1, 1: 0, 2: 0}, w.seen)
		require.Empty(t, w.late)
		// Nothing is told of an answer that another took the place of, or that was
		// not taken.
		r.pub.instead = string(model.TooLarge)
		r.run2(t, rec(0, 4, "a"))
		r.pub.instead, r.pub.err = string(model.OK), errors.New("refused")
		r.run2(t, rec(0, 6, "a"))
		require.Len(t, w.seen, 3)
	})
}

// run2 runs another pool with the same parts.
func (r *rig) run2(t *testing.T, recs ...*kgo.Record) {
	t.Helper()
	pool := New(r.cfg, r.deps)
	pool.codec = r.codec
	r.Pool = pool
	r.run(t, recs...)
}

func TestAwaitIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(&fake{})
		gate := make(chan struct{})
		r.deps.Source = &source{snap: model.Open(&model.Snapshot{Name: "m", Version: "1", Model: &gated{gate: gate}})}
		ctx, kill := context.WithCancel(t.Context())
		defer kill()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, r.AwaitIdle(short), context.DeadlineExceeded, "no executor runs")
		go func() { _ = r.Run(ctx) }()
		require.NoError(t, r.AwaitIdle(t.Context()))
		for o := range int64(100) {
			r.Submit(t.Context(), []*kgo.Record{rec(0, o, "a")}, r.resolved)
		}
		synctest.Wait()
		idle := make(chan error, 1)
		go func() { idle <- r.AwaitIdle(t.Context()) }()
		time.Sleep(time.Hour)
		require.Empty(t, idle, "all executors are busy")
		close(gate)
		require.NoError(t, <-idle)
		require.Zero(t, testutil.ToFloat64(r.deps.Metrics.Queued))
		kill()
		synctest.Wait()
		require.NoError(t, r.AwaitIdle(t.Context()), "a closed pool holds nobody up")
	})
}

// gated answers when its gate is open.
type gated struct {
	fake
	gate chan struct{}
}

func (g *gated) Predict(ctx context.Context, in []model.Tensor) ([]model.Tensor, error) {
	<-g.gate
	return g.fake.Predict(ctx, in)
}
