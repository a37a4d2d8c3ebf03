package model

import "math"

// CheckInputs holds inputs against what a model declares, for runtimes: their
// number, and of each the type, the shape (nil fits all), and that its elements
// fill it.
func CheckInputs(specs []Spec, inputs []Tensor) error {
	if len(inputs) != len(specs) {
		return Invalidf("inputs", "the model takes %d inputs, not %d", len(specs), len(inputs))
	}
	for i := range inputs {
		spec, t := &specs[i], &inputs[i]
		if t.DType != spec.DType {
			return Invalidf(spec.Name, "type %s, the model takes %s", t.DType, spec.DType)
		}
		if !spec.Fits(t.Shape) {
			return Invalidf(spec.Name, "shape %v, the model takes %v", t.Shape, spec.Shape)
		}
		n, err := Elements(t.Shape, math.MaxInt64/16)
		if err != nil {
			return Invalidf(spec.Name, "%w", err)
		}
		have := int64(len(t.Strings))
		if t.DType != String {
			have, n = int64(len(t.Data)), n*int64(t.DType.Size())
		}
		if have != n {
			return Invalidf(spec.Name, "the data does not fill shape %v", t.Shape)
		}
	}
	return nil
}

// Fits says whether a shape is one that is declared. Where none is, any is.
func (s *Spec) Fits(shape []int64) bool { return s.Shape == nil || fits(s.Shape, shape) }
