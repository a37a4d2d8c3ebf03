package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/metrics"
	"github.com/millrace/millrace/model"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo is a codec whose request is one float, the body's first byte.
type echo struct{}

func (echo) Form(*model.Request) (string, int) { return "application/json", 0 }

func (echo) EncodeError(dst []byte, _ *model.Request, err *model.Error) []byte {
	return append(dst, err.Code...)
}

func (echo) Decode(req *model.Request, _, _ string, body []byte) error {
	switch string(body) {
	case "bad":
		return model.Invalidf("inputs", "bad")
	case "panic":
		panic("decode")
	}
	req.Rows = 1
	req.Inputs = []model.Tensor{{DType: model.Uint8, Shape: []int64{1, 1}, Data: []byte{body[0]}}}
	return nil
}

func (echo) Encode(dst []byte, _ *model.Request, out []model.Tensor, _, _ string) ([]byte, error) {
	return append(dst, out[0].Data...), nil
}

// fake answers with its input; poison fails the whole call.
type fake struct{ fails int }

func (*fake) Info() model.Info { return model.Info{Batches: true} }
func (*fake) Close() error     { return nil }

func (f *fake) Predict(ctx context.Context, in []model.Tensor) ([]model.Tensor, error) {
	if f.fails > 0 {
		f.fails--
		return nil, model.Errorf(model.Unavailable, "not now")
	}
	if slices.Contains(in[0].Data, '!') {
		return nil, errors.New("poison")
	}
	timer := time.NewTimer(time.Duration(rand.IntN(1000)) * time.Microsecond)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-timer.C:
	}
	return []model.Tensor{{DType: model.Uint8, Shape: slices.Clone(in[0].Shape), Data: slices.Clone(in[0].Data)}}, nil
}

type source struct {
	mu   sync.Mutex
	snap *model.Snapshot
}

func (s *source) Acquire(name string) (*model.Snapshot, error) {
	if name != "" {
		return nil, model.Errorf(model.NotFound, "no such model")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.snap.Acquire()
	return s.snap, nil
}

type publisher struct {
	mu      sync.Mutex
	got     []*wire.Answer
	instead string // the status of what it publishes
	err     error
}

func (p *publisher) Publish(_ context.Context, a *wire.Answer, acked func(string, error)) {
	p.mu.Lock()
	p.got = append(p.got, a)
	p.mu.Unlock()
	if p.instead != "" {
		acked(p.instead, p.err)
		return
	}
	acked(a.Status, p.err)
}

type rig struct {
	*Pool
	pub  *publisher
	mu   sync.Mutex
	done map[string]int
	errs map[string]error
}

func newRig(m *fake) *rig {
	r := &rig{pub: &publisher{}, done: map[string]int{}, errs: map[string]error{}}
	r.Pool = New(Config{Executors: 4, MaxBatch: 8, MaxRequestBytes: 16, Ordered: true, PredictAttempts: 3, PredictBackoff: time.Millisecond},
		Deps{
			Logger: slog.New(slog.DiscardHandler), Metrics: metrics.NewWorker(prometheus.NewRegistry()),
			Source: &source{snap: model.Open(&model.Snapshot{Name: "m", Version: "1", Model: m})}, Publisher: r.pub,
		})
	r.codec = func(*model.Snapshot) codec { return echo{} }
	return r
}

func (r *rig) resolved(rec *kgo.Record, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := fmt.Sprint(rec.Partition, "/", rec.Offset)
	r.done[key]++
	r.errs[key] = err
}

func rec(partition int32, offset int64, value string, headers ...kgo.RecordHeader) *kgo.Record {
	return &kgo.Record{Topic: "t", Partition: partition, Offset: offset, Value: []byte(value), Timestamp: time.Now(), Headers: headers}
}

func TestOrderUnderParallelExecutors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(&fake{})
		ctx, kill := context.WithCancel(t.Context())
		go func() { _ = r.Run(ctx) }()
		for o := range int64(200) {
			for p := range int32(5) {
				value := "a"
				if o%37 == 5 {
					value = "!"
				}
				r.Submit(t.Context(), []*kgo.Record{rec(p, o, value)}, r.resolved)
			}
		}
		time.Sleep(time.Minute)
		kill()
		synctest.Wait()
		next := map[int32]int64{}
		for _, a := range r.pub.got {
			require.Equal(t, next[a.Request.Partition], a.Request.Offset)
			next[a.Request.Partition]++
			want := "ok"
			if a.Request.Value[0] == '!' {
				want = string(model.Failed)
			}
			require.Equal(t, want, a.Status)
			require.Equal(t, "1", a.ModelVersion)
		}
		require.Len(t, r.pub.got, 1000)
		require.Len(t, r.done, 1000)
		for key, n := range r.done {
			require.Equal(t, 1, n, key)
			require.NoError(t, r.errs[key])
		}
		m := r.deps.Metrics
		require.Positive(t, testutil.ToFloat64(m.BatchSplits))
		require.Zero(t, testutil.ToFloat64(m.Queued))
		require.Zero(t, testutil.ToFloat64(m.Running))
		require.InDelta(t, 970, testutil.ToFloat64(m.Requests.WithLabelValues("ok", "m", "1")), 0)
		require.InDelta(t, 30, testutil.ToFloat64(m.Errors.WithLabelValues("MODEL_FAILED", "m", "1")), 0)
	})
}

func TestVerdicts(t *testing.T) {
	expiry := func(s string) kgo.RecordHeader { return kgo.RecordHeader{Key: wire.ExpiryTime, Value: []byte(s)} }
	tombstone := rec(0, 0, "")
	tombstone.Value = nil
	for name, c := range map[string]struct {
		rec  *kgo.Record
		want model.Code
	}{
		"ok":        {rec(0, 0, "a"), model.OK},
		"tombstone": {tombstone, model.InvalidInput},
		"large":     {rec(0, 0, "aaaaaaaaaaaaaaaaaaaaaaa"), model.TooLarge},
		"expiry":    {rec(0, 0, "a", expiry("soon")), model.InvalidInput},
		"expired":   {rec(0, 0, "a", expiry("1999-01-01T00:00:00Z")), model.DeadlineExceeded},
		"unknown":   {rec(0, 0, "a", kgo.RecordHeader{Key: wire.Model, Value: []byte("x")}), model.NotFound},
		"bad":       {rec(0, 0, "bad"), model.InvalidInput},
		"panic":     {rec(0, 0, "panic"), model.Internal},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(&fake{fails: 1})
				ctx, kill := context.WithCancel(t.Context())
				go func() { _ = r.Run(ctx) }()
				r.Submit(t.Context(), []*kgo.Record{c.rec}, r.resolved)
				time.Sleep(time.Second)
				kill()
				synctest.Wait()
				require.Len(t, r.pub.got, 1)
				require.Equal(t, string(c.want), r.pub.got[0].Status)
				require.NoError(t, r.errs["0/0"])
			})
		})
	}
}

func TestTheStatusThatWasPublishedCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(&fake{})
		r.pub.instead = string(model.TooLarge)
		ctx, kill := context.WithCancel(t.Context())
		go func() { _ = r.Run(ctx) }()
		r.Submit(t.Context(), []*kgo.Record{rec(0, 0, "a")}, r.resolved)
		time.Sleep(time.Second)
		kill()
		synctest.Wait()
		require.InDelta(t, 1, testutil.ToFloat64(r.deps.Metrics.Errors.WithLabelValues("TOO_LARGE", "m", "1")), 0)
		require.Zero(t, testutil.ToFloat64(r.deps.Metrics.Requests.WithLabelValues("ok", "m", "1")))
	})
}

func TestFailuresDoNotFloodTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(&fake{})
		var out bytes.Buffer
		r.deps.Logger = slog.New(slog.NewTextHandler(&out, nil))
		ctx, kill := context.WithCancel(t.Context())
		go func() { _ = r.Run(ctx) }()
		for o := range int64(100) {
			r.Submit(t.Context(), []*kgo.Record{rec(0, 2*o, "!"), rec(0, 2*o+1, "bad")}, r.resolved)
		}
		time.Sleep(quietFor)
		r.Submit(t.Context(), []*kgo.Record{rec(0, 200, "!")}, r.resolved)
		time.Sleep(time.Second)
		kill()
		synctest.Wait()
		require.Equal(t, 2, strings.Count(out.String(), "\n"), out.String())
		require.Contains(t, out.String(), "err=poison not_logged_before=99")
		require.NotContains(t, out.String(), "INVALID_INPUT")
	})
}

func TestHardStopAndRevokeResolveOnce(t *testing.T) {
	revoked := errors.New("revoked")
	for name, hard := range map[string]bool{"revoke": false, "hard stop": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(&fake{})
				ctx, kill := context.WithCancel(t.Context())
				lease, revoke := context.WithCancelCause(t.Context())
				go func() { _ = r.Run(ctx) }()
				for o := range int64(500) {
					r.Submit(lease, []*kgo.Record{rec(0, o, "a")}, r.resolved)
				}
				time.Sleep(2 * time.Millisecond)
				if hard {
					kill()
				} else {
					revoke(revoked)
				}
				time.Sleep(time.Second)
				kill()
				revoke(revoked)
				synctest.Wait()
				require.Len(t, r.done, 500)
				answered := len(r.pub.got)
				require.Less(t, answered, 500)
				for o := range 500 {
					key := fmt.Sprint(0, "/", o)
					require.Equal(t, 1, r.done[key])
					require.Equal(t, o >= answered, r.errs[key] != nil, key) // a prefix, no hole
				}
			})
		})
	}
}

// What the intake has a verdict on is answered with it, and never run; its
// neighbours are.
func TestTheIntakesVerdictIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(&fake{})
		ctx, kill := context.WithCancel(t.Context())
		go func() { _ = r.Run(ctx) }()
		condemned := rec(0, 1, "!") // would fail the call
		wire.Deliver(condemned, wire.Delivery{Attempts: 5, Code: wire.ModelFailed, Message: "five workers ended at it"})
		r.Submit(t.Context(), []*kgo.Record{rec(0, 0, "a"), condemned, rec(0, 2, "b")}, r.resolved)
		time.Sleep(time.Second)
		kill()
		synctest.Wait()
		require.Len(t, r.pub.got, 3)
		require.Equal(t, []string{"ok", string(model.Failed), "ok"}, []string{r.pub.got[0].Status, r.pub.got[1].Status, r.pub.got[2].Status})
		require.Equal(t, "MODEL_FAILED: five workers ended at it", r.pub.got[1].Message)
		require.Zero(t, testutil.ToFloat64(r.deps.Metrics.BatchSplits))
		require.Equal(t, model.Internal, model.Code(wire.Internal))
	})
}
