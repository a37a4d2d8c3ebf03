package shadow

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/metrics"
	"github.com/millrace/millrace/model"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const topic = "inference.shadow"

// rig is a runner whose pool and broker are fakes. The pool answers a request
// with its first byte and one, and takes its time for it.
type rig struct {
	*Runner
	m       *metrics.Shadow
	cluster *kfake.Cluster
	read    *kgo.Client
	shadow  *model.Snapshot
	gone    bool          // the shadow is not loaded
	busy    chan struct{} // closed when the workers have nothing to do any more
	hangs   bool

	mu  sync.Mutex
	ran []string
}

func (r *rig) Acquire(string) (*model.Snapshot, error) {
	if r.gone {
		return nil, model.Errorf(model.Unavailable, "it is not there")
	}
	r.shadow.Acquire()
	return r.shadow, nil
}

func (r *rig) idle(ctx context.Context) error {
	select {
	case <-r.busy:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (r *rig) Submit(lease context.Context, recs []*kgo.Record, done func(*kgo.Record, error)) {
	go func() {
		for _, rec := range recs {
			timer := time.NewTimer(time.Second)
			select {
			case <-timer.C:
			case <-lease.Done():
			}
			if r.hangs {
				timer.Reset(time.Hour)
				<-timer.C
			}
			if lease.Err() != nil {
				done(rec, context.Cause(lease))
				continue
			}
			r.mu.Lock()
			r.ran = append(r.ran, string(rec.Value))
			r.mu.Unlock()
			r.Judge().Answered( //nolint:contextcheck // results outlive the lease
				r.reply(rec), []model.Tensor{floats("y", float32(rec.Value[0])+1)})
			done(rec, nil)
		}
	}()
}

// done counts what has run.
func (r *rig) done() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.ran)
}

// reply is the shadow's answer to a request.
func (r *rig) reply(rec *kgo.Record) *wire.Answer {
	a := &wire.Answer{Request: rec, Status: "ok", ModelName: "m", ModelVersion: "2", ContentType: "application/json", Value: append([]byte("shadow of "), rec.Value...)}
	switch string(rec.Value) {
	case "!":
		a.Status = string(model.Failed)
	case "?":
		a.Status, a.ModelName = string(model.Unavailable), ""
	}
	return a
}

type closable struct{ model.Model }

func (closable) Close() error { return nil }

func snapshot(version string) *model.Snapshot {
	return model.Open(&model.Snapshot{Name: "m", Version: version, Identity: "m " + version, Model: closable{}})
}

func config() Config {
	return Config{Tolerance: 1e-5, MaxRecords: 8, MaxBytes: 1000, DrainTimeout: 5 * time.Second}
}

func virtual(t *testing.T, cfg Config, test func(*rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		vn := &kfake.VirtualNetwork{}
		c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(vn.Listen), kfake.SeedTopics(3, topic))
		require.NoError(t, err)
		defer c.Close()
		opts := []kgo.Opt{kgo.SeedBrokers(c.ListenAddrs()...), kgo.Dialer(vn.DialContext), kgo.DisableClientMetrics(), kgo.MetadataMinAge(100 * time.Millisecond)}
		r := &rig{m: metrics.NewShadow(prometheus.NewRegistry()), cluster: c, shadow: snapshot("2"), busy: make(chan struct{})}
		close(r.busy)
		r.Runner = New(cfg, Deps{
			Log: slog.New(slog.DiscardHandler), Metrics: r.m, Reference: "models:/m@shadow", Source: r, Batch: 3, Topic: topic, Opts: opts,
			In:   func(rec *kgo.Record) bool { return string(rec.Key) != "out" },
			For:  func(s *model.Snapshot) bool { return s.Name == "m" },
			Idle: r.idle,
		})
		r.Pool = r
		r.Refresh()
		r.read, err = kgo.NewClient(append(opts, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
		require.NoError(t, err)
		defer r.read.Close()
		test(r)
	})
}

// answer is what the pool does after a prediction.
func (r *rig) answer(rec *kgo.Record) {
	by := snapshot("1")
	if !r.Wants(rec, by) {
		return
	}
	r.Answered(&wire.Answer{Request: rec, Status: "ok", ModelName: "m", ModelVersion: "1", Value: rec.Value}, []model.Tensor{floats("y", float32(rec.Value[0]))})
}

func request(offset int64, value string) *kgo.Record {
	return &kgo.Record{
		Topic: "t", Partition: 1, Offset: offset, Key: []byte("k"), Value: []byte(value),
		Headers: []kgo.RecordHeader{
			{Key: wire.CorrelationID, Value: []byte("c" + value)},
			{Key: wire.ExpiryTime, Value: []byte("1999-01-01T00:00:00Z")},
			{Key: wire.Model, Value: []byte("m/1")},
			{Key: wire.ReplyTopic, Value: []byte("replies")},
			{Key: wire.ContentType, Value: []byte("text/csv")},
		},
	}
}

// run starts the runner and returns what stops it.
func (r *rig) run(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	return func() {
		cancel()
		require.NoError(t, <-ended)
	}
}

func (r *rig) dropped(reason string) float64 {
	return testutil.ToFloat64(r.m.Dropped.WithLabelValues(reason))
}

// results reads n records of the topic by their ce_id.
func (r *rig) results(t *testing.T, n int) map[string]map[string]string {
	t.Helper()
	got := map[string]map[string]string{}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for len(got) < n && ctx.Err() == nil {
		r.read.PollFetches(ctx).EachRecord(func(rec *kgo.Record) {
			h := map[string]string{"": string(rec.Value), "key": string(rec.Key)}
			for _, one := range rec.Headers {
				h[one.Key] = string(one.Value)
			}
			got[h[wire.ID]] = h
		})
	}
	require.Len(t, got, n)
	return got
}
