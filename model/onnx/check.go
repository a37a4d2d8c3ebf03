package onnx

import (
	"strings"

	"github.com/millrace/millrace/model"
)

// checkInputs compares inputs with what the model declares, so that the
// runtime's own refusals, which carry no code through the binding, need not be
// told apart by their text.
func checkInputs(specs []model.Spec, inputs []model.Tensor) error {
	if err := model.CheckInputs(specs, inputs); err != nil {
		return err
	}
	for i := range inputs {
		for _, s := range inputs[i].Strings {
			if strings.IndexByte(s, 0) >= 0 { // would end the string early in C
				return model.Invalidf(specs[i].Name, "a string holds a zero byte")
			}
		}
	}
	return nil
}
