package gateway_test

import (
	"encoding/hex"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
)

// spaced is JSON with spaces around it, which have to stay.
const spaced = " [1, 2] \n"

func TestARequestGetsItsAnswer(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		seen := make(chan *kgo.Record, 1)
		w.worker(func(r *kgo.Record) outcome { seen <- r; return echo(r) })
		g := w.ready(config())
		before := time.Now()
		res := g.post(spaced, map[string]string{
			"Content-Type": "application/json; x=y", "X-Model": "other", "X-Key": "k",
			"Traceparent": "00-a-b-01", "Tracestate": "v=1", "X-Request-Timeout": "1.5",
		})
		require.Equal(t, http.StatusOK, res.status)
		require.Equal(t, spaced, res.body)
		require.Equal(t, "application/json", res.header.Get("Content-Type"))
		require.Equal(t, "m", res.header.Get("X-Model-Name"))
		require.Equal(t, "7", res.header.Get("X-Model-Version"))

		rec := <-seen
		require.Equal(t, string(wire.AppendID(nil, rec)), res.header.Get("Ce-Id"))
		require.Equal(t, "k", string(rec.Key))
		for key, want := range map[string]string{
			wire.ContentType: "application/json; x=y", wire.Model: "other",
			wire.TraceParent: "00-a-b-01", wire.TraceState: "v=1", wire.ReplyTopic: replies,
		} {
			got, ok := wire.Header(rec, key)
			require.True(t, ok, key)
			require.Equal(t, want, string(got), key)
		}
		correlation, _ := wire.Header(rec, wire.CorrelationID)
		require.Len(t, correlation, 16)
		require.Equal(t, hex.EncodeToString(correlation), res.header.Get("X-Request-Id"))
		partition, _ := wire.Header(rec, wire.ReplyPartition)
		require.Len(t, partition, 4)
		deadline, ok, err := wire.Expiry(rec)
		require.NoError(t, err)
		require.True(t, ok)
		require.WithinDuration(t, before.Add(1500*time.Millisecond), deadline, 100*time.Millisecond)

		require.InDelta(t, 1, testutil.ToFloat64(g.m.Requests.WithLabelValues("200")), 0)
		require.InDelta(t, 0, testutil.ToFloat64(g.m.Waiting), 0)
		require.Contains(t, g.get("/metrics").body, "millrace_gateway_latency_seconds_count 1")
		require.Contains(t, g.get("/prometheus").body, "millrace_gateway_latency_seconds_count 1")
		require.NoError(t, g.stop())
	})
}

func TestTheStatusOfAnAnswerIsTheHTTPStatus(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.worker(func(r *kgo.Record) outcome { return outcome{string(r.Value), `{"e":1}`} })
		g := w.ready(config())
		for code, want := range map[string]int{
			"ok": 200, "INVALID_INPUT": 400, "UNSUPPORTED_MEDIA_TYPE": 415, "MODEL_NOT_FOUND": 404, "MODEL_FAILED": 500,
			"DEADLINE_EXCEEDED": 504, "TOO_LARGE": 413, "OVERLOADED": 503, "UNAVAILABLE": 503, "INTERNAL": 500, "NEWER": 500,
		} {
			res := g.post(code, nil)
			require.Equal(t, want, res.status, code)
			require.Equal(t, `{"e":1}`, res.body, code)
			require.Equal(t, want == 503, res.header.Get("Retry-After") != "", code)
		}
	})
}

func TestWhatNeverReachesKafka(t *testing.T) {
	cfg := config()
	cfg.MaxBodyBytes = 100
	tests := map[string]struct {
		method, path, body, timeout string
		status                      int
		contains                    string
	}{
		"empty":             {"POST", "/predict", "", "", 400, "INVALID_INPUT"},
		"too large":         {"POST", "/invocations", strings.Repeat("x", 101), "", 413, "TOO_LARGE"},
		"timeout no number": {"POST", "/predict", "{}", "soon", 400, "X-Request-Timeout"},
		"timeout zero":      {"POST", "/predict", "{}", "0", 400, "X-Request-Timeout"},
		"timeout negative":  {"POST", "/predict", "{}", "-1s", 400, "X-Request-Timeout"},
		"timeout nan":       {"POST", "/predict", "{}", "nan", 400, "X-Request-Timeout"},
		"timeout tiny":      {"POST", "/predict", "{}", "1e-12", 400, "X-Request-Timeout"},
		"method":            {"GET", "/predict", "", "", 405, "POST"},
		"method of a probe": {"POST", "/healthz", "", "", 405, "GET"},
		"path":              {"POST", "/nowhere", "{}", "", 404, "error_code"},
	}
	inWorld(t, func(w *world) {
		t := w.t
		w.worker(func(r *kgo.Record) outcome { t.Errorf("published: %s", r.Value); return echo(r) })
		g := w.ready(cfg)
		for name, tt := range tests {
			res := g.do(t.Context(), tt.method, tt.path, strings.NewReader(tt.body), map[string]string{"X-Request-Timeout": tt.timeout})
			require.Equal(t, tt.status, res.status, name)
			require.Contains(t, res.body, tt.contains, name)
			if tt.status == http.StatusMethodNotAllowed {
				require.NotEmpty(t, res.header.Get("Allow"), name)
			}
		}
	})
}

func TestADeadlineIsKeptInTheDialectOfTheRequest(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.worker(silent)
		cfg := config()
		cfg.MaxTimeout = 40 * time.Second
		g := w.ready(cfg)
		for timeout, want := range map[string]time.Duration{
			"": 30 * time.Second, "500ms": 500 * time.Millisecond, "2": 2 * time.Second, "1e300": 40 * time.Second, "1h": 40 * time.Second,
		} {
			start := time.Now()
			res := g.post(`{"instances":[1]}`, map[string]string{"X-Request-Timeout": timeout})
			require.Equal(t, http.StatusGatewayTimeout, res.status, timeout)
			require.InDelta(t, want.Seconds(), time.Since(start).Seconds(), 0.1, timeout)
			require.Contains(t, res.body, `"error_code":"DEADLINE_EXCEEDED"`)
			require.Contains(t, res.body, `"retryable":true`)
		}
		res := g.post(`{"inputs":[{"datatype":"FP32"}]}`, map[string]string{"X-Request-Timeout": "1"})
		require.JSONEq(t, `{"error":"DEADLINE_EXCEEDED: no answer came before the request's deadline"}`, res.body)
		require.InDelta(t, 6, testutil.ToFloat64(g.m.Requests.WithLabelValues("504")), 0)
	})
}
