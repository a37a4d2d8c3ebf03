package gateway

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/millrace/millrace/internal/admin"
	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/model"
)

// Headers of the HTTP side.
const (
	headerTimeout = "X-Request-Timeout"
	headerModel   = "X-Model"
	headerKey     = "X-Key"
	headerRequest = "X-Request-Id"
	headerTrace   = "Traceparent"

	headerModelName    = "X-Model-Name" // that answered
	headerModelVersion = "X-Model-Version"
)

// statusClientGone is counted for a client that went away; it is never sent.
const statusClientGone = 499

func (g *Gateway) handler() http.Handler {
	mux := admin.Mux(admin.Health{Live: g.live, Ready: g.ready}, g.deps.Series)
	for _, path := range []string{"/predict", "/invocations"} {
		mux.HandleFunc("POST "+path, g.predict)
		mux.Handle(path, admin.OnlyMethod("POST"))
	}
	g.handleScoring(mux)
	g.handleV2(mux)
	g.handlePredictions(mux)
	g.handlePages(mux)
	return g.watched(mux)
}

// predict takes a request whose body says what dialect it is.
func (g *Gateway) predict(w http.ResponseWriter, r *http.Request) {
	kind := r.Header.Get("Content-Type")
	g.take(w, r, way{
		contentType: kind, headerLength: r.Header.Get(headerLength), model: r.Header.Get(headerModel), no: refuseForm(kind),
	})
}

// take answers one request and counts it once, whatever becomes of it.
func (g *Gateway) take(w http.ResponseWriter, r *http.Request, by way) {
	start := time.Now()
	v, ok := w.(*visit)
	if !ok {
		v = &visit{ResponseWriter: w}
	}
	code := g.exchange(v, r, by, start)
	g.count(r.Context(), v, v.Header(), code, time.Since(start))
}

// count counts a request that was answered with head, over HTTP or gRPC.
func (g *Gateway) count(ctx context.Context, v *visit, head http.Header, code int, took time.Duration) {
	g.observe(v, head, code, took)
	g.observeLatency(ctx, took)
	g.metrics.Requests.WithLabelValues(strconv.Itoa(code)).Inc()
	if code == statusClientGone {
		g.metrics.Gone.Inc()
	}
}

// exchange returns the HTTP status that it has sent. What needs no body is asked
// before the body is read, and the body is read before the request counts as one
// that waits, so that slow clients cannot use up the places.
func (g *Gateway) exchange(w http.ResponseWriter, r *http.Request, by way, start time.Time) int {
	client, no := g.identify(r)
	if no == nil {
		no = g.admission.greet()
	}
	if no == nil {
		no = by.no
	}
	if no != nil {
		return g.turnAway(w, by.v2, no)
	}
	async, key := wanted(r.Header)
	timeout, err := g.timeoutOf(r.Header.Get(headerTimeout), async)
	if err != nil {
		return fail(w, by.v2, http.StatusBadRequest, model.Errorf(model.InvalidInput, "%s: %w", headerTimeout, err))
	}
	h := &held{a: g.admission}
	defer h.free()
	if no := g.read(w, r, h); no != nil {
		return g.turnAway(w, by.v2, no)
	}
	v2 := by.v2 || by.headerLength != "" || looksV2(h.body)
	if v2 {
		timeout = shorter(timeout, h.body, by.headerLength, r.Header.Get(headerTimeout) != "", g.longest(async))
	}
	req := &request{r.Header, by, v2, client, h.body, start.Add(timeout)}
	if async {
		return g.exchangeKept(w, r, req, async, key)
	}
	leave, no := g.admission.enter()
	if no != nil {
		return g.turnAway(w, v2, no)
	}
	fate := fateUnknown
	defer func() { leave(fate) }()

	if key != "" {
		return g.exchangeKept(w, r, req, async, key)
	}
	ctx := r.Context()
	rec, i, err := g.roundTrip(ctx, req)
	w.Header()[headerRequest] = []string{i.String()}
	switch {
	case err == nil:
		code, _ := wire.Header(rec, wire.Status)
		fate = g.fateOf(model.Code(code), timeout)
		return answer(w, v2, rec)
	case ctx.Err() != nil:
		g.cancel(ctx, i, req.deadline)
		return statusClientGone
	default:
		e := model.AsError(err)
		fate = g.fateOf(e.Code, timeout)
		return refuse(w, v2, e)
	}
}

// request is what becomes a record.
type request struct {
	header   http.Header
	way      way
	v2       bool   // the dialect, as far as it is known
	client   string // who asks, as was proven; "" when nobody has to say
	body     []byte
	deadline time.Time
}

// hasty is a time too short for its end to say anything of what is behind the
// gateway: one client in a hurry is not to shut out the others.
const hasty = time.Second

// fateOf says what an outcome tells of what is behind the gateway.
func (g *Gateway) fateOf(code model.Code, timeout time.Duration) fate {
	switch {
	case code != model.DeadlineExceeded && code != model.Unavailable:
		return fateAnswered
	case g.killed.Err() != nil:
		return fateUnknown
	case code == model.Unavailable: // by the broker, or a worker that has no model: not in time either
		return fateTimedOut
	case timeout < min(hasty, g.cfg.Timeout):
		return fateUnknown
	}
	return fateTimedOut
}

// turnAway sends a refusal and counts it.
func (g *Gateway) turnAway(w http.ResponseWriter, v2 bool, no *refusal) int {
	if no.reason != "" {
		g.metrics.Refused.WithLabelValues(no.reason).Inc()
	}
	if no.status == statusClientGone {
		return no.status
	}
	if no.after > 0 {
		tellAfter(w.Header(), no.after)
	}
	return fail(w, v2, no.status, no.err)
}
