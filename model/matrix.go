package model

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Matrix is how a library makes the matrix that its model takes, of the
// [Spec]'s type, of a data frame or an array. Data frames have to have columns
// of numbers or booleans, arrays two dimensions; named arrays are refused.
type Matrix struct {
	Columns []string // the names of a data frame's columns, in this order; nil when any will do
	Named   bool     // arrays, which have no names, are refused
	Unique  bool     // a data frame's columns have unique names
	Plain   bool     // ... without any of [ ] <
	Filled  bool     // a data frame has rows
	Drop    string   // a data frame's column that is left out, "" for none
	Vector  bool     // an array of one dimension is a column
	Texts   bool     // an array of text is parsed
	Single  bool     // an array that is not of floats is rounded to float32
}

// takes says whether a data frame with columns of these names is taken as it
// is.
func (m *Matrix) takes(names [][]byte) bool {
	for i, name := range names {
		if m.Columns != nil && (i >= len(m.Columns) || string(name) != m.Columns[i]) ||
			m.Drop != "" && string(name) == m.Drop || m.Plain && bytes.ContainsAny(name, "[]<") {
			return false
		}
	}
	return true
}

// takesAll says whether a data frame with all columns of a signature is taken
// as it is.
func (m *Matrix) takesAll(s *Signature) bool {
	names := make([][]byte, len(s.inputs))
	for i := range s.inputs {
		names[i] = []byte(s.inputs[i].name)
	}
	return m.takes(names)
}

// contradictsMatrix is contradicts for a model that takes a matrix.
func (s *Signature) contradictsMatrix(info *Info) error {
	m, width := info.Matrix, info.Inputs[0].Shape[1]
	if in := &s.inputs[0]; in.tensor {
		switch {
		case in.named:
			return errors.New("its tensors have names, the model takes one matrix without")
		case m.Named:
			return errors.New("it has a tensor, the model takes columns by name")
		case !meets(in.shape, info.Inputs[0].Shape) && (!m.Vector || len(in.shape) != 1 || width != 1):
			return fmt.Errorf("its tensor has shape %s, the model takes %d columns", shapeText(in.shape), width)
		}
		return nil
	}
	most, least := int64(0), int64(0)
	next := 0 // of the model's columns
	for i := range s.inputs {
		in := &s.inputs[i]
		if in.named && m.Drop != "" && in.name == m.Drop {
			continue
		}
		if most++; in.required {
			least++
			if !in.typ.plain() || classOf(in.typ.dtype()) == otherClass {
				return fmt.Errorf("column %s is of type %s, the model takes numbers", in.label(i), in.typ.String())
			}
		}
		if m.Columns == nil {
			continue
		}
		if next < len(m.Columns) && in.named && in.name == m.Columns[next] {
			next++
		} else if in.required {
			return fmt.Errorf("column %s is none that the model takes at that place: %s", in.label(i), listed(m.Columns))
		}
	}
	if next < len(m.Columns) || least > width || most < width {
		return fmt.Errorf("it has %d columns, the model takes %d", most, width)
	}
	return nil
}

// listed quotes names, as many as a message can hold.
func listed(names []string) string {
	const most = 20
	if len(names) > most {
		return fmt.Sprintf("%q and %d more", names[:most], len(names)-most)
	}
	return fmt.Sprintf("%q", names)
}

// deliverMatrix makes the model's matrix of what the signature let pass.
func (c *Codec) deliverMatrix(req *Request, p *payload) *Error {
	switch {
	case p.frame != nil:
		req.records = true
		return c.matrixOfFrame(req, p.frame)
	case p.named:
		return Errorf(InvalidInput, "named arrays, where the model takes a data frame or one array of two dimensions")
	default:
		return c.matrixOfArray(req, p.array)
	}
}

func (c *Codec) matrixOfFrame(req *Request, f *frame) *Error {
	m := c.info.Matrix
	columns := f.columns
	if m.Drop != "" {
		columns = slices.DeleteFunc(slices.Clone(columns), func(col column) bool { return col.name.kind == text && col.name.text == m.Drop })
	}
	if err := m.check(columns); err != nil {
		return err
	}
	if m.Filled && f.rows == 0 {
		return Errorf(InvalidInput, "there are no rows")
	}
	width := len(columns)
	t, err := c.matrix(req, f.rows, width, "the columns")
	if err != nil {
		return err
	}
	for j := range columns {
		for i := range columns[j].cells {
			t.setNumber(i*width+j, &columns[j].cells[i])
		}
	}
	return nil
}

// check holds a data frame's columns against what the library takes.
func (m *Matrix) check(columns []column) *Error {
	seen := map[string]bool{}
	for i := range columns {
		col := &columns[i]
		name := col.label()
		switch {
		case m.Unique && seen[name]:
			return Invalidf(name, "the column comes twice")
		case m.Plain && strings.ContainsAny(name, "[]<"):
			return Invalidf(name, "the library takes no column with any of [ ] < in its name")
		case m.Columns != nil && (i >= len(m.Columns) || name != m.Columns[i]):
			return Invalidf(name, "column %d has another name than the model was trained on: it takes %s in this order", i, listed(m.Columns))
		case classOf(col.dtype) == otherClass:
			return Invalidf(name, "column of type %s, where the model takes numbers and booleans; log the model with a signature to have them cast", col.dtype)
		}
		seen[name] = true
	}
	if len(columns) < len(m.Columns) {
		return Invalidf(m.Columns[len(columns)], "the column is missing; the model takes %s in this order", listed(m.Columns))
	}
	return nil
}

func (c *Codec) matrixOfArray(req *Request, a *array) *Error {
	const path = "inputs"
	m := c.info.Matrix
	var width int
	switch {
	case m.Named:
		return Invalidf(path, "an array, where the model takes columns by name: %s", listed(m.Columns))
	case len(a.shape) == 2:
		width = int(a.shape[1])
	case len(a.shape) == 1 && m.Vector:
		width = 1
	default:
		return Invalidf(path, "%d dimensions, where the model takes rows of columns", len(a.shape))
	}
	cells := a.cells
	switch class := classOf(a.dtype); {
	case class == otherClass && a.dtype != objectType && (a.dtype != String || !m.Texts):
		return Invalidf(path, "%s, where the model takes numbers", a.dtype)
	case class == otherClass:
		cells = slices.Clone(cells)
		for i := range cells {
			if err := cells[i].cast(Float64); err != nil {
				return Invalidf(a.at(path, i), "%w", err)
			}
		}
	}
	t, err := c.matrix(req, a.rows(), width, path)
	if err != nil {
		return err
	}
	for i := range cells {
		t.setNumber(i, &cells[i])
		if m.Single && classOf(a.dtype) != floatClass && t.DType == Float64 {
			v := View[float64](t)
			v[i] = float64(float32(v[i]))
		}
	}
	return nil
}

// matrix makes the input of so many rows.
func (c *Codec) matrix(req *Request, rows, columns int, path string) (*Tensor, *Error) {
	spec := &c.info.Inputs[0]
	width := int(spec.Shape[1])
	if columns != width {
		return nil, Invalidf(path, "%d columns, where the model takes %d", columns, width)
	}
	if err := c.room(int64(rows)*int64(width), path); err != nil {
		return nil, err
	}
	t := req.tensor(0, spec, rows*width)
	t.Shape = append(t.Shape, int64(rows), int64(width))
	return t, nil
}

// setNumber writes a number or boolean, which is rounded once.
func (t *Tensor) setNumber(i int, v *value) {
	if t.DType == Float32 {
		switch v.kind { //nolint:exhaustive // the others are floats
		case boolean, integer:
			View[float32](t)[i] = float32(v.int())
		case natural:
			View[float32](t)[i] = float32(v.bits)
		default:
			View[float32](t)[i] = float32(v.float())
		}
		return
	}
	f, _ := v.toFloat() // a number
	View[float64](t)[i] = f
}

// example is a data frame of one row.
func (m *Matrix) example(width int) []byte {
	dst := []byte(`{"dataframe_split": {`)
	if m.Columns != nil {
		dst = append(dst, `"columns": [`...)
		for i, name := range m.Columns {
			if i > 0 {
				dst = append(dst, ", "...)
			}
			dst = appendString(dst, name)
		}
		dst = append(dst, "], "...)
	}
	dst = append(dst, `"data": [`...)
	dst = appendExample(dst, Float64, []int64{int64(width)}, ", ")
	return append(dst, "]}}"...)
}
