package gateway

import (
	"io"
	"net/http"

	"github.com/millrace/millrace/internal/admin"
)

// mlflowVersion is the MLflow whose answers ours are: what clients of its scoring
// server are told.
const mlflowVersion = "3.17.2"

// handleScoring adds what MLflow's scoring server has beside /invocations.
func (g *Gateway) handleScoring(mux *http.ServeMux) {
	for _, path := range []string{"/ping", "/health"} {
		mux.HandleFunc("GET "+path, g.ping)
		mux.Handle(path, admin.OnlyMethod("GET, HEAD"))
	}
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		plain(w, http.StatusOK, mlflowVersion)
	})
	mux.Handle("/version", admin.OnlyMethod("GET, HEAD"))
}

// ping answers as MLflow does, with an empty line; with the reason when it is no.
func (g *Gateway) ping(w http.ResponseWriter, _ *http.Request) {
	if err := g.ready(); err != nil {
		admin.WriteJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "unavailable", "reason": err.Error()})
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	_, _ = io.WriteString(w, "\n") // a client that does not take it is no error of ours
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text) // likewise
}
