package consumer

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/internal/kafka/kafkatest"
	"github.com/millrace/millrace/metrics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	in  = "in"
	out = "out"
)

// bench is a broker in virtual time, with what a test needs around it.
type bench struct {
	t       *testing.T
	cluster *kfake.Cluster
	dial    func(context.Context, string, string) (net.Conn, error)
	client  *kgo.Client
	admin   *kadm.Client
	ctx     context.Context //nolint:containedctx // The bubble's: the test's own is cancelled outside of it.
	auth    sasl.Mechanism  // nil for none
}

// virtual runs a test in virtual time against a broker of its own.
func virtual(t *testing.T, partitions int32, test func(*bench)) {
	t.Helper()
	virtualBrokers(t, partitions, nil, test, kfake.NumBrokers(1), kfake.Ports(9092))
}

// virtualBrokers is virtual with brokers of some kind, and a way to sign in.
func virtualBrokers(t *testing.T, partitions int32, auth sasl.Mechanism, test func(*bench), opts ...kfake.Opt) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		vn := &kfake.VirtualNetwork{}
		c, err := kfake.NewCluster(append(opts, kfake.ListenFn(vn.Listen), kfake.SeedTopics(partitions, in, out))...)
		require.NoError(t, err)
		defer c.Close()
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		b := &bench{t: t, ctx: ctx, cluster: c, dial: vn.DialContext, auth: auth}
		b.connect()
		defer b.client.Close()
		test(b)
	})
}

// actual runs a test on the clock, with timers made short: the client waits for
// a join under a mutex when it commits, where virtual time stands still.
func actual(t *testing.T, partitions int32, test func(*bench)) {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, in, out), kfake.GroupMinSessionTimeout(50*time.Millisecond))
	require.NoError(t, err)
	defer c.Close()
	b := &bench{t: t, ctx: t.Context(), cluster: c, dial: new(net.Dialer).DialContext}
	b.connect()
	defer b.client.Close()
	test(b)
}

// quick is a configuration for actual.
func quick() Config {
	cfg := config()
	cfg.SessionTimeout, cfg.RebalanceTimeout, cfg.HeartbeatInterval = 2*time.Second, 6*time.Second, 50*time.Millisecond
	cfg.CommitInterval, cfg.LagInterval = 20*time.Millisecond, 100*time.Millisecond
	return cfg
}

func (b *bench) connect() {
	b.t.Helper()
	var err error
	b.client, err = kgo.NewClient(append(b.opts(), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))...)
	require.NoError(b.t, err)
	b.admin = kadm.NewClient(b.client)
}

func (b *bench) opts() []kgo.Opt {
	opts := []kgo.Opt{
		kgo.SeedBrokers(b.cluster.ListenAddrs()...), kgo.Dialer(b.dial), kgo.DisableClientMetrics(),
		kgo.ProducerLinger(0), kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }),
	}
	if b.auth != nil {
		opts = append(opts, kgo.SASL(b.auth))
	}
	return opts
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

// answers counts the answers by value.
func (b *bench) answers() map[string]int {
	b.t.Helper()
	ends, err := b.admin.ListEndOffsets(b.ctx, out)
	require.NoError(b.t, err)
	var want int64
	ends.Each(func(o kadm.ListedOffset) { want += o.Offset })
	cl, err := kgo.NewClient(append(b.opts(), kgo.ConsumeTopics(out))...)
	require.NoError(b.t, err)
	defer cl.Close()
	got := make(map[string]int)
	for n := int64(0); n < want; {
		cl.PollFetches(b.ctx).EachRecord(func(r *kgo.Record) { got[string(r.Value)]++; n++ })
	}
	return got
}

func (b *bench) committed() map[int32]int64 {
	b.t.Helper()
	got := make(map[int32]int64)
	resp, err := b.admin.FetchOffsets(b.ctx, "g")
	if errors.Is(err, kerr.GroupIDNotFound) {
		return got
	}
	require.NoError(b.t, err)
	resp.Each(func(o kadm.OffsetResponse) { got[o.Partition] = o.At })
	return got
}

func (b *bench) until(what string, ok func() bool) {
	b.t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		require.True(b.t, time.Now().Before(deadline), "waited in vain: %s", what)
	}
}

func config() Config {
	return Config{
		Group: "g", Protocol: protocolClassic, OffsetReset: resetEarliest,
		SessionTimeout: 10 * time.Second, RebalanceTimeout: 30 * time.Second, HeartbeatInterval: time.Second,
		MaxRecords: 512, MaxBytes: 1 << 20, FetchMaxBytes: 1 << 20,
		CommitInterval: 500 * time.Millisecond, DrainTimeout: 20 * time.Second,
		WatchdogTimeout: 2 * time.Minute, MaxAttempts: 5, LagInterval: 5 * time.Second,
	}
}

// member is a running consumer.
type member struct {
	*Consumer
	reg   *prometheus.Registry
	stop  context.CancelFunc
	ended chan error
	wire  *kafkatest.Wires
}

func (b *bench) start(cfg Config, pool Pool, opts ...kgo.Opt) *member {
	b.t.Helper()
	reg := prometheus.NewRegistry()
	w := kafkatest.NewWires(b.dial)
	c, err := New(cfg, Deps{
		Topics: []string{in}, Pool: pool, Log: slog.New(slog.NewTextHandler(b.t.Output(), nil)),
		Metrics: metrics.NewConsumer(reg), Client: append(append(b.opts(), kgo.Dialer(w.Dial)), opts...),
	})
	require.NoError(b.t, err)
	ctx, stop := context.WithCancel(context.Background())
	m := &member{Consumer: c, reg: reg, stop: stop, ended: make(chan error, 1), wire: w}
	go func() { m.ended <- c.Run(ctx) }()
	return m
}

func (m *member) halt(t *testing.T) {
	t.Helper()
	m.stop()
	require.NoError(t, <-m.ended)
}

// value reads a series by name and labels' values.
func (m *member) value(t *testing.T, name string, labels ...string) (float64, bool) {
	t.Helper()
	fams, err := m.reg.Gather()
	require.NoError(t, err)
	for _, f := range fams {
		for _, s := range f.GetMetric() {
			match := f.GetName() == name && len(s.GetLabel()) == len(labels)
			for i := range labels {
				match = match && s.GetLabel()[i].GetValue() == labels[i]
			}
			if match {
				return s.GetGauge().GetValue() + s.GetCounter().GetValue(), true
			}
		}
	}
	return 0, false
}

func (m *member) is(t *testing.T, want float64, name string, labels ...string) bool {
	t.Helper()
	v, ok := m.value(t, name, labels...)
	return ok && v == want
}
