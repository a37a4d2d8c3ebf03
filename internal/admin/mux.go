// Package admin is what each long-running part shows its operator over HTTP:
// probes, series, and a server that ends within a bound.
package admin

import (
	"encoding/json"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Health are the questions of the probes. A nil error is yes, and the text of
// any other is the reason shown. They are called often and must not block.
type Health struct {
	Live  func() error // the process makes progress
	Ready func() error // the process can do its work now

	// Degraded lists what does not work while the rest does; nil: nothing can.
	Degraded func() []string
}

// Mux serves /healthz, /readyz, /metrics and its older name /prometheus, and
// answers any other path with 404. The caller adds its own handlers.
func Mux(h Health, series prometheus.Gatherer) *http.ServeMux {
	mux := http.NewServeMux()
	// OpenMetrics carries exemplars; native histograms go out when the scraper
	// asks for protobuf, which the handler negotiates by itself.
	metrics := promhttp.HandlerFor(series, promhttp.HandlerOpts{EnableOpenMetrics: true})
	mux.Handle("GET /healthz", probe(h.Live, nil))
	mux.Handle("GET /readyz", probe(h.Ready, h.Degraded))
	mux.Handle("GET /metrics", metrics)
	mux.Handle("GET /prometheus", metrics)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		WriteJSON(w, http.StatusNotFound, map[string]string{
			"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "there is nothing at this path",
		})
	})
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/prometheus"} {
		mux.Handle(path, OnlyMethod("GET, HEAD"))
	}
	return mux
}

// OnlyMethod refuses a request with 405 and says what is allowed. It is for the
// pattern without a method beside the one with: the pattern "/" would else
// turn the wrong method into 404.
func OnlyMethod(allow string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Allow", allow)
		WriteJSON(w, http.StatusMethodNotAllowed, map[string]string{
			"error_code": "BAD_REQUEST", "message": "method not allowed; allowed here: " + allow,
		})
	})
}

// WriteJSON answers with v. A client that does not take it is no error of ours.
func WriteJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}

func probe(ask func() error, degraded func() []string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err := ask(); err != nil {
			WriteJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "unavailable", "reason": err.Error()})
			return
		}
		if degraded != nil {
			if list := degraded(); len(list) > 0 {
				WriteJSON(w, http.StatusOK, map[string]any{"status": "ok", "degraded": list})
				return
			}
		}
		WriteJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	})
}
