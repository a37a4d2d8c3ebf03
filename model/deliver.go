package model

import (
	"fmt"
	"math"
	"slices"
)

// deliver enforces the signature and fills the model's inputs.
func (c *Codec) deliver(req *Request, p *payload) *Error {
	if s := c.columns; s != nil {
		enforce := s.frameInput
		if s.inputs[0].tensor {
			enforce = s.tensorInput
		}
		if err := enforce(p); err != nil {
			return err
		}
	}
	switch {
	case p.frame != nil:
		req.records = true
		return c.deliverFrame(req, p.frame)
	case p.named:
		return c.deliverDict(req, p.dict)
	default:
		if len(c.info.Inputs) != 1 {
			return Errorf(InvalidInput, "a list, where the model takes several inputs by name: %s", names(c.info.Inputs))
		}
		return c.put(req, 0, p.array, "inputs")
	}
}

// frameInput makes a data frame of whatever came and enforces columns on it.
func (s *Signature) frameInput(p *payload) *Error {
	err := (*Error)(nil)
	if p.frame == nil && p.named {
		p.frame, err = s.frameOfDict(p.dict)
	} else if p.frame == nil {
		p.frame, err = frameOfArray(p.array)
	}
	if err == nil {
		p.frame, err = s.enforceColumns(p.frame)
	}
	return err
}

func frameOfArray(a *array) (*frame, *Error) {
	n := 1
	switch len(a.shape) {
	case 1:
	case 2:
		n = int(a.shape[1])
	default:
		return nil, Errorf(InvalidInput, "%d dimensions, where columns have 1 or 2", len(a.shape))
	}
	f := &frame{rows: a.rows(), columns: make([]column, n)}
	for j := range f.columns {
		col := &f.columns[j]
		*col = column{name: intValue(int64(j)), dtype: a.dtype, cells: make([]value, f.rows)}
		for i := range col.cells {
			col.cells[i] = a.cells[i*n+j]
		}
	}
	return f, nil
}

// frameOfDict is the data frame of named arrays. When all are single values it
// has one row, as it has when the signature has lists or objects for cells.
func (s *Signature) frameOfDict(dict []entry) (*frame, *Error) {
	one := slices.ContainsFunc(s.inputs, func(in field) bool { return in.typ.colType == colArray || in.typ.colType == colObject }) ||
		!slices.ContainsFunc(dict, func(e entry) bool { return !e.single() })
	rows := 1
	if !one {
		if rows = commonLength(dict); rows < 0 {
			return nil, Errorf(InvalidInput, "the columns have different lengths")
		}
	}
	f := &frame{rows: rows}
	for i := range dict {
		col, err := dict[i].column(one, rows)
		if err != nil {
			return nil, err
		}
		f.columns = append(f.columns, col)
	}
	return f, nil
}

// single says whether pandas would take the member for one cell.
func (e *entry) single() bool {
	if e.raw != nil {
		return e.raw.scalar() || e.raw.kind == list && !slices.ContainsFunc(e.raw.items, func(v value) bool { return v.kind != text })
	}
	return e.scalar
}

// commonLength is how many rows the members have that are no single values; -1
// when they do not agree.
func commonLength(dict []entry) int {
	n := -1
	for i := range dict {
		m := 0
		switch e := &dict[i]; {
		case e.raw != nil && e.raw.kind == list:
			m = len(e.raw.items)
		case e.raw != nil || len(e.array.shape) == 0:
			continue
		default:
			m = e.array.rows()
		}
		if n >= 0 && n != m {
			return -1
		}
		n = m
	}
	return n
}

func (e *entry) column(one bool, rows int) (column, *Error) {
	col := column{name: textValue(e.name)}
	switch {
	case one && e.raw != nil:
		col.cells = []value{*e.raw}
	case one && e.scalar:
		col.dtype, col.cells = e.array.dtype, e.array.cells
		return col, nil
	case one:
		col.cells = []value{e.array.nested()}
	case e.raw != nil && e.raw.kind == list:
		col.cells = e.raw.items
	case e.raw != nil && e.raw.kind == object:
		return col, Invalidf(e.name, "an object, where a column should be")
	case e.raw != nil:
		col.cells = slices.Repeat([]value{*e.raw}, rows)
	case len(e.array.shape) == 0:
		col.dtype, col.cells = e.array.dtype, slices.Repeat(e.array.cells, rows)
		return col, nil
	case len(e.array.shape) == 1:
		col.dtype, col.cells = e.array.dtype, e.array.cells
		return col, nil
	default:
		col.dtype, col.cells = objectType, e.array.nested().items
		return col, nil
	}
	col.dtype = inferColumn(col.cells)
	col.convert()
	return col, nil
}

// tensorInput enforces tensors, which a data frame can stand for as well.
func (s *Signature) tensorInput(p *payload) *Error {
	if s.inputs[0].named {
		return s.namedTensors(p)
	}
	in := &s.inputs[0]
	var err *Error
	switch f := p.frame; {
	case f != nil && (f.rows == 0 || len(f.columns) == 0):
		return Errorf(InvalidInput, "Input DataFrame is empty.")
	case f != nil && len(f.columns) == 1:
		p.array, err = in.reshape(f, &f.columns[0])
	case f != nil:
		if !slices.Equal(in.shape, []int64{-1, int64(len(f.columns))}) {
			return Errorf(InvalidInput, "%d columns, where the signature takes %s", len(f.columns), shapeText(in.shape))
		}
		a := f.values()
		p.array = &a
		err = in.check(p.array, "the columns")
	case p.named:
		return Errorf(InvalidInput, "an object, where the signature names no inputs and so takes a list")
	default:
		err = in.check(p.array, "inputs")
	}
	p.frame = nil
	return err
}

func (s *Signature) namedTensors(p *payload) *Error {
	var have []string
	for i := range p.dict {
		have = append(have, quotePython(p.dict[i].name))
	}
	if p.frame != nil {
		have = p.frame.labels()
	}
	has := func(name string) bool { return slices.Contains(have, quotePython(name)) }
	if p.array != nil && len(s.inputs) == 1 { // what came without a name is the one there is
		p.dict, p.array = []entry{{name: s.inputs[0].name, array: *p.array}}, nil
		has = func(string) bool { return true }
	}
	if err := s.missing(has, have); err != nil {
		return err
	}
	var dict []entry
	for i := range s.inputs {
		in := &s.inputs[i]
		e := entry{name: in.name}
		if p.frame != nil {
			c, err := p.frame.find(in.name)
			if err != nil {
				return err
			}
			a, err := in.reshape(p.frame, c)
			if err != nil {
				return err
			}
			e.array = *a
		} else {
			e = p.dict[slices.IndexFunc(p.dict, func(e entry) bool { return e.name == in.name })]
			if err := in.check(&e.array, in.name); err != nil {
				return err
			}
		}
		dict = append(dict, e)
	}
	p.frame, p.dict, p.named = nil, dict, true
	return nil
}

// check holds an array against the signature's tensor.
func (in *field) check(a *array, path string) *Error {
	if !fits(in.shape, a.shape) {
		return Invalidf(path, "Shape of input %s does not match expected shape %s.", tuple(a.shape), tuple(in.shape))
	}
	if a.dtype != in.dtype {
		return Invalidf(path, "dtype of input %s does not match expected dtype %s", a.dtype, in.dtype)
	}
	return nil
}

// fits says whether a shape is one that was declared.
func fits(declared, shape []int64) bool {
	if len(declared) != len(shape) {
		return false
	}
	for i, d := range declared {
		if d >= 0 && d != shape[i] {
			return false
		}
	}
	return true
}

// tuple writes a shape as Python does.
func tuple(shape []int64) string {
	s := shapeText(shape)
	s = s[1 : len(s)-1]
	if len(shape) == 1 {
		s += ","
	}
	return "(" + s + ")"
}

// reshape makes a tensor of a column, whose cells are single values or flat
// lists of the values of a row.
func (in *field) reshape(f *frame, c *column) (*array, *Error) {
	if len(in.shape) == 0 || in.shape[0] != -1 || slices.Contains(in.shape[1:], -1) {
		return nil, Invalidf(c.label(), "the signature's shape %s is none that a column can have: only its first dimension may be variable", tuple(in.shape))
	}
	if len(c.cells) == 0 {
		return nil, Invalidf(c.label(), "there are no rows")
	}
	if f.noZero {
		return nil, Invalidf("dataframe_split.index", "no row is labelled 0, and tensors are looked up by that")
	}
	rows := int64(len(c.cells))
	if first := &c.cells[0]; first.scalar() && first.kind != none {
		if len(in.shape) > 2 || len(in.shape) == 2 && in.shape[1] != 1 {
			return nil, Invalidf(c.label(), "single values, where the signature takes shape %s", tuple(in.shape))
		}
		all := value{kind: list, items: c.cells}
		a, err := newArray(&all, in.dtype, c.label())
		a.shape = append([]int64{rows}, in.shape[1:]...)
		return &a, err
	} else if first.kind != list || len(first.items) == 0 || !first.items[0].scalar() || first.items[0].kind == none {
		return nil, Invalidf(c.label(), "cells have to be single values or flat lists of them")
	}
	all := value{kind: list, items: c.cells}
	a, err := newArray(&all, Invalid, c.label())
	if err != nil {
		return nil, err
	}
	shape := append([]int64{rows}, in.shape[1:]...)
	if n, bad := Elements(shape, math.MaxInt32); bad != nil || n != int64(len(a.cells)) {
		return nil, Invalidf(c.label(), "%d values do not fill shape %s", len(a.cells), tuple(shape))
	}
	flat := column{name: c.name, dtype: a.dtype, cells: a.cells}
	if err := flat.astype(in.dtype); err != nil {
		return nil, err
	}
	return &array{dtype: in.dtype, shape: shape, cells: flat.cells}, nil
}

// deliverFrame maps a data frame to the model: its values to a single input,
// its columns by name to several.
func (c *Codec) deliverFrame(req *Request, f *frame) *Error {
	if len(c.info.Inputs) == 1 {
		a := f.values()
		return c.put(req, 0, &a, "the columns")
	}
	for i := range c.info.Inputs {
		name := c.info.Inputs[i].Name
		col, err := f.find(name)
		if err != nil {
			return err
		}
		if col == nil {
			return Invalidf(name, "the model takes this column, which is not there")
		}
		a := col.array()
		if err := c.put(req, i, &a, name); err != nil {
			return err
		}
	}
	return nil
}

func (c *Codec) deliverDict(req *Request, dict []entry) *Error {
	for k := range dict {
		if !slices.ContainsFunc(c.info.Inputs, func(s Spec) bool { return s.Name == dict[k].name }) {
			return Invalidf(dict[k].name, "the model has no such input; it has %s", names(c.info.Inputs))
		}
	}
	for i := range c.info.Inputs {
		name := c.info.Inputs[i].Name
		k := slices.IndexFunc(dict, func(e entry) bool { return e.name == name })
		if k < 0 {
			return Invalidf(name, "the model's input is missing")
		}
		if err := c.put(req, i, &dict[k].array, name); err != nil {
			return err
		}
	}
	return nil
}

func names(specs []Spec) string {
	s := make([]string, len(specs))
	for i := range specs {
		s[i] = specs[i].Name
	}
	return fmt.Sprintf("%q", s)
}
