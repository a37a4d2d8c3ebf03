package tracing

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/millrace/millrace/internal/wire"
)

// Gateway follows the requests of a gateway. A nil Gateway follows none.
type Gateway struct{ tracer trace.Tracer }

// NewGateway takes the tracer that samples.
func NewGateway(tracer trace.Tracer) *Gateway { return &Gateway{tracer} }

// Exchange is one request over HTTP or gRPC and its response. All that a nil one is
// told is lost.
type Exchange struct {
	span trace.Span
	rpc  bool
}

// Begin goes on with the trace that the request names, or begins one. The context
// that it returns carries the span, and is for whoever answers the request.
func (g *Gateway) Begin(ctx context.Context, r *http.Request) (context.Context, *Exchange) {
	if g == nil {
		return ctx, nil
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	ctx = propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(r.Header))
	ctx, span := g.tracer.Start(ctx, method(r.Method), trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(keyMethod.String(method(r.Method)), keyPath.String(r.URL.Path), keyScheme.String(scheme)))
	return ctx, &Exchange{span: span}
}

// BeginCall is Begin for a call over gRPC, whose metadata are the header.
func (g *Gateway) BeginCall(ctx context.Context, service, method string, header http.Header) (context.Context, *Exchange) {
	if g == nil {
		return ctx, nil
	}
	ctx = propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(header))
	ctx, span := g.tracer.Start(ctx, service+"/"+method, trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(keyRPC.String("grpc"), keyService.String(service), keyCall.String(method)))
	return ctx, &Exchange{span: span, rpc: true}
}

// method is one that HTTP knows, or what the conventions say for the others.
func method(name string) string {
	switch name {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return name
	}
	return "_OTHER"
}

// Parent is the exchange's span as the header traceparent; "" when it is not
// sampled.
func (e *Exchange) Parent() string {
	if e == nil || !e.span.IsRecording() {
		return ""
	}
	return parent(e.span.SpanContext())
}

// Response is what came of an exchange.
type Response struct {
	Pattern        string // that the request's path matched; "" for none
	Status         int    // of HTTP, or that it would have been over gRPC
	RPC            int    // gRPC's code, over gRPC
	Code           string // of the error; "" for none
	Model, Version string // that answered; "" for none
	RequestID      string
}

// End tells of the response.
func (e *Exchange) End(r Response) {
	if e == nil {
		return
	}
	if verb, route, ok := strings.Cut(r.Pattern, " "); ok {
		e.span.SetName(verb + " " + route)
		e.span.SetAttributes(keyRoute.String(route))
	}
	if e.rpc {
		e.span.SetAttributes(keyRPCStatus.Int(r.RPC))
	} else {
		e.span.SetAttributes(keyHTTP.Int(r.Status))
	}
	if r.RequestID != "" {
		e.span.SetAttributes(keyRequest.String(r.RequestID))
	}
	if r.Model != "" {
		e.span.SetAttributes(keyModel.String(r.Model), keyVersion.String(r.Version))
	}
	if r.Code != "" {
		e.span.SetAttributes(keyError.String(r.Code))
	}
	if r.Status >= http.StatusInternalServerError {
		e.span.SetStatus(codes.Error, r.Code)
	}
	e.span.End()
}

// Send tells of a request that is about to be published, and writes the trace
// context into the record. acked is called when the broker has it or will not.
func (g *Gateway) Send(ctx context.Context, r *kgo.Record) (acked func(*kgo.Record, error)) {
	if g == nil {
		return ignored
	}
	ctx, span := g.tracer.Start(ctx, "send "+r.Topic, trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(
		keySystem.String("kafka"), keyKind.String("send"), keyOperation.String("send"), keyTopic.String(r.Topic)))
	r.Headers = slices.DeleteFunc(r.Headers, func(h kgo.RecordHeader) bool { return h.Key == wire.TraceParent || h.Key == wire.TraceState })
	propagation.TraceContext{}.Inject(ctx, carrier{r})
	return func(r *kgo.Record, err error) {
		if err != nil {
			span.SetStatus(codes.Error, err.Error())
		} else {
			span.SetAttributes(keyPartition.String(strconv.Itoa(int(r.Partition))), keyOffset.Int64(r.Offset))
		}
		span.End()
	}
}

func ignored(*kgo.Record, error) {}

// ID is that of the trace, in hexadecimal, which an HTTP request names, or else of
// the one in ctx; "" for none. Sampled or not, and without a Gateway.
func ID(ctx context.Context, h http.Header) string {
	ctx = propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(h))
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() {
		return sc.TraceID().String()
	}
	return ""
}

// Sampled gives the ids of the span that ctx carries when it is sampled.
func (g *Gateway) Sampled(ctx context.Context) (traceID, spanID string, ok bool) {
	if g == nil {
		return "", "", false
	}
	sc := trace.SpanContextFromContext(ctx)
	if !sc.IsSampled() {
		return "", "", false
	}
	return sc.TraceID().String(), sc.SpanID().String(), true
}
