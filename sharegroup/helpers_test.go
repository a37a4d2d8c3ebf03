package sharegroup

import (
	"context"
	"log/slog"
	"net"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/internal/kafka"
	"github.com/millrace/millrace/internal/kafka/kafkatest"
	"github.com/millrace/millrace/metrics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const in = "in"

// bench is a broker in virtual time, with what a test needs around it.
type bench struct {
	t       *testing.T
	cluster *kfake.Cluster
	dial    func(context.Context, string, string) (net.Conn, error)
	client  *kgo.Client
	admin   *kadm.Client
	ctx     context.Context //nolint:containedctx // The bubble's: the test's own is cancelled outside of it.
}

// virtual runs a test in virtual time against a broker of its own.
func virtual(t *testing.T, partitions int32, test func(*bench), opts ...kfake.Opt) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		vn := &kfake.VirtualNetwork{}
		c, err := kfake.NewCluster(append([]kfake.Opt{
			kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(vn.Listen), kfake.SeedTopics(partitions, in),
			kfake.BrokerConfigs(map[string]string{"share.record.lock.sweep.interval.ms": "100"}),
		}, opts...)...)
		require.NoError(t, err)
		defer c.Close()
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		b := &bench{t: t, ctx: ctx, cluster: c, dial: vn.DialContext}
		b.client, err = kgo.NewClient(append(b.opts(), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))...)
		require.NoError(t, err)
		defer b.client.Close()
		b.admin = kadm.NewClient(b.client)
		test(b)
	})
}

func (b *bench) opts() []kgo.Opt {
	return []kgo.Opt{
		kgo.SeedBrokers(b.cluster.ListenAddrs()...), kgo.Dialer(b.dial), kgo.DisableClientMetrics(),
		kgo.ProducerLinger(0), kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }),
	}
}

// fill writes requests with the values from..from+n-1.
func (b *bench) fill(from, n int) {
	b.t.Helper()
	recs := make([]*kgo.Record, n)
	for i := range recs {
		recs[i] = &kgo.Record{Topic: in, Value: []byte(strconv.Itoa(from + i))}
	}
	require.NoError(b.t, b.client.ProduceSync(b.ctx, recs...).FirstErr())
}

func (b *bench) until(what string, ok func() bool) {
	b.t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		require.True(b.t, time.Now().Before(deadline), "waited in vain: %s", what)
	}
}

// lag is what the broker says that the group has not done with.
func (b *bench) lag() int64 {
	b.t.Helper()
	lag, err := kafka.ShareLag(b.ctx, b.admin, "g", in, false)
	require.NoError(b.t, err)
	var sum int64
	for _, n := range lag {
		sum += n
	}
	return sum
}

func (b *bench) quiet() *slog.Logger { return slog.New(slog.NewTextHandler(b.t.Output(), nil)) }

func config() Config { return Config{Lanes: 2, Records: 32, Lock: 30 * time.Second, Attempts: 4} }

func membership() Member {
	return Member{
		Group: "g", OffsetReset: "earliest", SessionTimeout: 45 * time.Second, FetchMaxBytes: 1 << 20, DrainTimeout: 20 * time.Second,
		WatchdogTimeout: 2 * time.Minute, LagInterval: 5 * time.Second,
	}
}

// refuse makes the broker take no acknowledgements until what it returns is
// called.
func (b *bench) refuse(err *kerr.Error) (end func()) {
	return b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ShareAcknowledge}, Topic: in, Err: err, Count: -1}).Remove
}

// worker is a running queue with a pool that a test drives.
type worker struct {
	*Queue
	reg   *prometheus.Registry
	pool  *pool
	log   *logbook
	stop  context.CancelFunc
	ended chan error
	wire  *kafkatest.Wires
}

func (b *bench) start(cfg Config, p *pool, opts ...kgo.Opt) *worker {
	b.t.Helper()
	return b.startAs(cfg, membership(), p, opts...)
}

func (b *bench) startAs(cfg Config, member Member, p *pool, opts ...kgo.Opt) *worker {
	b.t.Helper()
	reg := prometheus.NewRegistry()
	w := &worker{reg: reg, pool: p, log: &logbook{}, ended: make(chan error, 1), wire: kafkatest.NewWires(b.dial)}
	var err error
	w.Queue, err = New(cfg, member, Deps{
		Topics: []string{in}, Pool: p, Log: slog.New(slog.NewTextHandler(w.log, nil)),
		Metrics: metrics.NewConsumer(reg), Series: metrics.NewQueue(reg),
		Client: append(append(b.opts(), kgo.Dialer(w.wire.Dial)), opts...),
	})
	require.NoError(b.t, err)
	p.publisher = w.Publisher(&p.published)
	var ctx context.Context
	ctx, w.stop = context.WithCancel(context.Background())
	go func() { w.ended <- w.Run(ctx) }()
	return w
}

func (w *worker) halt(t *testing.T) {
	t.Helper()
	w.stop()
	require.NoError(t, <-w.ended)
}

// value reads a counter without labels.
func (w *worker) value(name string) float64 {
	all, err := w.reg.Gather()
	if err != nil {
		return -1
	}
	for _, f := range all {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	return -1
}

func (w *worker) acks(kind, result string) float64 {
	return testutil.ToFloat64(w.Series.Acks.WithLabelValues(kind, result))
}
