package worker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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

// slow is a model that takes its time and remembers which rows it saw.
type slow struct {
	fake
	takes time.Duration

	mu   sync.Mutex
	rows []byte // guarded by mu
}

func (s *slow) Predict(ctx context.Context, in []model.Tensor) ([]model.Tensor, error) {
	s.mu.Lock()
	s.rows = append(s.rows, in[0].Data...)
	s.mu.Unlock()
	timer := time.NewTimer(s.takes)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-timer.C:
	}
	return (&instant{}).Predict(ctx, in)
}

// clocked is a publisher that notes when it was called.
type clocked struct {
	publisher
	start time.Time
	at    map[string]time.Duration // by partition/offset
}

func (c *clocked) Publish(ctx context.Context, a *wire.Answer, acked func(string, error)) {
	c.mu.Lock()
	if c.at == nil {
		c.at = map[string]time.Duration{}
	}
	c.at[fmt.Sprint(a.Request.Partition, "/", a.Request.Offset)] = time.Since(c.start)
	c.mu.Unlock()
	c.publisher.Publish(ctx, a, acked)
}

// slowRig has one executor, one row a call, and runs until the test ends it.
func slowRig(t *testing.T, m *slow) (r *rig, pub *clocked, end func()) {
	t.Helper()
	r, pub = newRig(&m.fake), &clocked{start: time.Now()}
	r.cfg.Executors, r.cfg.MaxBatch, r.deps.Publisher = 1, 1, pub
	r.deps.Source = &source{snap: model.Open(&model.Snapshot{Name: "m", Version: "1", Model: m})}
	ctx, kill := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	running.Go(func() { _ = r.Run(ctx) })
	return r, pub, func() { kill(); running.Wait() }
}

func within(d time.Duration) kgo.RecordHeader {
	return kgo.RecordHeader{Key: wire.ExpiryTime, Value: time.Now().Add(d).UTC().AppendFormat(nil, time.RFC3339Nano)}
}

func TestQueuedRecordsExpireByTheClock(t *testing.T) {
	for name, ordered := range map[string]bool{"ordered": true, "unordered": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &slow{takes: 10 * time.Second}
				r, pub, end := slowRig(t, m)
				r.cfg.Ordered = ordered
				r.Submit(t.Context(), []*kgo.Record{rec(0, 0, "a")}, r.resolved)
				synctest.Wait()
				r.Submit(t.Context(), []*kgo.Record{rec(0, 1, "b", within(time.Second))}, r.resolved)
				r.Submit(t.Context(), []*kgo.Record{
					rec(1, 0, "c", within(3*time.Second)), rec(1, 1, "d"), rec(1, 2, "e", within(2*time.Second)), rec(1, 3, "f", within(time.Minute)),
				}, r.resolved)
				time.Sleep(time.Minute)
				end()
				want := map[string]time.Duration{
					"0/0": 10 * time.Second, "0/1": time.Second,
					"1/0": 3 * time.Second, "1/1": 20 * time.Second, "1/2": 2 * time.Second, "1/3": 30 * time.Second,
				}
				if ordered { // answered at their time, and published behind those before them
					want["0/1"], want["1/2"] = 10*time.Second, 20*time.Second
				}
				for id, at := range want {
					require.InDelta(t, at, pub.at[id], float64(10*time.Millisecond), id)
				}
				require.Equal(t, "adf", string(m.rows), "what expires in the queue is not run")
				for _, a := range pub.got {
					status := string(model.OK)
					if v := a.Request.Value[0]; v == 'b' || v == 'c' || v == 'e' {
						status = string(model.DeadlineExceeded)
						require.Contains(t, a.Message, "the request expired at ")
					}
					require.Equal(t, status, a.Status, a.Request.Offset)
					require.Equal(t, "1", a.ModelVersion)
				}
				require.Zero(t, testutil.ToFloat64(r.deps.Metrics.Queued))
				require.Zero(t, testutil.ToFloat64(r.deps.Metrics.Running))
				require.Empty(t, r.deadlines)
			})
		})
	}
}

func TestWhatExpiresWhileItRunsIsAnsweredSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, pub, end := slowRig(t, &slow{takes: 10 * time.Second})
		r.Submit(t.Context(), []*kgo.Record{rec(0, 0, "a", within(5*time.Second))}, r.resolved)
		time.Sleep(time.Minute)
		end()
		require.Equal(t, string(model.DeadlineExceeded), pub.got[0].Status)
		require.Equal(t, 10*time.Second, pub.at["0/0"].Round(time.Millisecond))
	})
}

func TestDeadlinesThatNoClockReaches(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want model.Code
	}{
		"year 1":    {"0001-01-01T00:00:00Z", model.DeadlineExceeded},
		"1969":      {"1969-12-31T23:59:59Z", model.DeadlineExceeded},
		"year 9999": {"9999-12-31T23:59:59Z", model.OK},
		"no time":   {"9999", model.InvalidInput},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, pub, end := slowRig(t, &slow{takes: time.Second})
				r.Submit(t.Context(), []*kgo.Record{rec(0, 0, "a", kgo.RecordHeader{Key: wire.ExpiryTime, Value: []byte(c.text)})}, r.resolved)
				time.Sleep(time.Minute)
				end()
				require.Equal(t, string(c.want), pub.got[0].Status)
			})
		})
	}
}

// Deadlines, a revoked lease and a stop at the same time: each record is
// resolved once, and nothing that has expired in the queue is run.
func TestDeadlinesAmongRevokesAndStops(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			m := &slow{takes: 7 * time.Millisecond}
			random := rand.New(rand.NewPCG(seed, 1))
			r, pub, end := slowRig(t, m)
			r.cfg.MaxBatch = 3
			lease, revoke := context.WithCancelCause(context.WithoutCancel(t.Context()))
			const records = 200
			for o := range int64(records) {
				ctx := t.Context()
				if o%4 == 1 {
					ctx = lease
				}
				var h []kgo.RecordHeader
				if random.IntN(3) > 0 {
					h = append(h, within(time.Duration(random.IntN(300))*time.Millisecond))
				}
				r.Submit(ctx, []*kgo.Record{rec(int32(o%4), o, "a", h...)}, r.resolved)
				time.Sleep(time.Duration(random.IntN(2)) * time.Millisecond)
			}
			time.Sleep(time.Duration(random.IntN(200)) * time.Millisecond)
			revoke(errors.New("revoked"))
			time.Sleep(time.Duration(random.IntN(200)) * time.Millisecond)
			end()
			require.Len(t, r.done, records)
			for id, n := range r.done {
				require.Equal(t, 1, n, id)
			}
			for _, a := range pub.got {
				if a.Status == string(model.OK) {
					continue
				}
				deadline, ok, err := wire.Expiry(a.Request)
				require.NoError(t, err)
				require.True(t, ok)
				at := pub.start.Add(pub.at[fmt.Sprint(a.Request.Partition, "/", a.Request.Offset)])
				require.False(t, at.Before(deadline), "not before its time")
			}
			require.Zero(t, testutil.ToFloat64(r.deps.Metrics.Queued))
			require.Zero(t, testutil.ToFloat64(r.deps.Metrics.Running))
		})
	}
}
