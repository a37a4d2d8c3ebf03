package remote

import (
	"math"

	"github.com/millrace/millrace/model"
)

// checkInputs holds inputs against what the model declares.
func checkInputs(specs []model.Spec, inputs []model.Tensor) error {
	if len(inputs) != len(specs) {
		return model.Invalidf("inputs", "the model takes %d inputs, not %d", len(specs), len(inputs))
	}
	for i := range inputs {
		spec, t := &specs[i], &inputs[i]
		if t.DType != spec.DType {
			return model.Invalidf(spec.Name, "type %s, the model takes %s", t.DType, spec.DType)
		}
		if !fits(spec.Shape, t.Shape) {
			return model.Invalidf(spec.Name, "shape %v, the model takes %v", t.Shape, spec.Shape)
		}
		n, err := model.Elements(t.Shape, math.MaxInt64/16)
		if err != nil {
			return model.Invalidf(spec.Name, "%w", err)
		}
		have := int64(len(t.Strings))
		if t.DType != model.String {
			have, n = int64(len(t.Data)), n*int64(t.DType.Size())
		}
		if have != n {
			return model.Invalidf(spec.Name, "the data does not fill shape %v", t.Shape)
		}
	}
	return nil
}

// fits says whether a shape is one that the model declares.
func fits(declared, shape []int64) bool {
	if declared == nil {
		return true
	}
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
