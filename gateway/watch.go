package gateway

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/tracing"
)

// visit is one request as the page, the access log and the trace tell of it.
type visit struct {
	http.ResponseWriter
	status  int // 0: nothing was sent
	bytes   int64
	code    string // of the error
	failure []byte // start of the error's body
	client  string
}

// mostWatched is how much of an error is kept.
const mostWatched = 4 << 10

type visitKey struct{}

// WriteHeader implements [http.ResponseWriter].
func (v *visit) WriteHeader(status int) {
	if v.status == 0 && status >= http.StatusOK { // else more comes
		v.status = status
	}
	v.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (v *visit) Write(p []byte) (int, error) {
	if v.status == 0 {
		v.status = http.StatusOK
	}
	if room := mostWatched - len(v.failure); v.status >= http.StatusBadRequest && room > 0 {
		v.failure = append(v.failure, p[:min(room, len(p))]...)
	}
	n, err := v.ResponseWriter.Write(p)
	v.bytes += int64(n)
	return n, err
}

// Unwrap is for [http.ResponseController].
func (v *visit) Unwrap() http.ResponseWriter { return v.ResponseWriter }

// bare is the server's own writer, which knows how to end a connection.
func bare(w http.ResponseWriter) http.ResponseWriter {
	if v, ok := w.(*visit); ok {
		return v.ResponseWriter
	}
	return w
}

// noteCode tells a request's outcome when somebody wants to know.
func noteCode(w http.ResponseWriter, code model.Code) {
	if v, ok := w.(*visit); ok && code != model.OK {
		v.code = strings.Clone(string(code)) // code itself is mostly not kept
	}
}

// noteClient tells who asks.
func noteClient(ctx context.Context, client string) {
	if client == "" {
		return
	}
	if v, ok := ctx.Value(visitKey{}).(*visit); ok {
		v.client = client
	}
}

// watched follows requests and logs them. Without either it is the handler
// itself.
func (g *Gateway) watched(next http.Handler) http.Handler {
	if g.access == nil && g.deps.Traces == nil {
		return next
	}
	return &watcher{g, next}
}

type watcher struct {
	*Gateway
	next http.Handler
}

// ServeHTTP implements [http.Handler].
func (g *watcher) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if operators(r.URL.Path) {
		g.next.ServeHTTP(w, r)
		return
	}
	start := time.Now()
	ctx, span := g.deps.Traces.Begin(r.Context(), r)
	if p := span.Parent(); p != "" {
		w.Header().Set(headerTrace, p)
	}
	v := &visit{ResponseWriter: w}
	r = r.WithContext(context.WithValue(ctx, visitKey{}, v))
	g.next.ServeHTTP(v, r)
	if v.status == 0 {
		v.status = http.StatusOK
		if ctx.Err() != nil {
			v.status = statusClientGone
		}
	}
	told := v.told(v.Header())
	told.Pattern = r.Pattern
	span.End(told)
	if g.access.wants(v.status) {
		g.access.write(ctx, v, v.Header(), ask{r.Method, r.URL.Path, max(r.ContentLength, 0), r.Header}, time.Since(start))
	}
}

// told is what the trace is told of a response.
func (v *visit) told(h http.Header) tracing.Response {
	return tracing.Response{
		Status: v.status, Code: v.code, Model: h.Get(headerModelName), Version: h.Get(headerModelVersion), RequestID: h.Get(headerRequest),
	}
}

// observeLatency notes the trace beside the latency, as an exemplar.
func (g *Gateway) observeLatency(ctx context.Context, took time.Duration) {
	if traceID, spanID, ok := g.deps.Traces.Sampled(ctx); ok {
		if o, ok := g.metrics.Latency.(prometheus.ExemplarObserver); ok {
			o.ObserveWithExemplar(took.Seconds(), prometheus.Labels{"trace_id": traceID, "span_id": spanID})
			return
		}
	}
	g.metrics.Latency.Observe(took.Seconds())
}

// operators says whether a path is one that probes and scrapers ask all the time.
func operators(path string) bool {
	switch path {
	case "/healthz", "/readyz", "/metrics", "/prometheus":
		return true
	}
	return strings.HasPrefix(path, "/v2/health/")
}
