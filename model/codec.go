package model

import (
	"bytes"
	"fmt"
	"strings"
)

// Limits bound what one request may hold. A limit of 0 is none.
type Limits struct {
	MaxRows     int   // rows a request
	MaxElements int64 // tensor elements a request
}

// Codec turns bodies into a model's input tensors, and its outputs into
// answers. It is made once a model version, immutable, and safe for concurrent
// use.
//
// Two dialects are spoken: MLflow's scoring protocol, whose casts, checks and
// answers are those of `mlflow models serve` (docs/parity.md lists where they
// are not), and the Open Inference Protocol V2 in JSON, which is strict.
type Codec struct {
	info    Info
	sig     *Signature        // nil when none was logged
	columns *Signature        // sig when it declares inputs
	byName  map[string]*field // columns' inputs
	limits  Limits
	fast    plan // how numbers go straight into the inputs
}

// NewCodec fails when signature and model contradict each other, so that no
// request could ever be answered. sig is nil when no signature was logged.
func NewCodec(sig *Signature, info Info, limits Limits) (*Codec, error) {
	if info.Raw {
		return NewRawCodec(sig, limits), nil
	}
	c := &Codec{info: info, sig: sig, limits: limits}
	if sig != nil && len(sig.inputs) > 0 {
		c.columns, c.byName = sig, make(map[string]*field, len(sig.inputs))
		for i := range sig.inputs {
			if in := &sig.inputs[i]; in.named {
				c.byName[in.name] = in
			}
		}
		contradicts := func() error { return sig.contradicts(info.Inputs) }
		if info.Matrix != nil {
			contradicts = func() error { return sig.contradictsMatrix(&info) }
		}
		if err := contradicts(); err != nil {
			return nil, fmt.Errorf("the signature contradicts the model: %w", err)
		}
	}
	c.fast = newPlan(c)
	return c, nil
}

// contradicts says why no request that fits the signature could fit the model.
func (s *Signature) contradicts(inputs []Spec) error {
	if s.inputs[0].named && (s.inputs[0].tensor || len(inputs) > 1) {
		for i := range inputs {
			if counterpart(s.inputs, &field{name: inputs[i].Name, named: true}, 0) == nil {
				return fmt.Errorf("the model's input %q is not among its inputs: %s", inputs[i].Name, s)
			}
		}
	}
	switch {
	case s.inputs[0].tensor:
		return s.contradictsTensors(inputs)
	case len(inputs) > 1 && !s.inputs[0].named:
		return fmt.Errorf("its columns have no names, the model's %d inputs have", len(inputs))
	case len(inputs) == 1 && len(inputs[0].Shape) == 2 && inputs[0].Shape[1] >= 0:
		most, least := int64(len(s.inputs)), int64(0)
		for i := range s.inputs {
			if s.inputs[i].required {
				least++
			}
		}
		if n := inputs[0].Shape[1]; n < least || n > most {
			return fmt.Errorf("it has %d columns, the model's input %q has shape %s", most, inputs[0].Name, shapeText(inputs[0].Shape))
		}
	}
	return nil
}

func (s *Signature) contradictsTensors(inputs []Spec) error {
	for i := range s.inputs {
		in := &s.inputs[i]
		k := 0
		for k < len(inputs) && in.named && inputs[k].Name != in.name {
			k++
		}
		switch {
		case k == len(inputs):
			return fmt.Errorf("the model has no input %q", in.name)
		case !in.named && len(inputs) > 1:
			return fmt.Errorf("its input has no name, the model's %d inputs have", len(inputs))
		case !feeds(in.dtype, inputs[k].DType):
			return fmt.Errorf("input %q is of type %s, the model's of %s", inputs[k].Name, in.dtype, inputs[k].DType)
		case inputs[k].Shape != nil && !meets(in.shape, inputs[k].Shape):
			return fmt.Errorf("input %q has shape %s, the model's has %s", inputs[k].Name, shapeText(in.shape), shapeText(inputs[k].Shape))
		}
	}
	return nil
}

// meets says whether some shape fits both.
func meets(a, b []int64) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] >= 0 && b[i] >= 0 && a[i] != b[i] {
			return false
		}
	}
	return true
}

// Decode makes req the request that body is. Errors are *[Error]; after one,
// EncodeError and ContentType of req answer in the body's dialect as far as it
// was recognised.
//
// contentType is application/json when it is empty. The parameter dialect,
// mlflow or v2, says what JSON it is; else the body is looked at: it is V2 when
// its inputs name a datatype. text/csv is MLflow's, with a line of names first.
// All else, and a charset that is not UTF-8, is UnsupportedMediaType.
func (c *Codec) Decode(req *Request, contentType string, body []byte) error {
	req.tail = nil
	req.reset(len(c.info.Inputs))
	m, err := parseMediaType(contentType)
	if m.told {
		req.dialect = m.dialect
	}
	if err == nil {
		err = c.decode(req, m, body)
	}
	if err == nil {
		err = req.finish(c)
	}
	if err != nil {
		err.clip()
		return err
	}
	return nil
}

func (c *Codec) decode(req *Request, m mediaType, body []byte) *Error {
	if c.info.Raw {
		return c.decodeRaw(req, m, body)
	}
	if m.csv {
		return c.decodeCSV(req, body)
	}
	if c.decodeFast(req, m, body) {
		return nil
	}
	return c.decodeJSON(req, m, body)
}

// decodeJSON takes everything that decodeFast does not know.
func (c *Codec) decodeJSON(req *Request, m mediaType, body []byte) *Error {
	req.reset(len(c.info.Inputs))
	if req.dialect = m.dialect; !m.told && bytes.Contains(body, []byte(`"datatype"`)) {
		req.dialect = v2Dialect // should it prove not to be JSON
	}
	v, err := parseJSON(body, c.budget())
	if err != nil {
		return err
	}
	if req.dialect = m.dialect; !m.told && namesDatatype(&v) {
		req.dialect = v2Dialect
	}
	if req.dialect == v2Dialect {
		return c.decodeV2(req, &v)
	}
	return c.decodeMLflow(req, &v)
}

// budget bounds the values of a body: its elements, as much again for what
// surrounds them, and some for good measure.
func (c *Codec) budget() int64 {
	const some, unlimited = 4096, 1 << 40
	if c.limits.MaxElements <= 0 || c.limits.MaxElements > unlimited {
		return unlimited
	}
	return 2*c.limits.MaxElements + some
}

// namesDatatype recognises a V2 request: its inputs are a list of objects that
// name a datatype.
func namesDatatype(v *value) bool {
	inputs := v.get("inputs")
	return inputs != nil && inputs.kind == list && len(inputs.items) > 0 && inputs.items[0].get("datatype") != nil
}

// mediaType is what a content type says.
type mediaType struct {
	csv     bool
	dialect dialect
	told    bool // the dialect was named
}

func parseMediaType(s string) (mediaType, *Error) {
	var m mediaType
	if s == "" || s == "application/json" {
		return m, nil
	}
	kind, params, _ := strings.Cut(s, ";")
	bad := (*Error)(nil)
	switch kind = strings.TrimSpace(kind); {
	case strings.EqualFold(kind, "application/json"):
	case strings.EqualFold(kind, "text/csv"):
		m.csv = true
	default:
		bad = Errorf(UnsupportedMediaType, "content type %q is neither application/json nor text/csv", clip(kind))
	}
	for params != "" {
		var p string
		p, params, _ = strings.Cut(params, ";")
		key, val, _ := strings.Cut(strings.TrimSpace(p), "=")
		if len(val) >= 2 && val[0] == '"' && val[len(val)-1] == '"' {
			val = val[1 : len(val)-1]
		}
		err := (*Error)(nil)
		switch {
		case key == "":
		case strings.EqualFold(key, "charset"):
			if !strings.EqualFold(val, "utf-8") {
				err = Errorf(UnsupportedMediaType, "charset %q is not utf-8", clip(val))
			}
		case strings.EqualFold(key, "dialect") && (val == "mlflow" || val == "v2") && !m.csv:
			if m.told = true; val == "v2" {
				m.dialect = v2Dialect
			}
		default:
			err = Errorf(UnsupportedMediaType, "parameter %q of the content type is neither charset=utf-8 nor, of JSON, dialect=mlflow or dialect=v2", clip(strings.TrimSpace(p)))
		}
		if bad == nil {
			bad = err
		}
	}
	return m, bad
}
