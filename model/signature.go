package model

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Signature is what a model declares to take and to give, as MLflow logs it in
// MLmodel: columns of a data frame or tensors, and parameters. It is immutable.
type Signature struct {
	inputs  []field
	outputs []field
	params  []param
	texts   [3]string // as they were logged
}

// Texts returns the JSON that MLmodel has of the inputs, outputs and parameters; "" for
// what was not logged.
func (s *Signature) Texts() (inputs, outputs, params string) {
	return s.texts[0], s.texts[1], s.texts[2]
}

// field is an input or an output: a column, or a tensor when tensor is set.
type field struct {
	name     string
	named    bool
	required bool
	typ      nestedType // of a column

	tensor bool
	dtype  DType
	shape  []int64 // -1 is variable
}

type param struct {
	name   string
	typ    nestedType
	list   bool // one dimension instead of none
	preset string
}

// Field is one line of a signature for people.
type Field struct {
	Name     string  // "" when it was logged without one
	Type     string  // "double", "array(long)", or numpy's name of a tensor's type
	Shape    []int64 // of a tensor, -1 is variable; nil for a column
	Required bool
	Default  string // of a parameter, in JSON
}

// Inputs returns what the model takes, in the order in which it was logged;
// none when only outputs or parameters were.
func (s *Signature) Inputs() []Field { return describe(s.inputs) }

// Outputs returns what the model gives.
func (s *Signature) Outputs() []Field { return describe(s.outputs) }

// Params returns the parameters, each of which has a default. A parameter that
// is a list has the shape [-1].
func (s *Signature) Params() []Field {
	var fs []Field
	for i := range s.params {
		p := &s.params[i]
		f := Field{Name: p.name, Type: p.typ.String(), Default: p.preset}
		if p.list {
			f.Shape = []int64{-1}
		}
		fs = append(fs, f)
	}
	return fs
}

func describe(in []field) []Field {
	var fs []Field
	for i := range in {
		f := Field{Name: in[i].name, Required: in[i].required, Type: in[i].typeName()}
		if in[i].tensor {
			f.Shape = append([]int64{}, in[i].shape...)
		}
		fs = append(fs, f)
	}
	return fs
}

func (f *field) typeName() string {
	if f.tensor {
		return f.dtype.String()
	}
	return f.typ.String()
}

// ParseSignature reads the three JSON texts of MLmodel's signature. Each may be
// empty or null.
func ParseSignature(inputs, outputs, params string) (*Signature, error) {
	var err error
	s := &Signature{texts: [3]string{inputs, outputs, params}}
	if s.inputs, err = parseSchema(inputs); err != nil {
		return nil, fmt.Errorf("inputs: %w", err)
	}
	if s.outputs, err = parseSchema(outputs); err != nil {
		return nil, fmt.Errorf("outputs: %w", err)
	}
	if s.params, err = parseParams(params); err != nil {
		return nil, fmt.Errorf("params: %w", err)
	}
	return s, nil
}

// rawField is a column or a tensor as it stands in the JSON.
type rawField struct {
	rawType

	Name   *string `json:"name"`
	Tensor *struct {
		DType string  `json:"dtype"`
		Shape []int64 `json:"shape"`
	} `json:"tensor-spec"`
}

func parseSchema(text string) ([]field, error) {
	if text == "" || text == "null" {
		return nil, nil
	}
	var raw []*rawField
	if err := json.Unmarshal([]byte(text), &raw); err != nil {
		return nil, err
	}
	if len(raw) == 0 {
		return nil, errors.New("the list is empty")
	}
	fields := make([]field, len(raw))
	seen := make(map[string]bool, len(raw))
	for i, r := range raw {
		if r == nil {
			return nil, fmt.Errorf("item %d is null", i)
		}
		f, err := r.parse()
		if err != nil {
			return nil, fmt.Errorf("item %d (%q): %w", i, f.name, err)
		}
		switch {
		case f.named && seen[f.name]:
			return nil, fmt.Errorf("%q comes twice", f.name)
		case f.named != (raw[0].Name != nil):
			return nil, errors.New("some have names and some have not")
		case f.tensor != (raw[0].Type == tensorName):
			return nil, errors.New("columns and tensors are mixed")
		case f.tensor && !f.named && len(raw) > 1:
			return nil, errors.New("several tensors without names")
		case !f.named && !f.required:
			return nil, errors.New("an optional column without a name")
		}
		seen[f.name] = true
		fields[i] = f
	}
	return fields, nil
}

const tensorName = "tensor"

func (r *rawField) parse() (field, error) {
	f := field{required: r.required()}
	if r.Name != nil {
		f.name, f.named = *r.Name, true
	}
	var err error
	if r.Type != tensorName {
		f.typ, err = r.rawType.parse()
		return f, err
	}
	f.tensor, f.required = true, true
	if r.Tensor == nil {
		return f, errors.New("type tensor without tensor-spec")
	}
	if f.dtype, err = ParseDType(r.Tensor.DType); err != nil {
		return f, err
	}
	for _, d := range r.Tensor.Shape {
		if d < -1 {
			return f, fmt.Errorf("shape %v has a negative dimension", r.Tensor.Shape)
		}
	}
	if r.Tensor.DType == objectType.String() {
		f.dtype = objectType
	}
	f.shape = r.Tensor.Shape
	return f, nil
}

func parseParams(text string) ([]param, error) {
	if text == "" || text == "null" {
		return nil, nil
	}
	var raw []*struct {
		rawType

		Name    *string         `json:"name"`
		DType   string          `json:"dtype"` // what older versions wrote for type
		Default json.RawMessage `json:"default"`
		Shape   []int64         `json:"shape"`
	}
	if err := json.Unmarshal([]byte(text), &raw); err != nil {
		return nil, err
	}
	var params []param
	for i, r := range raw {
		if r == nil || r.Name == nil {
			return nil, fmt.Errorf("item %d has no name", i)
		}
		if r.Type == "" {
			r.Type = r.DType
		}
		t, err := r.parse()
		switch {
		case err != nil:
			return nil, fmt.Errorf("%q: %w", *r.Name, err)
		case !t.plain() && t.colType != colObject || t.colType == colBinary:
			return nil, fmt.Errorf("%q: a parameter cannot be of type %s", *r.Name, t.String())
		case r.Shape != nil && (len(r.Shape) != 1 || r.Shape[0] != -1):
			return nil, fmt.Errorf("%q: shape %v, where [-1] or none should be", *r.Name, r.Shape)
		}
		var preset bytes.Buffer
		if err := json.Compact(&preset, r.Default); err != nil { // also when there is none
			return nil, fmt.Errorf("%q: no default", *r.Name)
		}
		params = append(params, param{*r.Name, t, r.Shape != nil, preset.String()})
	}
	return params, nil
}

// String writes the signature on one line:
//
//	(a: double, b?: long) -> (Y: float32[-1, 3]), params (limit: long = 5)
func (s *Signature) String() string {
	var b strings.Builder
	writeFields(&b, s.inputs)
	b.WriteString(" -> ")
	writeFields(&b, s.outputs)
	for i := range s.params {
		p := &s.params[i]
		b.WriteString([]string{", params (", ", "}[min(i, 1)])
		b.WriteString(nameOf(p.name) + ": " + p.typ.String())
		if p.list {
			b.WriteString("[-1]")
		}
		b.WriteString(" = " + p.preset)
	}
	if len(s.params) > 0 {
		b.WriteByte(')')
	}
	return b.String()
}

func writeFields(b *strings.Builder, fields []field) {
	if len(fields) == 0 {
		b.WriteString("(not declared)")
		return
	}
	for i := range fields {
		f := &fields[i]
		b.WriteString([]string{"(", ", "}[min(i, 1)])
		if f.named {
			b.WriteString(nameOf(f.name))
			if !f.required {
				b.WriteByte('?')
			}
			b.WriteString(": ")
		}
		b.WriteString(f.typeName())
		if f.tensor {
			b.WriteString(shapeText(f.shape))
		}
	}
	b.WriteByte(')')
}

func shapeText(shape []int64) string {
	s := make([]string, len(shape))
	for i, d := range shape {
		s[i] = strconv.FormatInt(d, 10)
	}
	return "[" + strings.Join(s, ", ") + "]"
}

// nameOf quotes a name that could be taken for something else.
func nameOf(name string) string {
	plain := name != ""
	for _, r := range name {
		plain = plain && (r == '_' || r == '-' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r > 127 && strconv.IsPrint(r))
	}
	if plain {
		return name
	}
	return strconv.Quote(name)
}
