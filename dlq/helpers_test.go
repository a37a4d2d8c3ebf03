package dlq

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	requests   = "requests"
	dead       = "dead"
	partitions = 3
)

// bench is a broker in virtual time.
type bench struct {
	t       *testing.T
	ctx     context.Context //nolint:containedctx // The bubble's: the test's own is cancelled outside of it.
	cluster *kfake.Cluster
	dial    func(context.Context, string, string) (net.Conn, error)
	client  *kgo.Client
	asked   int64 // requests that were refused: the next one's offset
}

func virtual(t *testing.T, test func(*bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		vn := &kfake.VirtualNetwork{}
		c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(vn.Listen), kfake.SeedTopics(partitions, requests, dead))
		require.NoError(t, err)
		defer c.Close()
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		b := &bench{t: t, ctx: ctx, cluster: c, dial: vn.DialContext}
		b.client, err = kgo.NewClient(append(b.opts(), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
		require.NoError(t, err)
		defer b.client.Close()
		test(b)
	})
}

func (b *bench) opts() []kgo.Opt {
	return []kgo.Opt{
		kgo.SeedBrokers(b.cluster.ListenAddrs()...), kgo.Dialer(b.dial), kgo.DisableClientMetrics(),
		kgo.ProducerLinger(0), kgo.MetadataMinAge(50 * time.Millisecond), kgo.FetchMaxWait(100 * time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }), kgo.RequestRetries(3),
	}
}

func (b *bench) source() Source { return Source{Topic: dead, Opts: b.opts()} }

func header(key, value string) kgo.RecordHeader {
	return kgo.RecordHeader{Key: key, Value: []byte(value)}
}

// letter is a dead letter of the next request, which stood in a partition.
func (b *bench) letter(partition int32, code string, h ...kgo.RecordHeader) *kgo.Record {
	b.asked++
	return &kgo.Record{
		Topic: dead, Partition: partition, Key: []byte("key"), Value: fmt.Appendf(nil, `{"inputs": [%d]}`, b.asked),
		Headers: append(h,
			header(wire.DeadTopic, requests), header(wire.DeadPartition, strconv.Itoa(int(partition))),
			header(wire.DeadOffset, strconv.FormatInt(b.asked, 10)), header(wire.DeadGroup, "g"), header(wire.DeadDeliveries, "1"),
			header(wire.DeadMessage, code+": no"), header(wire.DeadCode, code), header(wire.DeadModel, "m"), header(wire.DeadModelVersion, "3"),
			header(wire.DeadTime, time.Now().UTC().Format(time.RFC3339Nano)),
			header(wire.DeadRequestTime, wire.FormatTime(time.Now().Add(-time.Minute))),
		),
	}
}

func without(r *kgo.Record, keys ...string) *kgo.Record {
	var kept []kgo.RecordHeader
	for _, h := range r.Headers {
		found := false
		for _, key := range keys {
			found = found || h.Key == key
		}
		if !found {
			kept = append(kept, h)
		}
	}
	r.Headers = kept
	return r
}

func (b *bench) write(recs ...*kgo.Record) {
	b.t.Helper()
	require.NoError(b.t, b.client.ProduceSync(b.ctx, recs...).FirstErr())
}

// fill writes n dead letters over the partitions.
func (b *bench) fill(n int) {
	b.t.Helper()
	for i := range n {
		b.write(b.letter(int32(i%partitions), "MODEL_NOT_FOUND"))
	}
}

// read returns the committed records of a topic.
func (b *bench) read(name string) []*kgo.Record {
	b.t.Helper()
	cl, err := Source{Opts: b.opts()}.client(b.ctx)
	require.NoError(b.t, err)
	defer cl.Close()
	top, err := open(b.ctx, cl, b.opts(), name, Everything())
	require.NoError(b.t, err)
	var got []*kgo.Record
	require.NoError(b.t, top.scan(b.ctx, "", nil, func(r *kgo.Record) error { got = append(got, r); return nil }))
	return got
}

func (b *bench) replay(change ...func(*Replay)) (Result, error) {
	r := Replay{Source: b.source(), Filter: Everything()}
	for _, c := range change {
		c(&r)
	}
	return r.Run(b.ctx)
}

func headers(r *kgo.Record) map[string]string {
	h := make(map[string]string)
	for _, x := range r.Headers {
		h[x.Key] = string(x.Value)
	}
	return h
}

// requireEachOnce holds that every dead letter of a request was replayed once.
func (b *bench) requireEachOnce(n int) {
	b.t.Helper()
	seen := make(map[string]int)
	for _, r := range b.read(requests) {
		seen[headers(r)[wire.OriginalID]]++
	}
	require.Len(b.t, seen, n)
	for id, times := range seen {
		require.Equal(b.t, 1, times, id)
	}
}
