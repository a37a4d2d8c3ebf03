package model

import (
	"math"
	"slices"
)

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
