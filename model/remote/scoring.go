package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/millrace/millrace/model"
)

// resolveScoring asks for the server's version, which is MLflow's: of its model
// such a server tells nothing, so a restart with another model is not seen.
func (c *Client) resolveScoring(ctx context.Context) (Resolved, error) {
	if _, err := c.get(ctx, "ping"); err != nil {
		return Resolved{}, fmt.Errorf("%w: %w", ErrNotReady, err)
	}
	a, err := c.get(ctx, "version")
	if err != nil {
		return Resolved{}, err
	}
	version := string(bytes.TrimSpace(a.body))
	const longest = 64
	if version == "" || len(version) > longest || strings.ContainsFunc(version, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return Resolved{}, fmt.Errorf("GET %s: not the version of an MLflow scoring server (is the URL right?)", c.ref.url("version"))
	}
	source := c.ref.base.String()
	return Resolved{Name: c.ref.Name(), Version: version, Identity: source + "#" + version, Source: source, Platform: "mlflow " + version}, nil
}

func (c *Client) openScoring(ctx context.Context) (model.Model, error) {
	if _, err := c.get(ctx, "ping"); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotReady, err)
	}
	return &scoringModel{life: newLife(), client: c, url: c.ref.url("invocations")}, nil
}

// scoringModel is the model of an MLflow scoring server. What MLflow makes of a
// body is its own doing: bodies and answers are handed on.
type scoringModel struct {
	life

	client *Client
	url    string
}

// Info implements [model.Model].
func (m *scoringModel) Info() model.Info { return model.RawInfo() }

// Close ends the calls that run and the idle connections.
func (m *scoringModel) Close() error {
	m.end()
	m.client.Close()
	return nil
}

// Predict makes a call of each request, at the same time up to the client's
// bound. A server that is not available fails the whole call, which may be
// tried again.
func (m *scoringModel) Predict(ctx context.Context, inputs []model.Tensor) ([]model.Tensor, error) {
	info := model.RawInfo()
	if err := model.CheckInputs(info.Inputs, inputs); err != nil {
		return nil, err
	}
	if err := m.check(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := m.within(ctx)
	defer cancel()
	kinds, bodies := inputs[0].Strings, inputs[1].Strings
	if len(kinds) != len(bodies) {
		return nil, model.Invalidf("inputs", "%d content types of %d bodies", len(kinds), len(bodies))
	}
	outputs := make([]model.Tensor, len(info.Outputs))
	for i, spec := range info.Outputs {
		outputs[i] = model.Tensor{Name: spec.Name, DType: spec.DType, Shape: []int64{int64(len(bodies))}, Strings: make([]string, len(bodies))}
	}
	err := parallel(ctx, len(bodies), m.client.cfg.Concurrency, func(ctx context.Context, i int) error {
		content, err := m.call(ctx, kinds[i], bodies[i])
		status, about := model.OK, ""
		if err != nil {
			e := (*model.Error)(nil)
			if !errors.As(err, &e) || e.Code == model.Unavailable {
				return err
			}
			status, content, about = e.Code, e.Message, e.Field
		}
		outputs[0].Strings[i], outputs[1].Strings[i], outputs[2].Strings[i] = string(status), content, about
		return nil
	})
	if err != nil {
		return nil, err
	}
	return outputs, nil
}

// call hands a body on and returns the answer's.
func (m *scoringModel) call(ctx context.Context, kind, body string) (string, error) {
	if kind != model.RawJSON && kind != model.RawCSV {
		return "", model.Errorf(model.UnsupportedMediaType, "an MLflow scoring server speaks MLflow's JSON and CSV, not the Open Inference Protocol")
	}
	k := &call{
		method: http.MethodPost, url: m.url, body: []byte(body), largest: m.client.cfg.MaxResponse,
		header: http.Header{"Content-Type": {kind}},
	}
	a, f := m.client.do(ctx, k)
	if f != nil {
		return "", f.err
	}
	content := strict(a.body)
	if !json.Valid(content) {
		return "", failed("the answer is not JSON: %.100q", a.body)
	}
	return string(content), nil
}

// strict puts null where Python writes NaN, Infinity and -Infinity, which JSON
// does not have. Everything else stays as it is.
func strict(body []byte) []byte {
	if !bytes.Contains(body, []byte("NaN")) && !bytes.Contains(body, []byte("Infinity")) {
		return body
	}
	out := make([]byte, 0, len(body))
	for i := 0; i < len(body); {
		if body[i] == '"' {
			token, rest := next(body[i:])
			out = append(out, token...)
			i = len(body) - len(rest)
			continue
		}
		word := 0
		for _, w := range []string{"NaN", "Infinity", "-Infinity"} {
			if bytes.HasPrefix(body[i:], []byte(w)) {
				word = len(w)
			}
		}
		if word == 0 {
			out = append(out, body[i])
			i++
			continue
		}
		out = append(out, "null"...)
		i += word
	}
	return out
}
