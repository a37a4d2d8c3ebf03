package producer

import (
	"context"
	"encoding/binary"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/internal/kafka"
	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/metrics"
	"github.com/millrace/millrace/model"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type rig struct {
	*Producer
	cluster *kfake.Cluster
	read    *kgo.Client
}

func newRig(t *testing.T) *rig {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "results", "replies", "dlq"))
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	seeds := []kgo.Opt{kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.MetadataMinAge(10 * time.Millisecond)}
	p, err := New(Config{
		ReplyTopics: []string{"replies"}, MaxBuffered: 64, BatchMaxBytes: 4096,
		Compression: "none", CloseTimeout: 5 * time.Second, RetryBackoff: time.Millisecond,
	}, Deps{
		Logger: slog.New(slog.DiscardHandler), Metrics: metrics.NewProducer(prometheus.NewRegistry()), Group: "g", Opts: seeds,
		Topics:    kafka.Topics{Requests: "requests", Results: "results", Replies: "replies", DeadLetters: "dlq"},
		ErrorBody: func(err *model.Error) (string, []byte) { return "application/json", []byte(err.Code) },
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	read, err := kgo.NewClient(append(seeds, kgo.ConsumeTopics("results", "replies", "dlq"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	require.NoError(t, err)
	t.Cleanup(read.Close)
	return &rig{p, cluster, read}
}

// publish returns the status of what was published.
func (r *rig) publish(t *testing.T, a *wire.Answer) string {
	t.Helper()
	acked := make(chan string, 1)
	r.Publish(t.Context(), a, func(status string, err error) {
		if err != nil {
			status = err.Error()
		}
		acked <- status
	})
	return <-acked
}

// records reads n of them, by topic.
func (r *rig) records(t *testing.T, n int) map[string]*kgo.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	got := map[string]*kgo.Record{}
	for len(got) < n {
		fetches := r.read.PollFetches(ctx)
		require.NoError(t, fetches.Err())
		fetches.EachRecord(func(rec *kgo.Record) { got[rec.Topic] = rec })
	}
	return got
}

func headers(r *kgo.Record) map[string]string {
	h := map[string]string{}
	for _, x := range r.Headers {
		h[x.Key] = string(x.Value)
	}
	return h
}

func answer(value string, h ...kgo.RecordHeader) *wire.Answer {
	req := &kgo.Record{Topic: "requests", Partition: 4, Offset: 7, Value: []byte("in"), Headers: h}
	return &wire.Answer{Request: req, Status: "ok", ModelName: "m", ModelVersion: "3", ContentType: "application/json", Value: []byte(value)}
}

func header(key, value string) kgo.RecordHeader {
	return kgo.RecordHeader{Key: key, Value: []byte(value)}
}

func TestResult(t *testing.T) {
	r := newRig(t)
	r.cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		return refuse(req.(*kmsg.ProduceRequest), kerr.NotLeaderForPartition.Code), nil, true
	})
	require.Equal(t, "ok", r.publish(t, answer("out", header(wire.CorrelationID, "c"), header(wire.TraceParent, "tp"))))
	got := r.records(t, 1)["results"]
	require.Equal(t, int32(1), got.Partition) // 4 modulo 3
	require.Equal(t, map[string]string{
		"content-type": "application/json", "kafka_correlationId": "c", "ce_id": "requests/4/7", "ce_source": "millrace",
		"ce_type": "millrace.inference.result", "ce_specversion": "1.0", "model-name": "m", "model-version": "3",
		"status": "ok", "traceparent": "tp",
	}, headers(got))
	require.InDelta(t, 1, testutil.ToFloat64(r.deps.Metrics.Published.WithLabelValues("result")), 0)
	require.Zero(t, testutil.ToFloat64(r.deps.Metrics.Buffered))
}

func TestAnAnswerNamesTheSpanThatMadeIt(t *testing.T) {
	for _, asked := range [][]kgo.RecordHeader{nil, {header(wire.TraceParent, "asked"), header(wire.TraceState, "v=1")}} {
		r := newRig(t)
		a := answer("out", asked...)
		a.TraceParent = "made"
		require.Equal(t, "ok", r.publish(t, a))
		got := headers(r.records(t, 1)["results"])
		require.Equal(t, "made", got["traceparent"])
		require.Equal(t, len(asked) > 0, got["tracestate"] == "v=1")
	}
}

func refuse(req *kmsg.ProduceRequest, code int16) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.ProduceResponse)
	for _, t := range req.Topics {
		st := kmsg.NewProduceResponseTopic()
		st.Topic, st.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			sp := kmsg.NewProduceResponseTopicPartition()
			sp.Partition, sp.ErrorCode = p.Partition, code
			st.Partitions = append(st.Partitions, sp)
		}
		resp.Topics = append(resp.Topics, st)
	}
	return resp
}

func TestReply(t *testing.T) {
	for name, partition := range map[string]string{
		"text": "2", "spring": string(binary.BigEndian.AppendUint32(nil, 2)),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			require.Equal(t, "ok", r.publish(t, answer("out", header(wire.ReplyTopic, "replies"), header(wire.ReplyPartition, partition))))
			got := r.records(t, 1)
			require.Equal(t, int32(2), got["replies"].Partition)
		})
	}
}

func TestBecomesErrorAndDeadLetter(t *testing.T) {
	for name, c := range map[string]struct {
		a    *wire.Answer
		want string
	}{
		"topic not allowed": {answer("out", header(wire.ReplyTopic, "elsewhere")), "INVALID_INPUT"},
		"no such partition": {answer("out", header(wire.ReplyTopic, "replies"), header(wire.ReplyPartition, "99")), "INVALID_INPUT"},
		"not a partition":   {answer("out", header(wire.ReplyTopic, "replies"), header(wire.ReplyPartition, "x")), "INVALID_INPUT"},
		"result too large":  {answer(strings.Repeat("x", 9000)), "TOO_LARGE"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			require.Equal(t, c.want, r.publish(t, c.a))
			got := r.records(t, 2)
			require.Equal(t, c.want, headers(got["results"])["status"])
			require.Equal(t, c.want, string(got["results"].Value))
			h := headers(got["dlq"])
			require.Equal(t, []string{"requests", "4", "7", "g", "1", c.want}, []string{
				h[wire.DeadTopic], h[wire.DeadPartition], h[wire.DeadOffset], h[wire.DeadGroup], h[wire.DeadDeliveries], h[wire.DeadCode],
			})
			require.Equal(t, "in", string(got["dlq"].Value))
			require.InDelta(t, 1, testutil.ToFloat64(r.deps.Metrics.DeadLetters.WithLabelValues(c.want)), 0)
		})
	}
}

func TestDeadLetterWithoutPayload(t *testing.T) {
	r := newRig(t)
	a := answer("no")
	a.Status, a.Request.Value = "INVALID_INPUT", []byte(strings.Repeat("x", 9000))
	require.Equal(t, "INVALID_INPUT", r.publish(t, a))
	dead := r.records(t, 2)["dlq"]
	require.Empty(t, dead.Value)
	require.NotEmpty(t, headers(dead)[wire.DeadPayloadOmitted])
	require.InDelta(t, 1, testutil.ToFloat64(r.deps.Metrics.PublishErrors.WithLabelValues("dead_letter")), 0)
}

func TestWhatIsEchoedMayBeTooLarge(t *testing.T) {
	big := strings.Repeat("x", 9000)
	for name, c := range map[string]struct {
		change func(*wire.Answer)
		status string
	}{
		"header of a prediction": {func(a *wire.Answer) { a.Request.Headers = []kgo.RecordHeader{header(wire.CorrelationID, big)} }, "TOO_LARGE"},
		"key of a prediction":    {func(a *wire.Answer) { a.Request.Key = []byte(big) }, "TOO_LARGE"},
		"all of a refused one": {func(a *wire.Answer) {
			a.Status, a.Message, a.Request.Key, a.Request.Value = "TOO_LARGE", big, []byte(big), []byte(big)
			a.Request.Headers = []kgo.RecordHeader{header(wire.TraceState, big), header("other", big)}
		}, "TOO_LARGE"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			a := answer("out")
			c.change(a)
			require.Equal(t, c.status, r.publish(t, a))
			got := r.records(t, 2)
			require.Equal(t, c.status, headers(got["results"])["status"])
			require.Equal(t, "requests/4/7", headers(got["results"])["ce_id"])
			require.Equal(t, "7", headers(got["dlq"])[wire.DeadOffset])
		})
	}
}

func TestDeadLetterCountsTheAttempts(t *testing.T) {
	r := newRig(t)
	a := answer("no")
	a.Status = "MODEL_FAILED"
	wire.Deliver(a.Request, wire.Delivery{Attempts: 5, Code: wire.ModelFailed})
	require.Equal(t, "MODEL_FAILED", r.publish(t, a))
	require.Equal(t, "5", headers(r.records(t, 2)["dlq"])[wire.DeadDeliveries])
}
