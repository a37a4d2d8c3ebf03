package model

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
)

// castFrame converts columns to the types of the signature, as MLflow does with
// data frames from JSON before it enforces the signature.
func (s *Signature) castFrame(f *frame) *Error {
	for i := range s.inputs {
		in := &s.inputs[i]
		targets, err := s.targets(f, in, i)
		if err != nil {
			return err
		}
		for _, c := range targets {
			if err := in.castColumn(c); err != nil {
				return err
			}
		}
	}
	return nil
}

// targets are the columns that input i is about: the one of its name, or of its
// place; a single tensor without a name is about all.
func (s *Signature) targets(f *frame, in *field, i int) ([]*column, *Error) {
	var cs []*column
	switch {
	case in.named:
		c, err := f.find(in.name)
		if err != nil || c == nil {
			return nil, err
		}
		cs = append(cs, c)
	case in.tensor:
		for j := range f.columns {
			cs = append(cs, &f.columns[j])
		}
	case i < len(f.columns):
		cs = append(cs, &f.columns[i])
	}
	return cs, nil
}

func (in *field) castColumn(c *column) *Error {
	if in.tensor {
		if len(c.cells) == 0 {
			return Invalidf(c.label(), "there are no rows")
		}
		if c.cells[0].kind == list {
			return nil // reshaped later
		}
		return c.astype(in.dtype)
	}
	switch in.typ.colType { //nolint:exhaustive // the others are plain
	case colBinary:
		return c.decodeBase64()
	case colDatetime:
		return c.astype(timeType)
	case colString:
		return c.astype(objectType)
	case colAny:
		return nil
	case colArray, colObject, colMap:
		for i := range c.cells {
			if err := in.typ.enforce(&c.cells[i], in.required, fmt.Sprintf("%s[%d]", c.label(), i)); err != nil {
				return err
			}
		}
		return nil
	default:
		return c.astype(in.typ.dtype())
	}
}

// decodeBase64 is lenient as Python is: what is not of the alphabet is skipped.
func (c *column) decodeBase64() *Error {
	for i := range c.cells {
		if c.cells[i].kind != text {
			return Invalidf(c.label(), "row %d: %s, where base64 should be", i, c.cells[i].describe())
		}
		b, err := decodeBase64(c.cells[i].text)
		if err != nil {
			return Invalidf(c.label(), "row %d: %w", i, err)
		}
		c.cells[i] = value{kind: blob, text: b}
	}
	c.dtype = objectType
	return nil
}

func decodeBase64(s string) (string, error) {
	clean := strings.Map(func(r rune) rune {
		if r < 0x80 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("+/=", r)) {
			return r
		}
		return -1
	}, s)
	if i := strings.IndexByte(clean, '='); i >= 0 { // what follows the padding is ignored
		if rest := i % 4; rest >= 2 {
			clean = clean[:min(len(clean), i+4-rest)]
		}
	}
	b, err := base64.StdEncoding.DecodeString(clean)
	if err != nil {
		return "", fmt.Errorf("no base64: %w", err)
	}
	return string(b), nil
}

// enforceColumns picks and orders the columns of a data frame by the signature
// and holds each against its type.
func (s *Signature) enforceColumns(f *frame) (*frame, *Error) {
	if !s.inputs[0].named {
		return s.enforceUnnamed(f)
	}
	if err := s.missing(func(name string) bool { return f.has(name) }, f.labels()); err != nil {
		return nil, err
	}
	out := &frame{rows: f.rows}
	for i := range s.inputs {
		in := &s.inputs[i]
		c, err := f.find(in.name)
		if err != nil {
			return nil, err
		}
		if c == nil {
			continue
		}
		if err := in.enforceColumn(c); err != nil {
			return nil, err
		}
		out.columns = append(out.columns, *c)
	}
	return out, nil
}

func (s *Signature) enforceUnnamed(f *frame) (*frame, *Error) {
	if len(f.columns) < len(s.inputs) {
		return nil, Errorf(InvalidInput, "Model inference is missing inputs: the signature declares %d, there are %d", len(s.inputs), len(f.columns))
	}
	out := &frame{rows: f.rows}
	for i := range s.inputs {
		if name := &f.columns[i].name; name.kind == text {
			if _, err := f.find(name.text); err != nil {
				return nil, err
			}
		}
		if err := s.inputs[i].enforceColumn(&f.columns[i]); err != nil {
			return nil, err
		}
		out.columns = append(out.columns, f.columns[i])
	}
	return out, nil
}

func (f *frame) labels() []string {
	labels := make([]string, len(f.columns))
	for i := range f.columns {
		labels[i] = string(f.columns[i].name.appendRepr(nil))
	}
	return labels
}

// missing refuses input without one that is required, in MLflow's words. have
// are the names that are there, as Python writes them.
func (s *Signature) missing(has func(string) bool, have []string) *Error {
	var gone []string
	first := ""
	for i := range s.inputs {
		if in := &s.inputs[i]; in.required && !has(in.name) {
			if gone == nil {
				first = in.name
			}
			gone = append(gone, quotePython(in.name))
		}
	}
	if gone == nil {
		return nil
	}
	known := make(map[string]bool, len(s.inputs))
	for i := range s.inputs {
		known[quotePython(s.inputs[i].name)] = true
	}
	extra := slices.DeleteFunc(slices.Clone(have), func(n string) bool { return known[n] })
	message := fmt.Sprintf("Model is missing inputs [%s].", strings.Join(gone, ", "))
	if len(extra) > 0 {
		const most = 20
		if len(extra) > most {
			extra = append(extra[:most:most], "…")
		}
		message += fmt.Sprintf(" Note that there were extra inputs: [%s].", strings.Join(extra, ", "))
	}
	return Invalidf(first, "%s", message)
}

func quotePython(s string) string { return string(appendQuoted(nil, s, false)) }

// enforceColumn holds a column against its type. Safe conversions are made,
// others refused.
func (in *field) enforceColumn(c *column) *Error {
	if in.typ.plain() {
		return c.enforce(in.typ.colType)
	}
	for i := range c.cells {
		if err := in.typ.enforce(&c.cells[i], in.required, fmt.Sprintf("%s[%d]", c.label(), i)); err != nil {
			return err
		}
	}
	c.dtype = inferColumn(c.cells)
	c.convert()
	return nil
}

// enforce is what MLflow does with a column of a plain type.
func (c *column) enforce(t colType) *Error {
	want := t.dtype()
	if c.dtype == objectType && t != colBinary && t != colString {
		c.dtype = inferColumn(c.cells)
		c.convert()
	}
	switch {
	case c.dtype == want,
		(t == colString || t == colBinary) && (c.dtype == objectType || c.dtype == String),
		t == colBoolean && c.dtype == objectType:
		return nil
	case t == colDatetime && c.dtype == objectType, c.safe(want):
		return c.astype(want)
	}
	return Invalidf(c.label(), "Incompatible input types for column %s. Can not safely convert %s to %s.", c.label(), c.dtype, want)
}

// safe says whether MLflow counts a conversion of the column's numbers as safe.
func (c *column) safe(want DType) bool {
	from, to := classOf(c.dtype), classOf(want)
	switch {
	case from == otherClass:
		return false
	case from == to:
		return c.dtype.Size() <= want.Size()
	case from == unsignedClass && to == signedClass:
		return c.dtype.Size() < want.Size()
	case (from == signedClass || from == unsignedClass) && want == Float64 && c.dtype.Size() < 8:
		return true
	case c.dtype == Int64 && to == floatClass:
		return !slices.ContainsFunc(c.cells, func(v value) bool { return v.bits > 1 })
	}
	return false
}
