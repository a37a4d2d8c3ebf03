package worker

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/model"
)

// hangs is a model that never ends with a row of '?' in the call, and takes a
// second for each '~'.
type hangs struct{ fake }

func (*hangs) Predict(ctx context.Context, in []model.Tensor) ([]model.Tensor, error) {
	takes := time.Duration(0)
	for _, b := range in[0].Data {
		switch b {
		case '?':
			takes = 1000 * time.Hour
		case '~':
			takes += time.Second
		}
	}
	timer := time.NewTimer(takes)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-timer.C:
	}
	return (&instant{}).Predict(ctx, in)
}

// fewer is a model that answers calls of several rows with one row too few, and
// says that it batches.
type fewer struct{ fake }

func (*fewer) Predict(_ context.Context, in []model.Tensor) ([]model.Tensor, error) {
	data := slices.Clone(in[0].Data)
	if n := len(data); n > 1 {
		data = data[:n-1]
	}
	return []model.Tensor{{DType: model.Uint8, Shape: []int64{int64(len(data)), 1}, Data: data}}, nil
}

func answered(t *testing.T, m model.Model, values ...string) (map[string]string, *rig, time.Duration) {
	t.Helper()
	r := newRig(&fake{})
	r.deps.Source = &source{snap: model.Open(&model.Snapshot{Name: "m", Version: "1", Model: m})}
	r.cfg.MaxBatch, r.cfg.PredictTimeout, r.cfg.Executors = 64, 30*time.Second, 1
	ctx, kill := context.WithCancel(t.Context())
	go func() { _ = r.Run(ctx) }()
	var recs []*kgo.Record
	for o, v := range values {
		recs = append(recs, rec(0, int64(o), v))
	}
	begun, took := time.Now(), time.Duration(0)
	left := len(recs)
	ended := make(chan struct{})
	r.Submit(t.Context(), recs, func(rec *kgo.Record, err error) {
		r.resolved(rec, err)
		if left--; left == 0 {
			took = time.Since(begun)
			close(ended)
		}
	})
	<-ended
	kill()
	synctest.Wait()
	got := make(map[string]string)
	for _, a := range r.pub.got {
		got[string(a.Request.Value)] = a.Status
		if a.Status == "ok" {
			require.Equal(t, string(a.Request.Value[:1]), string(a.Value), "its own answer")
		}
	}
	return got, r, took
}

func TestARequestThatHangsIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		values := make([]string, 64)
		for i := range values {
			values[i] = string(rune('A'+i%26)) + string(rune('a'+i/26))
		}
		values[41] = "?"
		got, r, took := answered(t, &hangs{}, values...)
		require.Equal(t, string(model.Failed), got["?"])
		for _, v := range values {
			if v != "?" {
				require.Equal(t, "ok", got[v], v)
			}
		}
		require.Less(t, took, 2*time.Minute, "before the watchdog's time")
		require.InDelta(t, 7, testutil.ToFloat64(r.deps.Metrics.PredictTimeouts), 0)
		for _, err := range r.errs {
			require.NoError(t, err)
		}
	})
}

// Requests that are slow together and not alone are all answered.
func TestSlowRequestsAreTriedAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		values := slices.Repeat([]string{"~"}, 60)
		got, r, _ := answered(t, &hangs{}, values...)
		require.Equal(t, map[string]string{"~": "ok"}, got)
		require.Len(t, r.done, 60)
		require.Positive(t, testutil.ToFloat64(r.deps.Metrics.PredictTimeouts), "millrace_predict_timeouts_total")
	})
}

// A batch with the wrong number of rows is no one's answer: each request runs
// by itself.
func TestAnswersWithTheWrongNumberOfRows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got, r, _ := answered(t, &fewer{}, "a", "b", "c", "d")
		require.Equal(t, map[string]string{"a": "ok", "b": "ok", "c": "ok", "d": "ok"}, got)
		require.Len(t, r.done, 4)
	})
}
