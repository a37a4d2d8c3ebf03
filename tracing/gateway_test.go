package tracing_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/tracing"
)

func header(r *kgo.Record, key string) string {
	v, _ := wire.Header(r, key)
	return string(v)
}

func TestAnExchangeAndItsRecord(t *testing.T) {
	tracer, kept := recorder(t, sdk.ParentBased(sdk.NeverSample()))
	g := tracing.NewGateway(tracer)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/predict?secret=1", http.NoBody)
	r.Header.Set("Traceparent", sampled)
	r.Header.Set("Tracestate", "vendor=1")
	ctx, exchange := g.Begin(t.Context(), r)
	require.Equal(t, traceID, tracing.ID(ctx, http.Header{}))

	rec := request(sampled)
	acked := g.Send(ctx, rec)
	rec.Partition, rec.Offset = 3, 11
	acked(rec, nil)
	exchange.End(tracing.Response{Pattern: "POST /predict", Status: 200, Model: "m", Version: "3", RequestID: "id"})

	spans := byName(t, kept)
	server, sent := spans["POST /predict"], spans["send inference.requests"]
	require.Equal(t, trace.SpanKindServer, server.SpanKind)
	require.Equal(t, "b7ad6b7169203331", server.Parent.SpanID().String())
	require.Equal(t, map[string]any{
		"http.request.method": "POST", "url.path": "/predict", "url.scheme": "http", "http.route": "/predict", "http.response.status_code": int64(200),
		"millrace.request.id": "id", "millrace.model.name": "m", "millrace.model.version": "3",
	}, attributes(server))
	require.Equal(t, server.SpanContext.SpanID(), sent.Parent.SpanID())
	require.Equal(t, int64(11), attributes(sent)["messaging.kafka.offset"])
	require.Equal(t, "00-"+traceID+"-"+sent.SpanContext.SpanID().String()+"-01", header(rec, wire.TraceParent), "the worker goes on from here")
	require.Equal(t, "vendor=1", header(rec, wire.TraceState))
	require.Len(t, rec.Headers, 2, "in the place of the client's")
}

func TestWhoIsNotFollowedIsTold(t *testing.T) {
	tracer, kept := recorder(t, sdk.ParentBased(sdk.NeverSample()))
	g := tracing.NewGateway(tracer)
	ctx, exchange := g.Begin(t.Context(), httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/predict", http.NoBody))
	require.Empty(t, exchange.Parent())
	rec := request("nonsense")
	rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: wire.TraceState, Value: []byte("stale=1")})
	g.Send(ctx, rec)(rec, nil)
	exchange.End(tracing.Response{Status: 500})
	require.Empty(t, kept.GetSpans())
	require.Regexp(t, "^00-"+tracing.ID(ctx, http.Header{})+"-[0-9a-f]{16}-00$", header(rec, wire.TraceParent), "so that the worker does not choose anew")
	require.Empty(t, header(rec, wire.TraceState))
}

func TestFailuresOfAnExchange(t *testing.T) {
	tracer, kept := recorder(t, sdk.AlwaysSample())
	g := tracing.NewGateway(tracer)
	ctx, exchange := g.Begin(t.Context(), httptest.NewRequestWithContext(t.Context(), "BREW", "/pot", http.NoBody))
	rec := request("")
	g.Send(ctx, rec)(rec, errors.New("no broker"))
	exchange.End(tracing.Response{Pattern: "/", Status: 503, Code: "UNAVAILABLE"})
	spans := byName(t, kept)
	require.Equal(t, sdk.Status{Code: codes.Error, Description: "no broker"}, spans["send inference.requests"].Status)
	server := spans["_OTHER"]
	require.Equal(t, sdk.Status{Code: codes.Error, Description: "UNAVAILABLE"}, server.Status)
	require.Equal(t, "UNAVAILABLE", attributes(server)["error.type"])
	require.NotContains(t, attributes(server), "http.route")

	kept.Reset()
	_, exchange = g.Begin(t.Context(), httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/predict", http.NoBody))
	exchange.End(tracing.Response{Pattern: "POST /predict", Status: 400, Code: "INVALID_INPUT"})
	require.Equal(t, codes.Unset, byName(t, kept)["POST /predict"].Status.Code, "the client's fault")
}

func TestACall(t *testing.T) {
	tracer, kept := recorder(t, sdk.AlwaysSample())
	_, exchange := tracing.NewGateway(tracer).BeginCall(t.Context(), "inference.GRPCInferenceService", "ModelInfer", http.Header{"Traceparent": {sampled}})
	exchange.End(tracing.Response{Status: 503, RPC: 14, Code: "UNAVAILABLE"})
	server := byName(t, kept)["inference.GRPCInferenceService/ModelInfer"]
	require.Equal(t, "b7ad6b7169203331", server.Parent.SpanID().String())
	require.Equal(t, map[string]any{
		"rpc.system": "grpc", "rpc.service": "inference.GRPCInferenceService", "rpc.method": "ModelInfer", "rpc.grpc.status_code": int64(14),
		"error.type": "UNAVAILABLE",
	}, attributes(server))
	require.Equal(t, codes.Error, server.Status.Code)
}

func TestWithoutATracerHeadersStay(t *testing.T) {
	var g *tracing.Gateway
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/predict", http.NoBody)
	same, exchange := g.Begin(t.Context(), r)
	require.Equal(t, t.Context(), same)
	require.Empty(t, exchange.Parent())
	exchange.End(tracing.Response{})
	same, exchange = g.BeginCall(t.Context(), "s", "m", nil)
	require.Equal(t, t.Context(), same)
	require.Nil(t, exchange)
	rec := request("as it came")
	g.Send(t.Context(), rec)(rec, nil)
	require.Equal(t, "as it came", header(rec, wire.TraceParent))
	_, _, ok := g.Sampled(t.Context())
	require.False(t, ok)

	require.Empty(t, tracing.ID(t.Context(), http.Header{}))
	require.Empty(t, tracing.ID(t.Context(), http.Header{"Traceparent": {"00-a-b-01"}}))
	require.Equal(t, traceID, tracing.ID(t.Context(), http.Header{"Traceparent": {unasked}}))
}
