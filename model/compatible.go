package model

import (
	"errors"
	"fmt"
)

// Compatible says why requests that a model with the signature current takes,
// or readers of its answers, would break on one with the signature next; nil
// when they would not.
//
// A request breaks when it is refused, or when part of it is ignored without a
// word: so an input or parameter may not go, a type may only widen (integer to
// long or double, float to double, all to any), a tensor's dimensions may only
// become variable, and what is new has to be optional. A reader breaks when an
// output goes or changes its type or shape. What a signature does not declare
// is not compared; but the loss of the declared inputs counts, since values are
// cast by them.
func Compatible(current, next *Signature) error {
	if current == nil {
		return nil
	}
	if next == nil {
		next = &Signature{}
	}
	if len(current.inputs) > 0 {
		if err := compatibleInputs(current.inputs, next.inputs); err != nil {
			return err
		}
	}
	if len(next.outputs) > 0 {
		if err := compatibleOutputs(current.outputs, next.outputs); err != nil {
			return err
		}
	}
	return compatibleParams(current.params, next.params)
}

func compatibleInputs(current, next []field) error {
	switch {
	case len(next) == 0:
		return errors.New("inputs are no longer declared")
	case current[0].tensor != next[0].tensor:
		return errors.New("inputs change between columns and tensors")
	case current[0].named != next[0].named:
		return errors.New("inputs change between having names and having none")
	}
	for i := range next {
		n := &next[i]
		switch c := counterpart(current, n, i); {
		case c == nil && n.required:
			return fmt.Errorf("input %s is new and required", n.label(i))
		case c == nil:
		case n.required && !c.required:
			return fmt.Errorf("input %s becomes required", n.label(i))
		case n.tensor && (n.dtype != c.dtype || !wider(c.shape, n.shape)), !n.tensor && !n.typ.takes(&c.typ):
			return fmt.Errorf("input %s changes from %s to %s", n.label(i), c.text(), n.text())
		}
	}
	for i := range current {
		if counterpart(next, &current[i], i) == nil {
			return fmt.Errorf("input %s is gone", current[i].label(i))
		}
	}
	return nil
}

func compatibleOutputs(current, next []field) error {
	for i := range current {
		c := &current[i]
		n := counterpart(next, c, i)
		if n == nil {
			return fmt.Errorf("output %s is gone", c.label(i))
		}
		if n.text() != c.text() {
			return fmt.Errorf("output %s changes from %s to %s", c.label(i), c.text(), n.text())
		}
		if c.required && !n.required {
			return fmt.Errorf("output %s becomes optional", c.label(i))
		}
	}
	return nil
}

func compatibleParams(current, next []param) error {
	after := make(map[string]*param, len(next))
	for i := range next {
		after[next[i].name] = &next[i]
	}
	for i := range current {
		c := &current[i]
		n := after[c.name]
		if n == nil {
			return fmt.Errorf("parameter %s is gone", nameOf(c.name))
		}
		if n.list != c.list || !n.typ.takes(&c.typ) {
			return fmt.Errorf("parameter %s changes from %s to %s", nameOf(c.name), c.typ.String(), n.typ.String())
		}
	}
	return nil
}

// counterpart finds f, the i-th of its own list, in another list: by name, or
// by place when there are no names.
func counterpart(in []field, f *field, i int) *field {
	for j := range in {
		if f.named && in[j].named && in[j].name == f.name || !f.named && !in[j].named && i == j {
			return &in[j]
		}
	}
	return nil
}

// wider says whether every shape that fits old fits the new one.
func wider(old, shape []int64) bool {
	if len(old) != len(shape) {
		return false
	}
	for i, d := range shape {
		if d != -1 && d != old[i] {
			return false
		}
	}
	return true
}

func (f *field) text() string {
	if f.tensor {
		return f.typeName() + shapeText(f.shape)
	}
	return f.typeName()
}

func (f *field) label(i int) string {
	if f.named {
		return nameOf(f.name)
	}
	return fmt.Sprintf("number %d", i+1)
}
