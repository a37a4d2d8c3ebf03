package cancellation_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
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

	"github.com/millrace/millrace/cancellation"
	"github.com/millrace/millrace/consumer"
	"github.com/millrace/millrace/gateway"
	"github.com/millrace/millrace/internal/kafka"
	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/metrics"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/producer"
	"github.com/millrace/millrace/worker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// held is a model that runs one row at a time, each until it is let go.
type held struct {
	let chan struct{}

	mu   sync.Mutex
	rows []float32 // guarded by mu
}

func (*held) Close() error { return nil }

func (*held) Info() model.Info {
	one := []model.Spec{{Name: "x", DType: model.Float32, Shape: []int64{-1, 1}}}
	return model.Info{Inputs: one, Outputs: one}
}

func (h *held) Predict(ctx context.Context, in []model.Tensor) ([]model.Tensor, error) {
	h.mu.Lock()
	h.rows = append(h.rows, model.View[float32](&in[0])...)
	h.mu.Unlock()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-h.let:
	}
	out := in[0]
	out.Name, out.Data, out.Shape = "x", slices.Clone(in[0].Data), slices.Clone(in[0].Shape)
	return []model.Tensor{out}, nil
}

func (h *held) seen() []float32 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.rows)
}

// Acquire makes it a source.
func (h *held) Acquire(string) (*model.Snapshot, error) {
	sig, err := model.ParseSignature(`[{"name": "x", "type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 1]}}]`, "", "")
	if err != nil {
		return nil, err
	}
	codec, err := model.NewCodec(sig, h.Info(), model.Limits{MaxRows: 10, MaxElements: 100})
	return model.Open(&model.Snapshot{Name: "m", Version: "1", Model: h, Codec: codec}), err
}

const (
	requests      = "inference.requests"
	results       = "inference.results"
	replies       = "inference.replies"
	dead          = "dlq.inference.requests"
	cancellations = "inference.cancellations"
)

// world is a broker in virtual time, with a gateway and a worker before it.
type world struct {
	t       *testing.T
	net     *kfake.VirtualNetwork
	http    *http.Client
	gateway *metrics.Gateway
	worker  *metrics.Worker
	model   *held
	log     bytes.Buffer // of the list; read when it has ended
	running []func()     // what ends each part, in the order of their start
}

// inWorld gives a test a ready gateway; the worker is the test's to start.
func inWorld(t *testing.T, topic string, seeded []string, test func(*world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: &kfake.VirtualNetwork{}, model: &held{let: make(chan struct{})}}
		cluster := kfake.MustCluster(kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(w.net.Listen), kfake.SeedTopics(2, seeded...))
		defer cluster.Close()
		transport := &http.Transport{DialContext: w.net.DialContext}
		defer transport.CloseIdleConnections()
		w.http = &http.Client{Transport: transport}
		defer w.end()
		w.startGateway(topic)
		test(w)
	})
}

func (w *world) opts() []kgo.Opt {
	return []kgo.Opt{
		kgo.SeedBrokers("127.0.0.1:9092"), kgo.Dialer(w.net.DialContext), kgo.DisableClientMetrics(), kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }),
	}
}

func (w *world) start(run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	w.running = append(w.running, func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Error(err)
		}
	})
}

// end stops what was started, the last first.
func (w *world) end() {
	for _, end := range slices.Backward(w.running) {
		end()
	}
	w.running = nil
}

func (w *world) startGateway(topic string) {
	w.t.Helper()
	l, err := w.net.Listen("tcp", "127.0.0.1:8000")
	require.NoError(w.t, err)
	reg := prometheus.NewRegistry()
	w.gateway = metrics.NewGateway(reg)
	g, err := gateway.New(gateway.Config{
		Addr: "127.0.0.1:8000", RequestTopic: requests, ReplyTopic: replies, CancelTopic: topic, ReplyPartition: -1,
		Timeout: 5 * time.Minute, MaxTimeout: 5 * time.Minute, PublishTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second,
		DrainTimeout: time.Second, MaxBodyBytes: 1 << 20,
		Async:     gateway.AsyncConfig{Topic: "none", Timeout: time.Minute, Keep: time.Hour, Bytes: 1},
		Admission: gateway.AdmissionConfig{MaxWaiting: 50, MaxBuffered: 256 << 20, BreakerPause: 10 * time.Second},
		Group:     "g", Delivery: "at-least-once", LagInterval: 10 * time.Second,
	}, gateway.Deps{Log: slog.New(slog.DiscardHandler), Metrics: w.gateway, Predictions: metrics.NewPredictions(reg), Series: reg, Kafka: w.opts(), Listener: l})
	require.NoError(w.t, err)
	w.start(g.Run)
	time.Sleep(10 * time.Second)
}

// startWorker starts the whole path of a worker, as it is wired.
func (w *world) startWorker(topic string) {
	w.t.Helper()
	log := slog.New(slog.DiscardHandler)
	reg := prometheus.NewRegistry()
	w.worker = metrics.NewWorker(reg)
	list := cancellation.New(cancellation.Deps{Topic: topic, Log: slog.New(slog.NewTextHandler(&w.log, nil)), Opts: w.opts()})
	answers, err := producer.New(producer.Config{
		ReplyTopics: []string{replies}, MaxBuffered: 64, BatchMaxBytes: 1 << 20, Compression: "none", CloseTimeout: 5 * time.Second, RetryBackoff: time.Second,
	}, producer.Deps{
		Logger: log, Metrics: metrics.NewProducer(reg), Group: "g", Opts: w.opts(),
		Topics:    kafka.Topics{Requests: requests, Results: results, Replies: replies, DeadLetters: dead},
		ErrorBody: func(err *model.Error) (string, []byte) { return "application/json", []byte(err.Code) },
	})
	require.NoError(w.t, err)
	pool := worker.New(worker.Config{
		Executors: 1, MaxBatch: 8, MaxRequestBytes: 1 << 20, Ordered: true, PredictAttempts: 1, PredictBackoff: time.Second,
	}, worker.Deps{Logger: log, Metrics: w.worker, Source: w.model, Publisher: answers, Cancellations: list})
	intake, err := consumer.New(consumer.Config{
		Group: "g", Protocol: "classic", OffsetReset: "earliest", SessionTimeout: 10 * time.Second, RebalanceTimeout: 30 * time.Second,
		HeartbeatInterval: time.Second, MaxRecords: 512, MaxBytes: 1 << 20, FetchMaxBytes: 1 << 20, CommitInterval: 500 * time.Millisecond,
		DrainTimeout: 20 * time.Second, WatchdogTimeout: time.Hour, MaxAttempts: 5, LagInterval: 5 * time.Second,
	}, consumer.Deps{Topics: []string{requests}, Pool: pool, Log: log, Metrics: metrics.NewConsumer(reg), Client: w.opts()})
	require.NoError(w.t, err)
	w.running = append(w.running, func() { require.NoError(w.t, answers.Close()) })
	w.start(list.Run)
	time.Sleep(5 * time.Second) // as long as a model takes to load
	w.start(pool.Run)
	w.start(intake.Run)
	time.Sleep(10 * time.Second)
}

// ask posts a request, and returns a channel for its status, 0 when the caller
// left before.
func (w *world) ask(ctx context.Context, body string) <-chan int {
	status := make(chan int, 1)
	go func() {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://127.0.0.1:8000/predict", strings.NewReader(body))
		if err != nil {
			panic(err)
		}
		res, err := w.http.Do(req)
		if err != nil {
			status <- 0
			return
		}
		_ = res.Body.Close()
		status <- res.StatusCode
	}()
	time.Sleep(time.Second)
	return status
}

// letter returns the one dead letter.
func (w *world) letter() *kgo.Record {
	w.t.Helper()
	cl, err := kgo.NewClient(append(w.opts(), kgo.ConsumeTopics(dead))...)
	require.NoError(w.t, err)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.t.Context()), time.Minute)
	defer cancel()
	records := cl.PollFetches(ctx).Records()
	require.Len(w.t, records, 1)
	return records[0]
}

var all = []string{requests, results, replies, dead, cancellations}

func TestWhatADepartedCallerAskedForIsNotRun(t *testing.T) {
	for name, late := range map[string]bool{"it waits in the pool": false, "it waits in the topic": true} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, cancellations, all, func(w *world) {
				t := w.t
				if !late {
					w.startWorker(cancellations)
				}
				ctx, leave := context.WithCancel(t.Context())
				first := w.ask(t.Context(), `{"inputs": [[1]]}`)
				second := w.ask(ctx, `{"inputs": [[2]]}`)
				third := w.ask(t.Context(), `{"inputs": [[3]]}`)
				require.InDelta(t, 3, testutil.ToFloat64(w.gateway.Waiting), 0)
				leave()
				require.Zero(t, <-second)
				time.Sleep(time.Second)
				require.InDelta(t, 2, testutil.ToFloat64(w.gateway.Waiting), 0, "its slot is free")
				if late { // a worker that comes afterwards knows it too
					time.Sleep(time.Minute)
					w.startWorker(cancellations)
				}
				close(w.model.let)
				require.Equal(t, http.StatusOK, <-first)
				require.Equal(t, http.StatusOK, <-third)
				time.Sleep(time.Second)
				require.ElementsMatch(t, []float32{1, 3}, w.model.seen(), "the model never sees the row")
				require.InDelta(t, 1, testutil.ToFloat64(w.worker.Cancelled), 0)
				require.InDelta(t, 1, testutil.ToFloat64(w.worker.Errors.WithLabelValues(string(model.DeadlineExceeded), "m", "1")), 0)
				require.InDelta(t, 1, testutil.ToFloat64(w.gateway.Orphans), 0, "it is answered all the same")
				letter := w.letter()
				require.JSONEq(t, `{"inputs": [[2]]}`, string(letter.Value))
				message, _ := wire.Header(letter, "__dlq.errors.message")
				require.Equal(t, "DEADLINE_EXCEEDED: the caller went away", string(message))
			})
		})
	}
}

func TestWithoutTheTopicAllIsRun(t *testing.T) {
	for name, c := range map[string]struct {
		topic  string
		seeded []string
		says   string
	}{
		"missing":  {cancellations, all[:4], "a topic cannot be read"},
		"disabled": {"", all, ""},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, c.topic, c.seeded, func(w *world) {
				t := w.t
				w.startWorker(c.topic)
				ctx, leave := context.WithCancel(t.Context())
				first := w.ask(t.Context(), `{"inputs": [[1]]}`)
				second := w.ask(ctx, `{"inputs": [[2]]}`)
				leave()
				require.Zero(t, <-second)
				time.Sleep(2 * time.Minute)
				require.InDelta(t, 1, testutil.ToFloat64(w.gateway.Waiting), 0)
				close(w.model.let)
				require.Equal(t, http.StatusOK, <-first)
				time.Sleep(time.Second)
				require.ElementsMatch(t, []float32{1, 2}, w.model.seen())
				require.Zero(t, testutil.ToFloat64(w.worker.Cancelled))
				w.end()
				require.Equal(t, c.says != "", strings.Count(w.log.String(), "\n") == 1, w.log.String())
				require.Contains(t, w.log.String(), c.says)
			})
		})
	}
}

// A topic that comes later is found.
func TestATopicThatComesLaterIsFound(t *testing.T) {
	inWorld(t, cancellations, all[:4], func(w *world) {
		t := w.t
		w.startWorker(cancellations)
		cl, err := kgo.NewClient(w.opts()...)
		require.NoError(t, err)
		defer cl.Close()
		require.NoError(t, kafka.EnsureTopics(t.Context(), cl, kafka.Topics{
			Requests: requests, Results: results, Replies: replies, DeadLetters: dead, Cancelled: cancellations, Partitions: 2, Replication: 1,
		}, slog.New(slog.DiscardHandler)))
		time.Sleep(20 * time.Second)
		ctx, leave := context.WithCancel(t.Context())
		first := w.ask(t.Context(), `{"inputs": [[1]]}`)
		second := w.ask(ctx, `{"inputs": [[2]]}`)
		leave()
		require.Zero(t, <-second)
		time.Sleep(time.Second)
		close(w.model.let)
		require.Equal(t, http.StatusOK, <-first)
		time.Sleep(time.Second)
		require.Equal(t, []float32{1}, w.model.seen())
	})
}
