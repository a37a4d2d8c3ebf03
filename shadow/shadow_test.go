package shadow

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/metrics"
	"github.com/millrace/millrace/model"
)

func TestResultsAreComparedAndPublished(t *testing.T) {
	virtual(t, config(), func(r *rig) {
		stop := r.run(t)
		for i, v := range []string{"a", "b", "!", "?"} {
			r.answer(request(int64(i), v))
		}
		time.Sleep(20 * time.Second)
		stop()
		got := r.results(t, 3)
		require.Equal(t, map[string]string{
			"": "shadow of a", "key": "k", wire.ID: "t/1/0", wire.CorrelationID: "ca", wire.ContentType: "application/json", wire.Source: "millrace",
			wire.Type: "millrace.inference.shadow", wire.SpecVersion: "1.0", wire.ModelName: "m", wire.ModelVersion: "2", wire.Status: "ok",
			wire.PrimaryName: "m", wire.PrimaryVersion: "1", wire.Differs: "true", wire.Distance: "0.01020408163265306", wire.AbsoluteDistance: "1",
		}, got["t/1/0"])
		require.Equal(t, "MODEL_FAILED", got["t/1/2"][wire.Status])
		require.Equal(t, "true", got["t/1/2"][wire.Differs])
		require.NotContains(t, got["t/1/2"], wire.Distance)
		require.InDelta(t, 2, testutil.ToFloat64(r.m.Compared.WithLabelValues("m", "2", "1", metrics.ShadowDiffers)), 0)
		require.InDelta(t, 1, testutil.ToFloat64(r.m.Compared.WithLabelValues("m", "2", "1", metrics.ShadowError)), 0)
		require.InDelta(t, 1, r.dropped(metrics.DroppedUnloaded), 0)
		require.Equal(t, 1, testutil.CollectAndCount(r.m.Relative))
		require.Equal(t, Status{Reference: "models:/m@shadow", Answers: 3, Differing: 3}, r.Status())
	})
}

// The request is run as it is, without what its sender wanted of the first run.
func TestTheRequestIsRunAgain(t *testing.T) {
	was := request(7, "a")
	rec := again(&job{answer: &wire.Answer{Request: was}})
	require.Equal(t, []kgo.RecordHeader{{Key: wire.ContentType, Value: []byte("text/csv")}}, rec.Headers)
	require.Equal(t, was.Value, rec.Value)
	require.Equal(t, "t/1/7", string(wire.AppendID(nil, rec)))
	require.Equal(t, 1, wire.DeliveryOf(rec).Attempts)
}

// While the workers are busy nothing runs; what finds no room is dropped.
func TestTheQueueIsBoundedAndWaitsForIdleness(t *testing.T) {
	for name, cfg := range map[string]Config{
		"records": {MaxRecords: 8, MaxBytes: 1 << 20, DrainTimeout: time.Minute},
		"bytes":   {MaxRecords: 100, MaxBytes: 8 * 6, DrainTimeout: time.Minute}, // a request, its answer and a float
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, cfg, func(r *rig) {
				r.busy = make(chan struct{})
				stop := r.run(t)
				for i := range int64(20) {
					r.answer(request(i, "a"))
				}
				time.Sleep(time.Hour)
				require.Zero(t, r.done())
				require.Equal(t, 8, r.Status().Queued)
				require.InDelta(t, 8, testutil.ToFloat64(r.m.Queued), 0)
				require.InDelta(t, 12, r.dropped(metrics.DroppedFull), 0)
				close(r.busy)
				time.Sleep(time.Minute)
				require.Equal(t, 8, r.done())
				require.Zero(t, testutil.ToFloat64(r.m.Queued))
				r.answer(request(20, "b"))
				time.Sleep(time.Minute)
				require.Equal(t, 9, r.done())
				stop()
			})
		})
	}
}

func TestStopDrainsWithinItsBound(t *testing.T) {
	cfg := config()
	cfg.DrainTimeout = 4500 * time.Millisecond
	virtual(t, cfg, func(r *rig) {
		r.busy = make(chan struct{}) // a worker that stops is never idle
		stop := r.run(t)
		for i := range int64(8) {
			r.answer(request(i, "a"))
		}
		synctest.Wait()
		begun := time.Now()
		stop()
		require.Equal(t, cfg.DrainTimeout, time.Since(begun))
		time.Sleep(time.Minute)
		require.InDelta(t, 8, float64(r.done())+r.dropped(metrics.DroppedStopped), 0)
		require.Equal(t, 4, r.done(), "a second each")
		// The others are accounted for: on the topic, or dropped.
		published := 4 - int(r.dropped(metrics.DroppedPublish))
		r.results(t, published)
	})
}

func TestACallThatHangsHoldsUpNoStop(t *testing.T) {
	virtual(t, config(), func(r *rig) {
		r.hangs = true
		stop := r.run(t)
		r.answer(request(0, "a"))
		r.answer(request(1, "a"))
		time.Sleep(time.Minute)
		begun := time.Now()
		stop()
		require.LessOrEqual(t, time.Since(begun), 5*time.Second)
		time.Sleep(3 * time.Hour) // its pool ends
		require.InDelta(t, 2, r.dropped(metrics.DroppedStopped), 0)
	})
}

// A topic that takes nothing costs results of the shadow, and nothing else.
func TestABrokerThatRefusesIsNoTrouble(t *testing.T) {
	virtual(t, config(), func(r *rig) {
		f := r.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: kerr.TopicAuthorizationFailed, Count: -1})
		stop := r.run(t)
		for i := range int64(5) {
			r.answer(request(i, "a"))
		}
		time.Sleep(time.Minute)
		require.InDelta(t, 5, r.dropped(metrics.DroppedPublish), 0)
		require.InDelta(t, 5, testutil.ToFloat64(r.m.Compared.WithLabelValues("m", "2", "1", metrics.ShadowDiffers)), 0, "compared all the same")
		f.Remove()
		r.answer(request(5, "a"))
		time.Sleep(time.Minute)
		r.results(t, 1)
		stop()
	})
}

func TestWants(t *testing.T) {
	r := &rig{m: metrics.NewShadow(prometheus.NewRegistry()), shadow: snapshot("2"), gone: true}
	r.Runner = New(config(), Deps{
		Log: slog.New(slog.DiscardHandler), Metrics: r.m, Source: r,
		In:  func(rec *kgo.Record) bool { return string(rec.Key) != "out" },
		For: func(s *model.Snapshot) bool { return s.Name == "m" },
	})
	one, other := snapshot("1"), model.Open(&model.Snapshot{Name: "other", Model: closable{}})
	require.False(t, r.Wants(request(0, "a"), one), "before anything is loaded")
	r.Refresh()
	require.Equal(t, "it is not there", r.Status().Off)
	require.False(t, r.Wants(request(0, "a"), one))
	r.gone = false
	r.Refresh()
	require.Empty(t, r.Status().Off)
	require.True(t, r.Wants(request(0, "a"), one))
	require.False(t, r.Wants(request(0, "a"), other), "another model's answer")
	require.False(t, r.Wants(request(0, "a"), snapshot("2")), "the version itself answered")
	require.False(t, r.Wants(&kgo.Record{Key: []byte("out")}, one), "not in the share")
	twice := request(0, "a")
	wire.Deliver(twice, wire.Delivery{Attempts: 2})
	require.False(t, r.Wants(twice, one), "a worker has ended at it")
	r.gone = true
	r.Refresh()
	require.False(t, r.Wants(request(0, "a"), one))
}

func TestValidate(t *testing.T) {
	require.NoError(t, config().Validate())
	for _, spoil := range []func(*Config){
		func(c *Config) { c.Tolerance = -1 }, func(c *Config) { c.MaxRecords = 0 },
		func(c *Config) { c.MaxBytes = 0 }, func(c *Config) { c.DrainTimeout = 0 },
	} {
		c := config()
		spoil(&c)
		require.ErrorContains(t, c.Validate(), "MILLRACE_SHADOW_")
	}
}
