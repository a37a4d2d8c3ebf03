package follow

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"strings"
	"time"

	"github.com/millrace/millrace/model"
)

// The results of a comparison.
const (
	ResultNothing  = "nothing"  // no example that the current version answers
	ResultCompared = "compared" // the distance says how far they are apart
	ResultOther    = "other"    // the answers have another form: there is no distance
	ResultRefused  = "refused"
)

// Comparison is how the answers of a new version differ from those of the one
// that served when it came, on the input examples of both.
type Comparison struct {
	At      time.Time `json:"at"`
	Version string    `json:"version"`
	Against string    `json:"against"`
	Result  string    `json:"result"`
	// Distance is ‖new − current‖ / max(‖new‖, ‖current‖) over the numbers of an
	// output, and for its other values the share of those that differ; of several
	// outputs and examples the largest. 0 is the same, 1 as far as the answer is
	// large, 2 the opposite.
	Distance float64 `json:"distance"`
	Detail   string  `json:"detail,omitempty"`
}

// compare has the current version and the next answer the examples of both. It
// says why next must not take over, nil when it may.
func (t *target) compare(ctx context.Context, next *model.Snapshot) error {
	if !t.cfg.Compare {
		return nil
	}
	h := t.current.Load()
	if h == nil || !h.snapshot.Acquire() {
		return nil
	}
	current := h.snapshot
	defer func() { _ = current.Release() }() // a signal alone, see lateCloser
	c := Comparison{At: time.Now().UTC(), Version: next.Version, Against: current.Version, Result: ResultNothing}
	err := c.run(ctx, current, next, &t.cfg)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		c.Result, c.Detail = ResultRefused, err.Error()
	}
	t.mu.Lock()
	t.state.Comparison = &c
	t.mu.Unlock()
	t.log.Info("model is compared with the current version", "model", next.Name, "version", next.Version, "against", c.Against,
		"result", c.Result, "distance", c.Distance, "detail", c.Detail)
	if t.obs.Compared != nil && c.Result == ResultCompared {
		t.obs.Compared(next.Name, c.Distance)
	}
	if err != nil {
		return fmt.Errorf("compared with version %s (MILLRACE_MODEL_COMPARE=false takes it): %w", current.Version, err)
	}
	Reached(ctx, StepCompared)
	return nil
}

func (c *Comparison) run(ctx context.Context, current, next *model.Snapshot, cfg *Config) error {
	examples := [][]byte{current.Example, next.Example}
	if bytes.Equal(current.Example, next.Example) {
		examples = examples[:1]
	}
	for i, example := range examples {
		if example == nil {
			continue
		}
		own := i == len(examples)-1
		is, failed := respond(ctx, next, example)
		was, err := respond(ctx, current, example)
		switch {
		case failed == nil && err == nil:
		case failed != nil && own && !refuses(failed):
			return fmt.Errorf("it fails on its own input example: %w", failed)
		case failed != nil && err == nil && (!cfg.AllowBreaking || !refuses(failed)):
			return fmt.Errorf("it fails on an input example that the current version answers: %w", failed)
		}
		if failed != nil || err != nil {
			continue // nothing to compare
		}
		if err := c.hold(was, is); err != nil {
			return err
		}
	}
	if cfg.MaxDrift > 0 && c.Distance > cfg.MaxDrift {
		return fmt.Errorf("its answers are %.3g from those of the current version, more than MILLRACE_MODEL_MAX_DRIFT=%g", c.Distance, cfg.MaxDrift)
	}
	return nil
}

// refuses says whether err is about the request rather than the model: examples
// are saved that nothing could serve.
func refuses(err error) bool {
	e := (*model.Error)(nil)
	if !errors.As(err, &e) {
		return false
	}
	return e.Code == model.InvalidInput || e.Code == model.UnsupportedMediaType || e.Code == model.TooLarge
}

// respond answers a request as a worker would.
func respond(ctx context.Context, s *model.Snapshot, body []byte) (answer []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	var req model.Request
	if err := s.Codec.Decode(&req, "application/json", body); err != nil {
		return nil, err
	}
	out, err := s.Model.Predict(ctx, req.Inputs)
	if err != nil {
		return nil, err
	}
	return s.Codec.Encode(nil, &req, out, s.Name, s.Version)
}

// hold compares two answers to the same request. Its error says that the new
// one is not finite where the other is.
func (c *Comparison) hold(was, is []byte) error {
	a, aOK := parsed(was)
	b, bOK := parsed(is)
	if !aOK || !bOK {
		c.Result, c.Detail = ResultOther, "an answer is no JSON"
		return nil
	}
	d := difference{outputs: make(map[string]*norms)}
	d.walk("", a, b)
	switch {
	case d.lost != "":
		return fmt.Errorf("%s is NaN or infinite, where the current version answers with a number", strings.TrimPrefix(d.lost, "."))
	case d.other != "":
		c.Result, c.Detail = ResultOther, d.other
	case c.Result == ResultNothing:
		c.Result = ResultCompared
	}
	for _, n := range d.outputs {
		c.Distance = max(c.Distance, n.distance())
	}
	return nil
}

func parsed(answer []byte) (v any, ok bool) {
	err := json.Unmarshal(answer, &v)
	return v, err == nil
}

// difference of two answers, by output: the path without its indices.
type difference struct {
	outputs map[string]*norms
	lost    string // a number in the first that is null in the second
	other   string // where their forms differ
}

// norms are the sums of squares of an output, and counts of what is no number.
type norms struct {
	a, b, ab      float64
	same, differs int
}

func (n *norms) distance() float64 {
	d := 0.0
	if n.ab > 0 {
		d = math.Sqrt(n.ab / max(n.a, n.b))
	}
	if math.IsNaN(d) || d > 2 { // of numbers whose squares overflow
		d = 2
	}
	if n.differs > 0 {
		d = max(d, float64(n.differs)/float64(n.differs+n.same))
	}
	return d
}

func (d *difference) walk(path string, a, b any) {
	switch a := a.(type) {
	case map[string]any:
		m, ok := b.(map[string]any)
		if !ok || len(m) != len(a) {
			d.differ(path, "other fields")
			return
		}
		for k, v := range a {
			w, ok := m[k]
			if !ok {
				d.differ(path, "other fields")
				return
			}
			d.walk(path+"."+k, v, w)
		}
	case []any:
		l, ok := b.([]any)
		if !ok || len(l) != len(a) {
			d.differ(path, "another shape")
			return
		}
		for i := range a {
			d.walk(path, a[i], l[i])
		}
	default:
		d.value(path, a, b)
	}
}

func (d *difference) value(path string, a, b any) {
	n := d.outputs[path]
	if n == nil {
		n = &norms{}
		d.outputs[path] = n
	}
	x, isNumber := a.(float64)
	switch y := b.(type) {
	case float64:
		if isNumber {
			n.a, n.b, n.ab = n.a+x*x, n.b+y*y, n.ab+(x-y)*(x-y)
			return
		}
	case nil:
		if isNumber {
			d.lost = path
			return
		}
	case map[string]any, []any:
		d.differ(path, "another shape")
		return
	}
	if a == b {
		n.same++
	} else {
		n.differs++
	}
}

func (d *difference) differ(path, how string) {
	d.other = strings.TrimPrefix(path+" has "+how, ".")
}
