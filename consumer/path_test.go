package consumer

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/kafka"
	"github.com/millrace/millrace/internal/kafka/kafkatest"
	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/metrics"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/producer"
	"github.com/millrace/millrace/worker"
)

// double is a model that doubles its rows. A call with the row 13 waits while
// stuck.
type double struct {
	stuck chan struct{} // nil: never
	mu    sync.Mutex
	rows  []float64
}

func (*double) Info() model.Info {
	x := []model.Spec{{Name: "x", DType: model.Float64, Shape: []int64{-1, 1}}}
	return model.Info{Inputs: x, Outputs: x, Batches: true}
}

func (*double) Close() error { return nil }

func (d *double) Predict(ctx context.Context, in []model.Tensor) ([]model.Tensor, error) {
	x := model.View[float64](&in[0])
	if d.stuck != nil && slices.Contains(x, 13) {
		select {
		case <-d.stuck:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	d.mu.Lock()
	d.rows = append(d.rows, x...)
	d.mu.Unlock()
	y := make([]float64, len(x))
	for i := range x {
		y[i] = 2 * x[i]
	}
	return []model.Tensor{{DType: model.Float64, Shape: in[0].Shape, Data: model.BytesOf(y)}}, nil
}

func (d *double) ran() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.rows)
}

type one struct{ snap *model.Snapshot }

func (o one) Acquire(string) (*model.Snapshot, error) {
	o.snap.Acquire()
	return o.snap, nil
}

// whole is a worker with all its parts but the process.
type whole struct {
	*member
	pool *worker.Pool
	out  *producer.Producer
	kill context.CancelFunc
	gone chan struct{}

	outgoing *kafkatest.Wires
}

func (b *bench) publisher(opts ...kgo.Opt) *producer.Producer {
	b.t.Helper()
	p, err := producer.New(producer.Config{
		ReplyTopics: []string{"replies"}, MaxBuffered: 4096, BatchMaxBytes: 1 << 20, Compression: "none",
		CloseTimeout: time.Second, RetryBackoff: 100 * time.Millisecond,
	}, producer.Deps{
		Logger: slog.New(slog.DiscardHandler), Metrics: metrics.NewProducer(prometheus.NewRegistry()), Group: "g",
		Opts:      append(b.opts(), opts...),
		Topics:    kafka.Topics{Requests: in, Results: out, Replies: "replies", DeadLetters: "dlq"},
		ErrorBody: func(err *model.Error) (string, []byte) { return "application/json", []byte(err.Code) },
	})
	require.NoError(b.t, err)
	return p
}

func (b *bench) whole(cfg Config, ordered bool, m model.Model) *whole {
	b.t.Helper()
	codec, err := model.NewCodec(nil, m.Info(), model.Limits{MaxRows: 10, MaxElements: 10})
	require.NoError(b.t, err)
	lines := kafkatest.NewWires(b.dial)
	w := &whole{out: b.publisher(kgo.Dialer(lines.Dial)), gone: make(chan struct{})}
	w.pool = worker.New(worker.Config{
		Executors: 2, MaxBatch: 4, MaxRequestBytes: 1000, Ordered: ordered, PredictAttempts: 1, PredictBackoff: time.Millisecond,
	}, worker.Deps{
		Logger: slog.New(slog.DiscardHandler), Metrics: metrics.NewWorker(prometheus.NewRegistry()),
		Source:    one{model.Open(&model.Snapshot{Name: "m", Version: "1", Model: m, Codec: codec})},
		Publisher: w.out,
	})
	ctx, kill := context.WithCancel(context.Background())
	w.kill = kill
	go func() { _ = w.pool.Run(ctx); close(w.gone) }()
	w.member = b.start(cfg, w.pool)
	w.outgoing = lines
	return w
}

// crash cuts the worker off from everything.
func (w *whole) crash() {
	w.wire.Cut()
	w.outgoing.Cut()
}

func (w *whole) bury() {
	w.stop()
	if err := <-w.ended; err != nil {
		panic(err)
	}
	w.end()
}

// end ends what the consumer leaves behind.
func (w *whole) end() {
	w.kill()
	<-w.gone
	_ = w.out.Close() // of a dead one, what it has left fails
}

// read returns the ids of all answers on a topic.
func (b *bench) read(topic string) map[string]int {
	b.t.Helper()
	ends, err := b.admin.ListEndOffsets(b.ctx, topic)
	require.NoError(b.t, err)
	var want int64
	ends.Each(func(o kadm.ListedOffset) { want += o.Offset })
	cl, err := kgo.NewClient(append(b.opts(), kgo.ConsumeTopics(topic))...)
	require.NoError(b.t, err)
	defer cl.Close()
	got := make(map[string]int)
	for n := int64(0); n < want; {
		cl.PollFetches(b.ctx).EachRecord(func(r *kgo.Record) {
			id, _ := wire.Header(r, wire.ID)
			got[string(id)]++
			n++
		})
	}
	return got
}

// After a crash only what was in flight is inferred again. In order, answers
// behind a slow one are not published, so they are in flight; out of order
// they are answered, and stay so.
func TestOnlyWhatWasInFlightIsInferredAgain(t *testing.T) {
	for _, tt := range []struct {
		name    string
		ordered bool
		reply   bool
		again   [2]int // from, to
	}{
		{"in order", true, false, [2]int{87, 100}},
		{"out of order", false, false, [2]int{1, 4}},
		{"replies in order", true, true, [2]int{87, 100}},
		{"replies out of order", false, true, [2]int{1, 4}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			virtual(t, 1, func(b *bench) {
				for _, topic := range []string{"replies", "dlq"} {
					require.NoError(t, b.cluster.CreateTopic(topic, 1, nil))
				}
				recs := make([]*kgo.Record, 100)
				for i := range recs {
					recs[i] = &kgo.Record{Topic: in, Value: fmt.Appendf(nil, `{"instances":[[%d.0]]}`, i)}
					if tt.reply {
						recs[i].Headers = []kgo.RecordHeader{{Key: wire.ReplyTopic, Value: []byte("replies")}}
					}
				}
				require.NoError(t, b.client.ProduceSync(b.ctx, recs...).FirstErr())
				topic := out
				if tt.reply {
					topic = "replies"
				}
				first := &double{stuck: make(chan struct{})}
				w := b.whole(config(), tt.ordered, first)
				b.until("all but what is stuck has run", func() bool { return first.ran() >= 96 })
				time.Sleep(2 * time.Second)
				answered := len(b.read(topic))
				w.crash()
				second := &double{}
				w2 := b.whole(config(), tt.ordered, second)
				b.until("all answered", func() bool { return b.committed()[0] == 100 })
				require.Equal(t, 100-answered, second.ran())
				require.GreaterOrEqual(t, second.ran(), tt.again[0])
				require.LessOrEqual(t, second.ran(), tt.again[1])
				got := b.read(topic)
				require.Len(t, got, 100)
				for id, n := range got {
					require.Equal(t, 1, n, id)
				}
				close(first.stuck)
				w2.bury()
				w.bury()
			})
		})
	}
}
