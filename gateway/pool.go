package gateway

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/millrace/millrace/card"
	"github.com/millrace/millrace/gateway/page"
	"github.com/millrace/millrace/internal/admin"
)

// handlePages adds the pages and what they are made from.
func (g *Gateway) handlePages(mux *http.ServeMux) {
	if !g.cfg.Pages {
		return
	}
	page.Handle(mux)
	mux.HandleFunc("GET /pool.json", g.known(func() any { return g.pool() }))
	mux.HandleFunc("GET /openapi.json", g.known(func() any { return page.OpenAPI(g.cards.All()) }))
	for _, path := range []string{"/docs", "/pool.json", "/openapi.json"} {
		mux.Handle(path, admin.OnlyMethod("GET, HEAD"))
	}
}

// known answers callers alone, where they have to say who they are.
func (g *Gateway) known(what func() any) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if _, no := g.identify(r); no != nil {
			g.turnAway(w, false, no)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		admin.WriteJSON(w, http.StatusOK, what())
	}
}

// poolState is what the page at / shows.
type poolState struct {
	*page.Past

	Now          time.Time    `json:"now"`
	Ready        bool         `json:"ready"`
	Reason       string       `json:"reason,omitempty"` // why it is not
	LagRecords   *int64       `json:"lag_records,omitempty"`
	LagSeconds   *float64     `json:"lag_seconds,omitempty"`
	Workers      int64        `json:"workers"` // in the group
	Answering    []page.Share `json:"answering"`
	Waiting      int64        `json:"waiting"`
	Breaker      string       `json:"breaker"`
	Models       []card.Card  `json:"models"`
	ModelsReason string       `json:"models_reason,omitempty"` // why they are not known
}

func (g *Gateway) pool() *poolState {
	p := &poolState{
		Past: g.glance.Past(), Now: time.Now().UTC(), Ready: true,
		Workers: g.admission.workers.Load(), Waiting: g.admission.waiting.Load(), Breaker: "none", Models: g.cards.All(),
	}
	p.Answering = p.Past.Workers
	p.LagRecords, p.LagSeconds = g.lags.all()
	if err := g.ready(); err != nil {
		p.Ready, p.Reason = false, err.Error()
	}
	if g.admission.breaker != nil {
		p.Breaker = map[gobreaker.State]string{
			gobreaker.StateClosed: "closed", gobreaker.StateHalfOpen: "half-open", gobreaker.StateOpen: "open",
		}[g.admission.breaker.State()]
	}
	if err := g.cards.Err(); err != nil {
		p.ModelsReason = err.Error()
	}
	return p
}

// shown is a response of which the page shows what is wrong.
type shown struct {
	http.ResponseWriter

	start []byte // of an error's body
}

// mostWatched is how much of an error is kept.
const mostWatched = 4 << 10

// Unwrap is for [http.ResponseController].
func (w *shown) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Write implements [http.ResponseWriter].
func (w *shown) Write(p []byte) (int, error) {
	if room := mostWatched - len(w.start); room > 0 {
		w.start = append(w.start, p[:min(room, len(p))]...)
	}
	return w.ResponseWriter.Write(p)
}

// observe tells the page of an answer.
func (g *Gateway) observe(w *shown, status int, took time.Duration) {
	h := w.Header()
	a := &page.Answer{
		Status: status, Took: took, Request: h.Get(headerRequest),
		Model: h.Get(headerModelName), Version: h.Get(headerModelVersion), Worker: h.Get("X-Worker"),
	}
	if status >= http.StatusBadRequest {
		a.Code, a.Message = reasonOf(w.start)
	}
	if status == statusClientGone {
		a.Message = "the client went away"
	}
	g.glance.Observe(a)
}

// reasonOf reads an error in either dialect; of another body it is the start.
func reasonOf(body []byte) (code, message string) {
	var e struct {
		Code    string `json:"error_code"`
		Message string `json:"message"`
		V2      string `json:"error"`
	}
	if json.Unmarshal(body, &e) != nil {
		return "", string(body)
	}
	if e.V2 != "" {
		return "", e.V2
	}
	return e.Code, e.Message
}
