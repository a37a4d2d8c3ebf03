package tracing

import (
	"context"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Worker follows the requests of a pool. A nil Worker follows none.
type Worker struct {
	requests trace.Tracer
	batches  trace.Tracer
}

// NewWorker takes the tracer of requests, which samples, and that of batches,
// which has to record every span: only a batch with a sampled request has one.
func NewWorker(requests, batches trace.Tracer) *Worker { return &Worker{requests, batches} }

// Request is a sampled request on its way through a pool. All that a nil one is
// told is lost. It is not safe for concurrent use.
type Request struct {
	*Worker
	span trace.Span
}

// Begin is told of a record that was handed to the pool at a time, and whose
// batch has begun. The span's parent is the one that the record names; without
// one it begins a trace, if the sampler wants that. It returns nil for a
// request that is not sampled.
func (w *Worker) Begin(r *kgo.Record, queued, begun time.Time) *Request {
	if w == nil {
		return nil
	}
	ctx := propagation.TraceContext{}.Extract(context.Background(), carrier{r})
	_, span := w.requests.Start(ctx, "process "+r.Topic, trace.WithTimestamp(queued), trace.WithSpanKind(trace.SpanKindConsumer))
	if !span.IsRecording() {
		return nil
	}
	span.SetAttributes(keySystem.String("kafka"), keyKind.String("process"), keyOperation.String("process"), keyTopic.String(r.Topic),
		keyPartition.String(strconv.Itoa(int(r.Partition))), keyOffset.Int64(r.Offset))
	req := &Request{w, span}
	req.phase("wait", trace.SpanKindInternal, queued, begun)
	return req
}

// phase records a child span that is over.
func (r *Request) phase(name string, kind trace.SpanKind, from, to time.Time, opts ...trace.SpanStartOption) trace.Span {
	ctx := trace.ContextWithSpan(context.Background(), r.span)
	_, span := r.requests.Start(ctx, name, append(opts, trace.WithTimestamp(from), trace.WithSpanKind(kind))...)
	span.End(trace.WithTimestamp(to))
	return span
}

// Decoded tells of the decoding of the batch that the request is in.
func (r *Request) Decoded(begun, ended time.Time) {
	if r != nil {
		r.phase("decode", trace.SpanKindInternal, begun, ended)
	}
}

// Parent is the request's span as the header traceparent, for its answer; "" for
// nil.
func (r *Request) Parent() string {
	if r == nil {
		return ""
	}
	return parent(r.span.SpanContext())
}

// IDs are those of the request's trace and span, in hexadecimal; it must not be
// nil.
func (r *Request) IDs() (traceID, spanID string) {
	sc := r.span.SpanContext()
	return sc.TraceID().String(), sc.SpanID().String()
}

// Call is one call of a model.
type Call struct {
	Model, Version string
	Records, Rows  int
	Begun, Ended   time.Time
	Code           string // of its error; "" when there is none
	Err            error
}

// Called tells of a call that these requests, none of them nil, were in. It is a
// span of its own trace, which links to theirs.
func (w *Worker) Called(requests []*Request, c Call) {
	if w == nil || len(requests) == 0 {
		return
	}
	links := make([]trace.Link, len(requests))
	for i, r := range requests {
		links[i].SpanContext = r.span.SpanContext()
	}
	_, batch := w.batches.Start(context.Background(), "batch", trace.WithTimestamp(c.Begun), trace.WithLinks(links...), trace.WithAttributes(
		keyModel.String(c.Model), keyVersion.String(c.Version), keyRecords.Int(c.Records), keyRows.Int(c.Rows)))
	var failed []attribute.KeyValue
	if c.Err != nil {
		failed = append(failed, keyError.String(c.Code))
		batch.SetAttributes(failed...)
		batch.SetStatus(codes.Error, c.Err.Error())
	}
	batch.End(trace.WithTimestamp(c.Ended))
	to := trace.Link{SpanContext: batch.SpanContext()}
	for _, r := range requests {
		r.phase("predict", trace.SpanKindInternal, c.Begun, c.Ended, trace.WithLinks(to), trace.WithAttributes(failed...))
	}
}

// Outcome is what a request's answer is.
type Outcome struct {
	Status         string // ok, or an error code
	Model, Version string // "" when none was reached
	Message        string // of an error that is ours; "" for one that the request brought about
	Answered       time.Time
	Acked          time.Time
}

// End tells that the answer is acknowledged by the broker.
func (r *Request) End(o Outcome) {
	if r == nil {
		return
	}
	r.phase("publish", trace.SpanKindProducer, o.Answered, o.Acked)
	r.span.SetAttributes(keyStatus.String(o.Status), keyModel.String(o.Model), keyVersion.String(o.Version))
	if o.Status != "ok" {
		r.span.SetAttributes(keyError.String(o.Status))
	}
	if o.Message != "" {
		r.span.SetStatus(codes.Error, o.Message)
	}
	r.span.End(trace.WithTimestamp(o.Acked))
}

// GiveBack tells that the record has to be consumed again, and why.
func (r *Request) GiveBack(cause error) {
	if r == nil {
		return
	}
	r.span.SetAttributes(keyBack.String(cause.Error()))
	r.span.End()
}
