package onnx

import (
	"math"
	"strings"

	"github.com/millrace/millrace/model"
)

// checkInputs compares inputs with what the model declares, so that the
// runtime's own refusals, which carry no code through the binding, need not be
// told apart by their text.
func checkInputs(specs []model.Spec, inputs []model.Tensor) error {
	if len(inputs) != len(specs) {
		return model.Invalidf("inputs", "the model takes %d inputs, not %d", len(specs), len(inputs))
	}
	for i := range inputs {
		if err := checkInput(&specs[i], &inputs[i]); err != nil {
			return err
		}
	}
	return nil
}

func checkInput(spec *model.Spec, t *model.Tensor) error {
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
	for _, s := range t.Strings {
		if strings.IndexByte(s, 0) >= 0 { // would end the string early in C
			return model.Invalidf(spec.Name, "a string holds a zero byte")
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
