package transaction

import (
	"context"
	"errors"
	"fmt"
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
	"go.uber.org/goleak"

	"github.com/millrace/millrace/internal/kafka"
	"github.com/millrace/millrace/internal/kafka/kafkatest"
	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/metrics"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/producer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	in   = "in"
	out  = "out"
	dead = "dead"
)

// bench is a broker, with what a test needs around it.
type bench struct {
	t       *testing.T
	cluster *kfake.Cluster
	dial    func(context.Context, string, string) (net.Conn, error)
	client  *kgo.Client
	admin   *kadm.Client
	ctx     context.Context //nolint:containedctx // The bubble's: the test's own is cancelled outside of it.
}

// virtual runs a test in virtual time, with one lane at a time: see actual.
func virtual(t *testing.T, partitions int32, test func(*bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		vn := &kfake.VirtualNetwork{}
		c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(vn.Listen),
			kfake.SeedTopics(partitions, in, out, dead))
		require.NoError(t, err)
		defer c.Close()
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		b := &bench{t: t, ctx: ctx, cluster: c, dial: vn.DialContext}
		b.connect()
		defer b.client.Close()
		test(b)
	})
}

// actual runs a test on the clock, with timers made short: the client waits for
// a join under a mutex when it commits, where virtual time stands still.
func actual(t *testing.T, partitions int32, test func(*bench)) {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, in, out, dead),
		kfake.GroupMinSessionTimeout(50*time.Millisecond), kfake.BrokerConfigs(map[string]string{"group.consumer.heartbeat.interval.ms": "50"}))
	require.NoError(t, err)
	defer c.Close()
	b := &bench{t: t, ctx: t.Context(), cluster: c, dial: new(net.Dialer).DialContext}
	b.connect()
	defer b.client.Close()
	test(b)
}

func (b *bench) connect() {
	b.t.Helper()
	var err error
	b.client, err = kgo.NewClient(append(b.opts(), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	require.NoError(b.t, err)
	b.admin = kadm.NewClient(b.client)
}

func (b *bench) opts() []kgo.Opt {
	return []kgo.Opt{
		kgo.SeedBrokers(b.cluster.ListenAddrs()...), kgo.Dialer(b.dial), kgo.DisableClientMetrics(),
		kgo.ProducerLinger(0), kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }),
	}
}

// fill writes requests with the values from..from+n-1, in turn to the partitions.
func (b *bench) fill(from, n int) {
	b.t.Helper()
	info, err := b.admin.ListTopics(b.ctx, in)
	require.NoError(b.t, err)
	recs := make([]*kgo.Record, n)
	for i := range recs {
		recs[i] = &kgo.Record{Topic: in, Partition: int32((from + i) % len(info[in].Partitions)), Value: []byte(strconv.Itoa(from + i))}
	}
	require.NoError(b.t, b.client.ProduceSync(b.ctx, recs...).FirstErr())
}

// read returns what read_committed sees of a topic.
func (b *bench) read(topic string) []*kgo.Record {
	b.t.Helper()
	ends, err := b.admin.ListCommittedOffsets(b.ctx, topic)
	require.NoError(b.t, err)
	left := make(map[int32]int64)
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	cl, err := kgo.NewClient(append(b.opts(), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	require.NoError(b.t, err)
	defer cl.Close()
	// Aborted records and markers are not handed out: a record of our own at
	// the end says that all before it was read.
	for id := range left {
		require.NoError(b.t, b.client.ProduceSync(b.ctx, &kgo.Record{Topic: topic, Partition: id, Value: []byte("end")}).FirstErr())
	}
	var got []*kgo.Record
	for len(left) > 0 {
		fetches := cl.PollFetches(b.ctx)
		require.NoError(b.t, fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			if string(r.Value) == "end" {
				if r.Offset >= left[r.Partition] {
					delete(left, r.Partition)
				}
				return
			}
			got = append(got, r)
		})
	}
	return got
}

// stable says that no transaction keeps readers of the results waiting.
func (b *bench) stable() bool {
	ends, err := b.admin.ListEndOffsets(b.ctx, out)
	require.NoError(b.t, err)
	seen, err := b.admin.ListCommittedOffsets(b.ctx, out)
	require.NoError(b.t, err)
	var n int64
	ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
	seen.Each(func(o kadm.ListedOffset) { n -= o.Offset })
	return n == 0
}

// requireOnce holds that each of n requests has one answer, and that those of a
// partition are in the order of its requests.
func (b *bench) requireOnce(n int) {
	b.t.Helper()
	recs := b.read(out)
	last := make(map[string]int)
	for _, r := range recs {
		id, _ := wire.Header(r, wire.ID)
		var partition, offset int
		_, err := fmt.Sscanf(string(id), in+"/%d/%d", &partition, &offset)
		require.NoError(b.t, err)
		before, ok := last[strconv.Itoa(partition)]
		require.True(b.t, !ok || offset > before, "%s comes after %d", id, before)
		last[strconv.Itoa(partition)] = offset
	}
	got := make(map[string]int)
	for _, r := range recs {
		got[string(r.Value)]++
	}
	for v, k := range got {
		require.Equal(b.t, 1, k, "answers to %s", v)
	}
	require.Len(b.t, got, n)
}

// committed is the sum of the group's offsets.
func (b *bench) committed() int64 {
	b.t.Helper()
	resp, err := b.admin.FetchOffsets(b.ctx, "g")
	if errors.Is(err, kerr.GroupIDNotFound) {
		return 0
	}
	require.NoError(b.t, err)
	var sum int64
	resp.Each(func(o kadm.OffsetResponse) { sum += max(0, o.At) })
	return sum
}

func (b *bench) until(what string, ok func() bool) {
	b.t.Helper()
	for deadline := time.Now().Add(10 * time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		require.True(b.t, time.Now().Before(deadline), "waited in vain: %s", what)
	}
}

// setting is how a test's worker is configured.
type setting struct {
	Config
	Member
}

func config() setting {
	return setting{
		Config{ID: "w", Lanes: 1, Records: 512, Interval: 20 * time.Millisecond, Timeout: 10 * time.Second},
		Member{
			Group: "g", Protocol: "classic", OffsetReset: "earliest",
			SessionTimeout: 10 * time.Second, RebalanceTimeout: 30 * time.Second, HeartbeatInterval: time.Second,
			MaxRecords: 4096, MaxBytes: 1 << 20, FetchMaxBytes: 1 << 20,
			DrainTimeout: 20 * time.Second, WatchdogTimeout: 2 * time.Minute, MaxAttempts: 5, LagInterval: 5 * time.Second,
		},
	}
}

// quick is for actual.
func quick() setting {
	cfg := config()
	cfg.SessionTimeout, cfg.RebalanceTimeout, cfg.HeartbeatInterval = 2*time.Second, 6*time.Second, 50*time.Millisecond
	cfg.LagInterval, cfg.Lanes = 100*time.Millisecond, 2
	return cfg
}

// member is a running intake.
type member struct {
	*Intake
	reg   *prometheus.Registry
	stop  context.CancelFunc
	ended chan error
	wire  *kafkatest.Wires
	pool  *pool
}

func (b *bench) start(cfg setting, p *pool, opts ...kgo.Opt) *member {
	b.t.Helper()
	m := b.startWith(cfg, p, func(t *Intake) { p.intake = t }, opts...)
	m.pool = p
	return m
}

// startWith starts an intake on any pool, which is told of it.
func (b *bench) startWith(cfg setting, p Pool, tell func(*Intake), opts ...kgo.Opt) *member {
	b.t.Helper()
	reg := prometheus.NewRegistry()
	w := kafkatest.NewWires(b.dial)
	log := slog.New(slog.NewTextHandler(b.t.Output(), nil))
	publish := producer.Config{MaxBuffered: 100, BatchMaxBytes: 100_000, Compression: "none", RetryBackoff: time.Millisecond, CloseTimeout: time.Second}
	deps := producer.Deps{
		Logger: log, Metrics: metrics.NewProducer(reg), Topics: kafka.Topics{Requests: in, Results: out, DeadLetters: dead}, Group: "g",
		ErrorBody: func(err *model.Error) (string, []byte) { return "text/plain", []byte(err.Code) },
	}
	intake, err := New(cfg.Config, cfg.Member, Deps{
		Topics: []string{in}, Pool: p, Log: log,
		Metrics: metrics.NewConsumer(reg), Transactions: metrics.NewTransaction(reg), Produce: publish.ClientOpts,
		Publisher: func(cl *kgo.Client) Publisher { return producer.NewTransactional(publish, deps, cl) },
		Client:    append(append(b.opts(), kgo.Dialer(w.Dial)), opts...),
	})
	require.NoError(b.t, err)
	tell(intake)
	ctx, stop := context.WithCancel(context.Background())
	m := &member{Intake: intake, reg: reg, stop: stop, ended: make(chan error, 1), wire: w}
	go func() { m.ended <- intake.Run(ctx) }()
	return m
}

func (m *member) halt(t *testing.T) {
	t.Helper()
	m.stop()
	require.NoError(t, <-m.ended)
	require.Zero(t, m.value(t, "millrace_in_flight_records"))
	require.Zero(t, m.value(t, "millrace_in_flight_bytes"))
	require.Equal(t, m.pool.inferred.Load(), m.pool.ends.Load(), "every answer's waiter is told its end")
}

// value reads a series by name and labels' values; 0 when there is none.
func (m *member) value(t *testing.T, name string, labels ...string) float64 {
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
				return s.GetGauge().GetValue() + s.GetCounter().GetValue() + float64(s.GetHistogram().GetSampleCount())
			}
		}
	}
	return 0
}

func request(i int) *kgo.Record {
	return &kgo.Record{Topic: in, Partition: int32(i % 2), Value: []byte(strconv.Itoa(i))}
}
