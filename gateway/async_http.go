package gateway

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/millrace/millrace/gateway/predictions"
	"github.com/millrace/millrace/internal/admin"
	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/model"
)

// predictionsPath is where predictions are found.
const predictionsPath = "/predictions"

func (g *Gateway) handlePredictions(mux *http.ServeMux) {
	mux.HandleFunc("GET "+predictionsPath+"/{id}", g.getPrediction)
	mux.HandleFunc("DELETE "+predictionsPath+"/{id}", g.deletePrediction)
	mux.Handle(predictionsPath+"/{id}", admin.OnlyMethod("GET, HEAD, DELETE"))
	mux.HandleFunc("GET "+predictionsPath, g.listPredictions)
	mux.Handle(predictionsPath, admin.OnlyMethod("GET, HEAD"))
}

// exchangeKept answers a request whose prediction is kept: at once when it is
// asynchronous, else with its answer.
func (g *Gateway) exchangeKept(w http.ResponseWriter, r *http.Request, req *request, async bool, key string) int {
	id, no := g.begin(r.Context(), req, key)
	w.Header().Set(headerRequest, id.String())
	if no != nil {
		return g.turnAway(w, req.v2, no)
	}
	if async {
		w.Header().Set("Location", predictionsPath+"/"+id.String())
		w.Header().Set("Preference-Applied", "respond-async")
		p, ok := g.kept.Get(id)
		if !ok { // the reading is a moment behind
			p = predictions.Prediction{ID: id, State: predictions.Pending, Created: time.Now(), Deadline: req.deadline}
		}
		admin.WriteJSON(w, http.StatusAccepted, describe(&p))
		return http.StatusAccepted
	}
	bounded, cancel := context.WithDeadline(r.Context(), req.deadline)
	defer cancel()
	ctx, done := endingWith(bounded, g.killed)
	defer done()
	p, ok := g.find(ctx, id, req.client)
	if ok {
		p, ok = g.kept.Wait(ctx, id)
	}
	if r.Context().Err() != nil {
		return statusClientGone // who repeats the request finds its answer
	}
	if g.killed.Err() != nil && p.State == predictions.Pending {
		return refuse(w, req.v2, errKilled)
	}
	if !ok {
		return g.turnAway(w, req.v2, unavailable("the prediction was forgotten for want of room"))
	}
	return g.sendPrediction(w, req.v2, &p)
}

// sendPrediction sends a prediction in the form of an answer.
func (g *Gateway) sendPrediction(w http.ResponseWriter, v2 bool, p *predictions.Prediction) int {
	w.Header().Set("X-Prediction-State", string(p.State))
	switch p.State {
	case predictions.Done:
		return answer(w, v2, p.Answer)
	case predictions.Cancelled:
		return fail(w, v2, http.StatusGone, model.Errorf(model.DeadlineExceeded, "the prediction was cancelled"))
	case predictions.Pending, predictions.Expired:
	}
	return refuse(w, v2, model.Errorf(model.DeadlineExceeded, "no answer came before the request's deadline"))
}

// getPrediction gives the answer, or 202 while there is none; with wait it waits
// for it.
func (g *Gateway) getPrediction(w http.ResponseWriter, r *http.Request) {
	p, wait, ok := g.asked(w, r)
	if !ok {
		return
	}
	if wait > 0 && p.State == predictions.Pending {
		ctx, cancel := g.patient(r.Context(), wait)
		defer cancel()
		if p, ok = g.kept.Wait(ctx, p.ID); !ok {
			g.noSuchPrediction(w)
			return
		}
	}
	if p.State == predictions.Pending {
		w.Header().Set("X-Prediction-State", string(p.State))
		tellAfter(w.Header(), retrySoon)
		admin.WriteJSON(w, http.StatusAccepted, describe(&p))
		return
	}
	g.sendPrediction(w, false, &p)
}

// deletePrediction cancels what is pending and forgets what is done.
func (g *Gateway) deletePrediction(w http.ResponseWriter, r *http.Request) {
	p, _, ok := g.asked(w, r)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), g.cfg.PublishTimeout)
	defer cancel()
	if err := g.publish(ctx, g.dropped(p.ID, int(g.kept.partitions.Load())), nil); err != nil {
		refuse(w, false, err)
		return
	}
	if p.State == predictions.Pending {
		g.cancel(ctx, id(p.ID), p.Deadline)
	}
	w.WriteHeader(http.StatusNoContent)
}

// asked finds the prediction that a request's path names, or answers why not.
func (g *Gateway) asked(w http.ResponseWriter, r *http.Request) (p predictions.Prediction, wait time.Duration, ok bool) {
	client, no := g.identify(r)
	if no == nil {
		no = g.admission.greet()
	}
	if no == nil {
		wait, no = g.patience(r)
	}
	if no != nil {
		g.turnAway(w, false, no)
		return p, 0, false
	}
	id, err := predictions.ParseID(r.PathValue("id"))
	if err == nil {
		p, ok = g.find(r.Context(), id, client)
	}
	if !ok {
		g.noSuchPrediction(w)
	}
	return p, wait, ok
}

// patience is how long a request is willing to wait.
func (g *Gateway) patience(r *http.Request) (time.Duration, *refusal) {
	text := r.URL.Query().Get("wait")
	if text == "" {
		return 0, nil
	}
	d, err := parseTimeout(text, g.cfg.MaxTimeout)
	if err != nil {
		return 0, &refusal{status: http.StatusBadRequest, err: model.Errorf(model.InvalidInput, "wait: %w", err)}
	}
	return d, nil
}

// patient is for the wait for a prediction. It ends when the gateway begins to stop, for
// any other gateway can be asked.
func (g *Gateway) patient(ctx context.Context, wait time.Duration) (context.Context, context.CancelFunc) {
	bounded, cancel := context.WithTimeout(ctx, wait)
	ctx, done := endingWith(bounded, g.leaving)
	return ctx, func() { done(); cancel() }
}

func (g *Gateway) noSuchPrediction(w http.ResponseWriter) {
	fail(w, false, http.StatusNotFound, &model.Error{Code: notFound, Message: "there is no such prediction, or it is no longer kept"})
}

// notFound is MLflow's code of what is not there. It never leaves HTTP.
const notFound model.Code = "RESOURCE_DOES_NOT_EXIST"

// described is a prediction among others.
type described struct {
	ID       string          `json:"id"`
	State    string          `json:"state"`
	Created  time.Time       `json:"created"`
	Deadline time.Time       `json:"deadline"`
	Status   string          `json:"status,omitempty"` // of the answer: ok, or a code
	Model    string          `json:"model,omitempty"`
	Version  string          `json:"version,omitempty"`
	Answer   json.RawMessage `json:"answer,omitempty"`
	Binary   []byte          `json:"answer_base64,omitempty"` // in the place of answer, when tensors follow its JSON
}

func describe(p *predictions.Prediction) described {
	d := described{ID: p.ID.String(), State: string(p.State), Created: p.Created.UTC(), Deadline: p.Deadline.UTC()}
	if p.State != predictions.Done {
		return d
	}
	text := func(key string) string { v, _ := wire.Header(p.Answer, key); return string(v) }
	d.Status, d.Model, d.Version = text(wire.Status), text(wire.ModelName), text(wire.ModelVersion)
	if _, binary := wire.Header(p.Answer, wire.HeaderLength); binary {
		d.Binary = p.Answer.Value
		return d
	}
	if d.Answer = p.Answer.Value; !json.Valid(d.Answer) {
		d.Answer, _ = json.Marshal(string(p.Answer.Value)) // of a string, which never fails
	}
	return d
}

// mostListed is how many predictions one request may ask for.
const mostListed = 100

// listPredictions gives several predictions, as they are when all are final or the
// wait is over; to a client that accepts an event stream each as it becomes final.
func (g *Gateway) listPredictions(w http.ResponseWriter, r *http.Request) {
	client, no := g.identify(r)
	if no == nil {
		no = g.admission.greet()
	}
	var wait time.Duration
	if no == nil {
		wait, no = g.patience(r)
	}
	var ids []predictions.ID
	if no == nil {
		ids, no = listed(r)
	}
	if no != nil {
		g.turnAway(w, false, no)
		return
	}
	stream := strings.Contains(r.Header.Get("Accept"), "text/event-stream")
	if stream && wait == 0 {
		wait = g.cfg.MaxTimeout
	}
	ctx, cancel := g.patient(r.Context(), wait)
	defer cancel()
	found := g.follow(ctx, ids, client)
	if stream {
		g.streamPredictions(w, found)
		return
	}
	list := make(map[string]described, len(ids))
	for d := range found {
		list[d.ID] = d
	}
	ordered := make([]described, len(ids))
	for i, id := range ids {
		ordered[i] = list[id.String()]
	}
	admin.WriteJSON(w, http.StatusOK, map[string][]described{"predictions": ordered})
}

func listed(r *http.Request) ([]predictions.ID, *refusal) {
	texts := r.URL.Query()["id"]
	if len(texts) == 0 || len(texts) > mostListed {
		return nil, &refusal{status: http.StatusBadRequest, err: model.Errorf(model.InvalidInput, "id: 1 to %d predictions are named by ?id=…&id=…", mostListed)}
	}
	ids := make([]predictions.ID, len(texts))
	for i, text := range texts {
		var err error
		if ids[i], err = predictions.ParseID(text); err != nil {
			return nil, &refusal{status: http.StatusBadRequest, err: model.Errorf(model.InvalidInput, "id: %w", err)}
		}
	}
	return ids, nil
}

// follow sends each prediction when it is final, or as it is when ctx ends. The
// channel has room for all, so that nobody waits for a slow reader.
func (g *Gateway) follow(ctx context.Context, ids []predictions.ID, client string) <-chan described {
	out := make(chan described, len(ids))
	done := make(chan struct{}, len(ids))
	for _, id := range ids {
		go func() {
			defer func() { done <- struct{}{} }()
			// A wait of nothing still looks for what is there.
			p, ok := g.find(context.WithoutCancel(ctx), id, client)
			if ok {
				p, ok = g.kept.Wait(ctx, id)
			}
			if !ok {
				out <- described{ID: id.String(), State: "unknown"}
				return
			}
			out <- describe(&p)
		}()
	}
	go func() {
		for range ids {
			<-done
		}
		close(out)
	}()
	return out
}
