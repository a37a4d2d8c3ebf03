package tracing_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/millrace/millrace/tracing"
)

func request(traceparent string) *kgo.Record {
	r := &kgo.Record{Topic: "inference.requests", Partition: 2, Offset: 7}
	if traceparent != "" {
		r.Headers = []kgo.RecordHeader{{Key: "traceparent", Value: []byte(traceparent)}}
	}
	return r
}

func TestTheRequestSaysWhetherItIsFollowed(t *testing.T) {
	for name, c := range map[string]struct {
		traceparent string
		own         sdk.Sampler
		followed    bool
	}{
		"its trace is sampled":        {sampled, sdk.NeverSample(), true},
		"its trace is not":            {unasked, sdk.AlwaysSample(), false},
		"it has none, and we do":      {"", sdk.AlwaysSample(), true},
		"it has none, and we do not":  {"", sdk.NeverSample(), false},
		"it has nonsense, and we do":  {"00-a-b-01", sdk.AlwaysSample(), true},
		"a version that is not known": {"ff-" + sampled[3:], sdk.NeverSample(), false},
	} {
		tracer, _ := recorder(t, sdk.ParentBased(c.own))
		r := tracing.NewWorker(tracer, tracer).Begin(request(c.traceparent), time.Now(), time.Now())
		require.Equal(t, c.followed, r != nil, name)
		require.Equal(t, c.followed, r.Parent() != "", name)
	}
}

func TestThePhasesOfARequest(t *testing.T) {
	tracer, kept := recorder(t, sdk.ParentBased(sdk.NeverSample()))
	batches, calls := recorder(t, sdk.AlwaysSample())
	w := tracing.NewWorker(tracer, batches)
	at := func(ms int) time.Time { return time.UnixMilli(1000 + int64(ms)) }
	r := w.Begin(request(sampled), at(0), at(10))
	r.Decoded(at(10), at(15))
	w.Called([]*tracing.Request{r}, tracing.Call{Model: "m", Version: "3", Records: 4, Rows: 9, Begun: at(15), Ended: at(40)})
	r.End(tracing.Outcome{Status: "ok", Model: "m", Version: "3", Answered: at(40), Acked: at(50)})

	spans := byName(t, kept)
	root := spans["process inference.requests"]
	require.Equal(t, "00-"+traceID+"-"+root.SpanContext.SpanID().String()+"-01", r.Parent())
	require.Equal(t, "b7ad6b7169203331", root.Parent.SpanID().String())
	require.Equal(t, trace.SpanKindConsumer, root.SpanKind)
	require.Equal(t, []time.Time{at(0), at(50)}, []time.Time{root.StartTime, root.EndTime})
	require.Equal(t, codes.Unset, root.Status.Code)
	require.Equal(t, map[string]any{
		"messaging.system": "kafka", "messaging.operation.type": "process", "messaging.operation.name": "process",
		"messaging.destination.name": "inference.requests", "messaging.destination.partition.id": "2", "messaging.kafka.offset": int64(7),
		"millrace.status": "ok", "millrace.model.name": "m", "millrace.model.version": "3",
	}, attributes(root))
	for name, want := range map[string][]time.Time{
		"wait": {at(0), at(10)}, "decode": {at(10), at(15)}, "predict": {at(15), at(40)}, "publish": {at(40), at(50)},
	} {
		s := spans[name]
		require.Equal(t, traceID, s.SpanContext.TraceID().String(), name)
		require.Equal(t, root.SpanContext.SpanID(), s.Parent.SpanID(), name)
		require.Equal(t, want, []time.Time{s.StartTime, s.EndTime}, name)
	}
	batch := byName(t, calls)["batch"]
	require.False(t, batch.Parent.IsValid(), "a trace of its own")
	require.Equal(t, root.SpanContext.SpanID(), batch.Links[0].SpanContext.SpanID())
	require.Equal(t, batch.SpanContext.SpanID(), spans["predict"].Links[0].SpanContext.SpanID())
	require.Equal(t, map[string]any{
		"millrace.model.name": "m", "millrace.model.version": "3", "millrace.batch.records": int64(4), "millrace.batch.rows": int64(9),
	}, attributes(batch))
}

func TestWhatGoesWrongShows(t *testing.T) {
	tracer, kept := recorder(t, sdk.AlwaysSample())
	w := tracing.NewWorker(tracer, tracer)
	now := time.Now()
	r := w.Begin(request(""), now, now)
	w.Called([]*tracing.Request{r}, tracing.Call{Begun: now, Ended: now, Code: "MODEL_FAILED", Err: errors.New("boom")})
	r.End(tracing.Outcome{Status: "MODEL_FAILED", Message: "the model failed", Answered: now, Acked: now})
	spans := byName(t, kept)
	require.Equal(t, sdk.Status{Code: codes.Error, Description: "boom"}, spans["batch"].Status)
	require.Equal(t, sdk.Status{Code: codes.Error, Description: "the model failed"}, spans["process inference.requests"].Status)
	for _, name := range []string{"batch", "predict", "process inference.requests"} {
		require.Equal(t, "MODEL_FAILED", attributes(spans[name])["error.type"], name)
	}

	kept.Reset()
	w.Begin(request(""), now, now).GiveBack(errors.New("the lease ended"))
	require.Equal(t, "the lease ended", attributes(byName(t, kept)["process inference.requests"])["millrace.given_back"])

	kept.Reset()
	w.Begin(request(""), now, now).End(tracing.Outcome{Status: "INVALID_INPUT", Answered: now, Acked: now})
	require.Equal(t, codes.Unset, byName(t, kept)["process inference.requests"].Status.Code, "the request's own fault")
}

func TestNothingIsFollowedWithoutATracer(t *testing.T) {
	var w *tracing.Worker
	now := time.Now()
	r := w.Begin(request(sampled), now, now)
	require.Nil(t, r)
	r.Decoded(now, now)
	w.Called(nil, tracing.Call{})
	r.End(tracing.Outcome{})
	r.GiveBack(nil)
	require.Empty(t, r.Parent())
}
