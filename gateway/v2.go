package gateway

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/millrace/millrace/card"
	"github.com/millrace/millrace/internal/admin"
	"github.com/millrace/millrace/model"
)

// The Open Inference Protocol (V2) over HTTP, with the binary tensor data extension.
const (
	v2Path       = "/v2"
	v2Model      = v2Path + "/models/{model}"
	v2Version    = v2Model + "/versions/{version}"
	headerLength = "Inference-Header-Content-Length"
	// v2Binary is the protocol's name of the extension.
	v2Binary = "binary_tensor_data"
)

func (g *Gateway) handleV2(mux *http.ServeMux) {
	get := func(path string, serve http.HandlerFunc) {
		mux.HandleFunc("GET "+path, serve)
		mux.Handle(path, v2OnlyMethod("GET, HEAD"))
	}
	get(v2Path, func(w http.ResponseWriter, _ *http.Request) {
		admin.WriteJSON(w, http.StatusOK, g.serverMetadata())
	})
	get(v2Path+"/health/live", v2Health("live", g.live))
	get(v2Path+"/health/ready", v2Health("ready", g.ready))
	get(v2Path+"/models", g.v2Models)
	for _, path := range []string{v2Model, v2Version} {
		get(path, g.v2Describe)
		get(path+"/ready", g.v2Ready)
		mux.HandleFunc("POST "+path+"/infer", g.infer)
		mux.Handle(path+"/infer", v2OnlyMethod("POST"))
	}
	mux.HandleFunc(v2Path+"/", func(w http.ResponseWriter, _ *http.Request) {
		fail(w, true, http.StatusNotFound, &model.Error{Code: notFound, Message: "there is nothing at this path"})
	})
}

func v2OnlyMethod(allow string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Allow", allow)
		fail(w, true, http.StatusMethodNotAllowed, model.Errorf(model.InvalidInput, "method not allowed; allowed here: %s", allow))
	})
}

func v2Health(name string, ask func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if err := ask(); err != nil {
			admin.WriteJSON(w, http.StatusServiceUnavailable, map[string]any{name: false, "error": err.Error()})
			return
		}
		admin.WriteJSON(w, http.StatusOK, map[string]bool{name: true})
	}
}

// serverMetadata is what a server says of itself.
type serverMetadata struct {
	Name       string   `json:"name"`
	Version    string   `json:"version"`
	Extensions []string `json:"extensions"`
}

func (g *Gateway) serverMetadata() serverMetadata {
	return serverMetadata{"millrace", g.deps.Version, []string{v2Binary}}
}

// v2Models lists the names.
func (g *Gateway) v2Models(w http.ResponseWriter, r *http.Request) {
	if _, no := g.identify(r); no != nil {
		g.turnAway(w, true, no)
		return
	}
	if err := g.cards.Err(); err != nil {
		refuse(w, true, model.Errorf(model.Unavailable, "%w", err))
		return
	}
	names := []string{}
	for _, c := range g.cards.All() {
		if len(names) == 0 || names[len(names)-1] != c.Name {
			names = append(names, c.Name)
		}
	}
	admin.WriteJSON(w, http.StatusOK, map[string][]string{"models": names})
}

// modelMetadata is what a server says of a model.
type modelMetadata struct {
	Name     string        `json:"name"`
	Versions []string      `json:"versions"`
	Platform string        `json:"platform"`
	Inputs   []card.Tensor `json:"inputs"`
	Outputs  []card.Tensor `json:"outputs"`
}

func (g *Gateway) v2Describe(w http.ResponseWriter, r *http.Request) {
	c, versions, ok := g.v2Find(w, r)
	if ok {
		admin.WriteJSON(w, http.StatusOK, modelMetadata{c.Name, versions, c.Platform, c.Inputs, c.Outputs})
	}
}

func (g *Gateway) v2Ready(w http.ResponseWriter, r *http.Request) {
	c, _, ok := g.v2Find(w, r)
	if ok {
		admin.WriteJSON(w, http.StatusOK, map[string]any{"name": c.Name, "ready": true})
	}
}

// v2Find finds the model that a path names, or answers why not.
func (g *Gateway) v2Find(w http.ResponseWriter, r *http.Request) (c card.Card, versions []string, ok bool) {
	if _, no := g.identify(r); no != nil {
		g.turnAway(w, true, no)
		return c, nil, false
	}
	c, versions, err := g.cardOf(r.PathValue("model"), r.PathValue("version"))
	if err != nil {
		refuse(w, true, err)
		return c, nil, false
	}
	return c, versions, true
}

// cardOf finds what is known of a model by its cards.
func (g *Gateway) cardOf(name, version string) (card.Card, []string, *model.Error) {
	c, versions, err := g.cards.Find(name, version)
	switch {
	case err == nil:
		return c, versions, nil
	case !errors.Is(err, card.ErrNone):
		return c, nil, model.Errorf(model.Unavailable, "%w", err)
	case len(versions) > 0:
		return c, nil, model.Errorf(model.NotFound, "model %q has no version %q; served are %s", name, version, strings.Join(versions, ", "))
	case strings.Contains(name, "@"):
		return c, nil, model.Errorf(model.NotFound, "%q: what an alias names is not described; leave it out, or name the version", name)
	}
	return c, nil, model.Errorf(model.NotFound, "%w: %q", err, name)
}

// infer takes a request whose address names the model.
func (g *Gateway) infer(w http.ResponseWriter, r *http.Request) {
	g.take(w, r, inferWay(r))
}

func inferWay(r *http.Request) way {
	kind := r.Header.Get("Content-Type")
	by := way{
		v2: true, contentType: kind, headerLength: r.Header.Get(headerLength), model: r.PathValue("model"), no: refuseForm(kind),
	}
	if version := r.PathValue("version"); version != "" {
		by.model += "/" + version
	}
	media, _, _ := strings.Cut(kind, ";")
	switch media = strings.ToLower(strings.TrimSpace(media)); {
	case by.headerLength != "" && kind == "":
		by.contentType = model.ContentBinary
	case by.headerLength != "":
	case kind == "":
		by.contentType = model.RawV2
	case media == model.ContentBinary:
		by.no = &refusal{status: http.StatusBadRequest, err: model.Errorf(model.InvalidInput, "the header %s, which says how many bytes of the body are JSON, is missing", headerLength)}
	case media == model.RawJSON && !strings.Contains(kind, "dialect"):
		by.contentType = kind + "; dialect=v2"
	}
	return by
}

// shorter is the time that a V2 request has by its own parameter timeout, which is in
// microseconds. asked says that the other one was asked for as well: the shorter holds.
func shorter(timeout time.Duration, body []byte, headerLength string, asked bool, longest time.Duration) time.Duration {
	head := headOf(body, headerLength)
	if !looksTimed(head) {
		return timeout
	}
	var v2 struct {
		Parameters struct {
			Timeout json.Number `json:"timeout"`
		} `json:"parameters"`
	}
	if err := json.Unmarshal(head, &v2); err != nil { // which the worker tells better
		return timeout
	}
	us, err := v2.Parameters.Timeout.Int64()
	if err != nil || us <= 0 {
		return timeout
	}
	own := min(time.Duration(min(us, longest.Microseconds()))*time.Microsecond, longest)
	if asked {
		return min(own, timeout)
	}
	return own
}
