package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/tracing/otlp/otlptest"
)

const (
	traceID     = "0af7651916cd43dd8448eb211c80319c"
	traceparent = "00-" + traceID + "-b7ad6b7169203331-01"
)

// TestATraceGoesThrough follows one trace from HTTP to the answer, over both of
// OTLP's protocols, in every delivery that up has.
func TestATraceGoesThrough(t *testing.T) {
	for name, c := range map[string]struct {
		start    func(*testing.T) *otlptest.Collector
		protocol string
		delivery string
	}{
		"HTTP": {otlptest.HTTP, "http/protobuf", atLeastOnce},
		"gRPC": {otlptest.GRPC, "grpc", exactlyOnce},
	} {
		t.Run(name, func(t *testing.T) {
			got := c.start(t)
			s := startUp(t, home(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+got.URL, "OTEL_EXPORTER_OTLP_PROTOCOL="+c.protocol, "OTEL_BSP_SCHEDULE_DELAY=20",
				"OTEL_TRACES_SAMPLER=parentbased_always_off", "OTEL_RESOURCE_ATTRIBUTES=team=weather", "MILLRACE_DELIVERY="+c.delivery), "--kafka-port", "0")
			res := send(t.Context(), http.MethodPost, s.web+"/predict", window(0), "Traceparent", traceparent)
			require.Equal(t, http.StatusOK, res.code, res.body)
			require.True(t, strings.HasPrefix(res.header.Get("Traceparent"), "00-"+traceID+"-"), res.header)
			id := s.ask(t, &kgo.Record{Value: []byte(window(1)), Headers: []kgo.RecordHeader{{Key: wire.TraceParent, Value: []byte(traceparent)}}})
			answer := first(t, s.broker, results, answers(id))
			require.Equal(t, http.StatusOK, send(t.Context(), http.MethodPost, s.web+"/predict", window(0)).code, "which is not followed")

			seen := moved{}
			seen.until(t, s.worker, "millrace_trace_spans_total", "millrace_trace_spans_exported_total")
			require.Contains(t, send(t.Context(), http.MethodGet, s.worker+"/metrics", "", "Accept", "application/openmetrics-text").body, `trace_id="`+traceID+`"`)
			require.Zero(t, s.stop(t), s.err.String())

			spans := make(map[string]int)
			byID := make(map[string]otlptest.Span)
			for _, span := range got.Spans() {
				spans[span.Name]++
				byID[span.ID] = span
				require.Equal(t, "millrace", span.Resource["service.name"])
				require.Equal(t, "weather", span.Resource["team"])
				if span.Name == "batch" {
					require.Contains(t, span.Links, traceID)
					delete(byID, span.ID)
					continue
				}
				require.Equal(t, traceID, span.TraceID, span.Name)
			}
			require.NotZero(t, spans["batch"])
			delete(spans, "batch") // one or two
			require.Equal(t, map[string]int{
				"POST /predict": 1, "send inference.requests": 1, "process inference.requests": 2, "wait": 2, "decode": 2, "predict": 2, "publish": 2,
			}, spans)
			require.Equal(t, []string{"predict", "process inference.requests", "send inference.requests", "POST /predict"}, ancestors(byID, "send inference.requests"))
			parent := strings.Split(header(answer, wire.TraceParent), "-")
			require.Equal(t, traceID, parent[1])
			require.Equal(t, "process inference.requests", byID[parent[2]].Name)
		})
	}
}

// ancestors is the way up from the span predict that has one of that name above it.
func ancestors(byID map[string]otlptest.Span, above string) (names []string) {
	for _, span := range byID {
		if span.Name != "predict" {
			continue
		}
		names = nil
		found := false
		for ok := true; ok; span, ok = byID[span.ParentID] {
			names = append(names, span.Name)
			found = found || span.Name == above
		}
		if found {
			return names
		}
	}
	return names
}

// A trace that nobody began begins where the request comes in.
func TestATraceBeginsHere(t *testing.T) {
	got := otlptest.HTTP(t)
	s := startUp(t, home(t, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="+got.URL+"/v1/traces", "OTEL_SERVICE_NAME=forecasts", "MILLRACE_GATEWAY_ACCESS_LOG=all"), "--kafka-port", "0")
	res := send(t.Context(), http.MethodPost, s.web+"/predict", window(0))
	require.Equal(t, http.StatusOK, res.code, res.body)
	id := s.ask(t, &kgo.Record{Value: []byte(window(1))})
	answer := header(first(t, s.broker, results, answers(id)), wire.TraceParent)
	require.Zero(t, s.stop(t), s.err.String())
	for _, parent := range []string{res.header.Get("Traceparent"), answer} {
		require.Regexp(t, "^00-[0-9a-f]{32}-[0-9a-f]{16}-01$", parent)
		span, ok := got.Find(strings.Split(parent, "-")[1], "process inference.requests")
		require.True(t, ok, "exported by the end")
		require.Equal(t, "forecasts", span.Resource["service.name"])
		require.Equal(t, "ok", span.Attributes["millrace.status"])
	}
	require.Regexp(t, `msg=request method=POST path=/predict status=200 .*model=forecaster .*trace_id=`+strings.Split(res.header.Get("Traceparent"), "-")[1], s.err.String())
}

// Off, which is the default, headers go through as they came and nothing is
// logged of a request.
func TestNothingIsExportedUnlessAskedFor(t *testing.T) {
	got := otlptest.HTTP(t)
	for _, off := range [][]string{nil, {"OTEL_SDK_DISABLED=true", "OTEL_EXPORTER_OTLP_ENDPOINT=" + got.URL}, {"OTEL_TRACES_EXPORTER=none", "OTEL_EXPORTER_OTLP_ENDPOINT=" + got.URL}} {
		s := startUp(t, home(t, off...), "--kafka-port", "0")
		before := s.err.String()
		res := send(t.Context(), http.MethodPost, s.web+"/predict", window(0), "Traceparent", traceparent)
		require.Equal(t, http.StatusOK, res.code, res.body)
		require.Empty(t, res.header.Get("Traceparent"))
		id := s.ask(t, &kgo.Record{Value: []byte(window(1)), Headers: []kgo.RecordHeader{{Key: wire.TraceParent, Value: []byte(traceparent)}}})
		require.Equal(t, traceparent, header(first(t, s.broker, results, answers(id)), wire.TraceParent))
		require.Equal(t, before, s.err.String(), "a quiet run says nothing of a request")
		require.NotContains(t, get(t, s.worker+"/metrics").body, "millrace_trace_")
		require.Zero(t, s.stop(t), s.err.String())
	}
	require.Empty(t, got.Spans())
}

// A collector that is away costs spans, and nothing else.
func TestACollectorThatIsAwayDisturbsNobody(t *testing.T) {
	s := startUp(t, home(t, "OTEL_TRACES_EXPORTER=otlp", "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:"+freePort(t), "OTEL_BSP_SCHEDULE_DELAY=20"), "--kafka-port", "0")
	require.Equal(t, http.StatusOK, send(t.Context(), http.MethodPost, s.web+"/predict", window(0)).code)
	moved{}.until(t, s.worker, "millrace_trace_spans_failed_total")
	require.Equal(t, http.StatusOK, send(t.Context(), http.MethodPost, s.web+"/predict", window(0)).code)
	require.Zero(t, s.stop(t), s.err.String())
	require.Contains(t, s.err.String(), "spans could not be exported")
}
