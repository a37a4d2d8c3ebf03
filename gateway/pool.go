package gateway

import (
	"cmp"
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

// observe tells the page of an answer.
func (g *Gateway) observe(v *visit, h http.Header, status int, took time.Duration) {
	a := &page.Answer{
		Status: status, Took: took, Request: h.Get(headerRequest),
		Model: h.Get(headerModelName), Version: h.Get(headerModelVersion), Worker: h.Get("X-Worker"),
	}
	if status >= http.StatusBadRequest {
		a.Code, a.Message = v.code, reasonOf(v.failure)
	}
	if status == statusClientGone {
		a.Message = "the client went away"
	}
	g.glance.Observe(a)
}

// reasonOf is the sentence of an error in either dialect; of another body it is the
// start.
func reasonOf(body []byte) string {
	var e struct {
		Message string `json:"message"`
		V2      string `json:"error"`
	}
	if json.Unmarshal(body, &e) != nil {
		return string(body)
	}
	return cmp.Or(e.V2, e.Message)
}
