package gateway_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/gateway"
	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/metrics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	requests = "inference.requests"
	replies  = "inference.replies"
	kept     = "inference.predictions"
)

func config() gateway.Config {
	return gateway.Config{
		Addr: "127.0.0.1:8000", RequestTopic: requests, ReplyTopic: replies, ReplyPartition: -1,
		Timeout: 30 * time.Second, MaxTimeout: 2 * time.Minute, PublishTimeout: 5 * time.Second,
		ReadTimeout: 30 * time.Second, DrainTimeout: 20 * time.Second,
		MaxBodyBytes: 1 << 20, Admission: gateway.AdmissionConfig{MaxWaiting: 500, MaxBuffered: 256 << 20, BreakerPause: 10 * time.Second}, Group: "millrace", Delivery: "at-least-once", LagInterval: 10 * time.Second,
		Pages: true, Async: gateway.AsyncConfig{Topic: kept, Timeout: 10 * time.Minute, Keep: time.Hour, Bytes: 1 << 20},
	}
}

// world is a broker on a network in memory, inside a bubble of virtual time.
type world struct {
	t       *testing.T
	net     *kfake.VirtualNetwork
	cluster *kfake.Cluster
	http    *http.Client
	with    func(*gateway.Deps) // nil: as they are
}

// inWorld runs a test with the topics there. All that was started on the way
// is ended before the bubble.
func inWorld(t *testing.T, test func(*world), topics ...string) {
	t.Helper()
	if topics == nil {
		topics = []string{requests, replies, kept}
	}
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: &kfake.VirtualNetwork{}}
		w.cluster = kfake.MustCluster(kfake.NumBrokers(1), kfake.Ports(9092),
			kfake.ListenFn(w.net.Listen), kfake.SeedTopics(4, topics...))
		transport := &http.Transport{DialContext: w.net.DialContext}
		w.http = &http.Client{Transport: transport}
		t.Cleanup(func() {
			transport.CloseIdleConnections()
			w.cluster.Close()
		})
		test(w)
	})
}

func (w *world) kafka() []kgo.Opt {
	return []kgo.Opt{kgo.SeedBrokers("127.0.0.1:9092"), kgo.Dialer(w.net.DialContext), kgo.DisableClientMetrics()}
}

// running is a gateway in its goroutine.
type running struct {
	w    *world
	url  string
	reg  *prometheus.Registry
	m    *metrics.Gateway
	stop func() error // cancels and joins; may be called twice
}

func (w *world) start(cfg gateway.Config) *running {
	w.t.Helper()
	l, err := w.net.Listen("tcp", cfg.Addr)
	require.NoError(w.t, err)
	var rpc net.Listener
	if cfg.GRPCAddr != "" {
		rpc, err = w.net.Listen("tcp", cfg.GRPCAddr)
		require.NoError(w.t, err)
		w.t.Cleanup(func() { _ = rpc.Close() })
	}
	reg := prometheus.NewRegistry()
	m := metrics.NewGateway(reg)
	deps := gateway.Deps{
		Log: slog.New(slog.DiscardHandler), Version: "1.2", Metrics: m, Predictions: metrics.NewPredictions(reg), Series: reg, Kafka: w.kafka(), Listener: l, GRPC: rpc,
	}
	if w.with != nil {
		w.with(&deps)
	}
	g, err := gateway.New(cfg, deps)
	require.NoError(w.t, err)
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan struct{})
	var result error
	go func() { defer close(ended); result = g.Run(ctx) }()
	r := &running{w: w, url: "http://" + cfg.Addr, reg: reg, m: m}
	r.stop = func() error { cancel(); <-ended; return result }
	w.t.Cleanup(func() { _ = r.stop() })
	return r
}

// ready starts a gateway and waits until it says that it is ready.
func (w *world) ready(cfg gateway.Config) *running {
	w.t.Helper()
	r := w.start(cfg)
	for range 60 {
		if res := r.get("/readyz"); res.status == http.StatusOK {
			return r
		}
		time.Sleep(500 * time.Millisecond)
	}
	require.FailNow(w.t, "never ready", r.get("/readyz").body)
	return nil
}

type response struct {
	status int
	header http.Header
	body   string
}

func (r *running) get(path string) response {
	return r.do(r.w.t.Context(), http.MethodGet, path, nil, nil)
}

func (r *running) post(body string, header map[string]string) response {
	return r.do(r.w.t.Context(), http.MethodPost, "/predict", bytes.NewReader([]byte(body)), header)
}

// do returns the status 0 when there was no response.
func (r *running) do(ctx context.Context, method, path string, body io.Reader, header map[string]string) response {
	req, err := http.NewRequestWithContext(ctx, method, r.url+path, body)
	if err != nil {
		r.w.t.Error(err)
		return response{}
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	res, err := r.w.http.Do(req)
	if err != nil {
		return response{body: err.Error()}
	}
	defer func() { _ = res.Body.Close() }()
	text, _ := io.ReadAll(res.Body)
	return response{res.StatusCode, res.Header, string(text)}
}

// outcome is what a fake worker answers with; none when status is empty.
type outcome struct{ status, body string }

// worker answers every request that decide gives an outcome for, as the real
// one does: to the partition asked for, with the correlation id echoed.
func (w *world) worker(decide func(*kgo.Record) outcome) {
	w.t.Helper()
	client, err := kgo.NewClient(append(w.kafka(), workerOpts()...)...)
	require.NoError(w.t, err)
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); answerAll(ctx, client, decide) }()
	w.t.Cleanup(func() { cancel(); <-ended; client.Close() })
	time.Sleep(time.Second) // its first fetch is over
}

// workerOpts wait for little in a fetch: the first may be of some partitions
// alone, and what comes in the others waits for its end.
func workerOpts() []kgo.Opt {
	return []kgo.Opt{
		kgo.ConsumeTopics(requests), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(500 * time.Millisecond),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0), kgo.MetadataMinAge(100 * time.Millisecond),
	}
}

func answerAll(ctx context.Context, client *kgo.Client, decide func(*kgo.Record) outcome) {
	for ctx.Err() == nil {
		client.PollFetches(ctx).EachRecord(func(req *kgo.Record) {
			if o := decide(req); o.status != "" {
				client.Produce(ctx, reply(req, o), nil)
			}
		})
	}
}

func reply(req *kgo.Record, o outcome) *kgo.Record {
	topic, _ := wire.Header(req, wire.ReplyTopic)
	partition, _ := wire.Header(req, wire.ReplyPartition)
	correlation, _ := wire.Header(req, wire.CorrelationID)
	return &kgo.Record{
		Topic: string(topic), Partition: int32(binary.BigEndian.Uint32(partition)), Value: []byte(o.body),
		Headers: []kgo.RecordHeader{
			{Key: wire.CorrelationID, Value: correlation},
			{Key: wire.Status, Value: []byte(o.status)},
			{Key: wire.ContentType, Value: []byte("application/json")},
			{Key: wire.ModelName, Value: []byte("m")},
			{Key: wire.ModelVersion, Value: []byte("7")},
			{Key: wire.ID, Value: wire.AppendID(nil, req)},
		},
	}
}

// echo answers ok with the request's own body.
func echo(rec *kgo.Record) outcome { return outcome{"ok", string(rec.Value)} }

func silent(*kgo.Record) outcome { return outcome{} }
