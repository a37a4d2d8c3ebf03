package gateway_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/millrace/millrace/gateway"
	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/tracing"
)

// lines is a log.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// requests are the access log's lines.
func (l *lines) requests(t *testing.T) (all []map[string]any) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.buf.String()) {
		var one map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &one))
		if one["msg"] == "request" {
			all = append(all, one)
		}
	}
	return all
}

// logged lets the gateways that are started write a log.
func (w *world) logged() *lines {
	l := &lines{}
	w.with = func(d *gateway.Deps) { d.Log = slog.New(slog.NewJSONHandler(l, nil)) }
	return l
}

// failing answers a request with what its body says.
func failing(r *kgo.Record) outcome {
	if string(r.Value) == "fail" {
		return outcome{"MODEL_FAILED", "{}"}
	}
	return echo(r)
}

func TestRequestsThatAreLogged(t *testing.T) {
	for setting, want := range map[string][]float64{
		"":       nil,
		"off":    nil,
		"errors": {500, 404},
		"0":      {500, 404},
		"all":    {200, 500, 404},
		"1":      {200, 500, 404},
	} {
		inWorld(t, func(w *world) {
			log := w.logged()
			w.worker(failing)
			cfg := config()
			cfg.Access = gateway.AccessConfig{Log: setting, Rate: 100}
			g := w.ready(cfg)
			g.post("x", nil)
			g.post("fail", nil)
			g.get("/none")
			g.get("/healthz")
			g.get("/metrics")
			var got []float64
			for _, line := range log.requests(w.t) {
				status, _ := line["status"].(float64)
				got = append(got, status)
			}
			require.Equal(w.t, want, got, setting)
		})
	}
}

func TestAShareOfTheRequestsIsLogged(t *testing.T) {
	inWorld(t, func(w *world) {
		log := w.logged()
		w.worker(failing)
		cfg := config()
		cfg.Access = gateway.AccessConfig{Log: "0.5", Rate: 1000}
		g := w.ready(cfg)
		const n = 200
		for range n {
			g.post("x", nil)
		}
		require.InDelta(w.t, n/2, len(log.requests(w.t)), 50, "7 standard deviations")
	})
}

func TestWhatALineSays(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		log := w.logged()
		w.worker(failing)
		cfg := config()
		cfg.Access = gateway.AccessConfig{Log: "all", Rate: 100}
		cfg.Auth.TokensFile = filepath.Join(t.TempDir(), "tokens")
		require.NoError(t, os.WriteFile(cfg.Auth.TokensFile, []byte("alice alice-has-a-long-token\n"), 0o600))
		g := w.ready(cfg)
		const traceID = "0af7651916cd43dd8448eb211c80319c"
		res := g.post("xyz", map[string]string{
			"Authorization": "Bearer alice-has-a-long-token", "Traceparent": "00-" + traceID + "-b7ad6b7169203331-00",
		})
		g.post("fail", map[string]string{"Authorization": "Bearer alice-has-a-long-token"})
		g.get("/" + strings.Repeat("x", 5000) + "?secret")

		all := log.requests(t)
		require.Len(t, all, 3)
		for key, want := range map[string]any{
			"method": "POST", "path": "/predict", "status": 200.0, "bytes_in": 3.0, "bytes_out": 3.0, "model": "m", "version": "7",
			"client": "alice", "request_id": res.header.Get("X-Request-Id"), "trace_id": traceID,
		} {
			require.Equal(t, want, all[0][key], key)
		}
		require.Contains(t, all[0], "seconds")
		require.NotContains(t, all[0], "code")
		require.NotContains(t, all[0], "suppressed")
		require.Equal(t, "MODEL_FAILED", all[1]["code"])
		require.NotContains(t, all[1], "trace_id")
		require.Len(t, all[2]["path"], 256+len("…"))
	})
}

func TestAFloodIsCountedAndNotLogged(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		log := w.logged()
		cfg := config()
		cfg.Access = gateway.AccessConfig{Log: "errors", Rate: 2}
		g := w.ready(cfg)
		for range 50 {
			require.Equal(t, http.StatusNotFound, g.get("/none").status)
		}
		require.Len(t, log.requests(t), 2)
		require.InDelta(t, 48, g.value("millrace_gateway_access_lines_suppressed_total"), 0)
		time.Sleep(time.Second)
		g.get("/none")
		all := log.requests(t)
		require.Len(t, all, 3)
		require.InDelta(t, 48, all[2]["suppressed"], 0)
	})
}

func TestSettingsOfTheAccessLog(t *testing.T) {
	for want, c := range map[string]gateway.AccessConfig{
		"GATEWAY_ACCESS_LOG: must be off":             {Log: "some", Rate: 1},
		"GATEWAY_ACCESS_LOG: must be off, errors":     {Log: "1.1", Rate: 1},
		"GATEWAY_ACCESS_LOG: must be off, errors, al": {Log: "NaN", Rate: 1},
		"GATEWAY_ACCESS_LOG_RATE: must be above 0":    {Log: "all"},
	} {
		require.ErrorContains(t, c.Validate(), want)
	}
	require.NoError(t, (&gateway.AccessConfig{Log: "off"}).Validate())
}

// A request that is followed has its trace in the record, in the response, beside
// the latency, and in its line.
func TestAFollowedRequest(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		log := w.logged()
		write, kept := w.with, tracetest.NewInMemoryExporter()
		w.with = func(d *gateway.Deps) {
			write(d)
			d.Traces = tracing.NewGateway(sdk.NewTracerProvider(sdk.WithSampler(sdk.AlwaysSample()), sdk.WithSyncer(kept)).Tracer(""))
		}
		asked := make(chan *kgo.Record, 1)
		w.worker(func(r *kgo.Record) outcome { asked <- r; return echo(r) })
		cfg := config()
		cfg.Access = gateway.AccessConfig{Log: "all", Rate: 100}
		g := w.ready(cfg)
		require.Empty(t, kept.GetSpans(), "probes are not followed")
		for _, prefer := range []string{"", "respond-async"} {
			kept.Reset()
			res := g.post("x", map[string]string{"Prefer": prefer})
			synctest.Wait() // the answer may be there before the acknowledgement
			spans := kept.GetSpans()
			require.Len(t, spans, 2)
			slices.SortFunc(spans, func(a, b tracetest.SpanStub) int { return strings.Compare(b.Name, a.Name) })
			sent, server := spans[0].SpanContext, spans[1].SpanContext
			require.Equal(t, []string{"send inference.requests", "POST /predict"}, []string{spans[0].Name, spans[1].Name})
			traceID := server.TraceID().String()
			own, _ := wire.Header(<-asked, wire.TraceParent)
			require.Equal(t, "00-"+traceID+"-"+sent.SpanID().String()+"-01", string(own))
			require.Equal(t, "00-"+traceID+"-"+server.SpanID().String()+"-01", res.header.Get("Traceparent"))
			all := log.requests(t)
			require.Equal(t, traceID, all[len(all)-1]["trace_id"])
			require.Contains(t, g.do(t.Context(), http.MethodGet, "/metrics", nil, map[string]string{"Accept": "application/openmetrics-text"}).body,
				`trace_id="`+traceID+`"`)
		}
	})
}

// So is one over gRPC, and the page shows it.
func TestAFollowedCall(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		log := w.logged()
		write, kept := w.with, tracetest.NewInMemoryExporter()
		w.with = func(d *gateway.Deps) {
			write(d)
			d.Traces = tracing.NewGateway(sdk.NewTracerProvider(sdk.WithSampler(sdk.AlwaysSample()), sdk.WithSyncer(kept)).Tracer(""))
		}
		asked := make(chan *kgo.Record, 2)
		answer := outcome{"ok", `{"outputs":[]}`}
		w.worker(func(r *kgo.Record) outcome { asked <- r; return answer })
		cfg := rpcConfig()
		cfg.Access = gateway.AccessConfig{Log: "all", Rate: 100}
		g := w.ready(cfg)
		conn := g.dial()
		const traceID = "0af7651916cd43dd8448eb211c80319c"
		ctx := metadata.AppendToOutgoingContext(t.Context(), "traceparent", "00-"+traceID+"-b7ad6b7169203331-01")
		var head metadata.MD
		_, err := infer(ctx, conn, one("m"), grpc.Header(&head))
		require.NoError(t, err)
		synctest.Wait()
		spans := kept.GetSpans()
		require.Len(t, spans, 2)
		slices.SortFunc(spans, func(a, b tracetest.SpanStub) int { return strings.Compare(b.Name, a.Name) })
		sent, server := spans[0], spans[1]
		require.Equal(t, []string{"send inference.requests", "inference.GRPCInferenceService/ModelInfer"}, []string{sent.Name, server.Name})
		require.Equal(t, "b7ad6b7169203331", server.Parent.SpanID().String())
		require.Equal(t, server.SpanContext.SpanID(), sent.Parent.SpanID())
		own, _ := wire.Header(<-asked, wire.TraceParent)
		require.Equal(t, "00-"+traceID+"-"+sent.SpanContext.SpanID().String()+"-01", string(own))
		require.Equal(t, []string{"00-" + traceID + "-" + server.SpanContext.SpanID().String() + "-01"}, head.Get("traceparent"))

		answer = outcome{"MODEL_FAILED", `{"error":"MODEL_FAILED: it burns"}`}
		_, err = infer(ctx, conn, one("m"))
		require.Equal(t, codes.Internal, status.Code(err))
		all := log.requests(t)
		require.Len(t, all, 2)
		for i, want := range []map[string]any{{"status": 200.0}, {"status": 500.0, "code": "MODEL_FAILED"}} {
			want["path"], want["trace_id"], want["model"], want["version"] = "/inference.GRPCInferenceService/ModelInfer", traceID, "m", "7"
			require.Subset(t, all[i], want)
		}
		time.Sleep(2 * time.Second) // the page has whole seconds
		var pool struct {
			Errors   float64
			Failures []struct{ Code, Message, Model string }
		}
		require.NoError(t, json.Unmarshal([]byte(g.get("/pool.json").body), &pool))
		require.InDelta(t, 0.5, pool.Errors, 0)
		require.Equal(t, []struct{ Code, Message, Model string }{{"MODEL_FAILED", "MODEL_FAILED: it burns", "m"}}, pool.Failures)
	})
}
