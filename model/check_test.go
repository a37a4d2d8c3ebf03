package model_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model"
)

func TestCheckInputs(t *testing.T) {
	specs := []model.Spec{{Name: "x", DType: model.Float32, Shape: []int64{-1, 2}}, {Name: "s", DType: model.String}}
	good := func() []model.Tensor {
		return []model.Tensor{
			{DType: model.Float32, Shape: []int64{3, 2}, Data: make([]byte, 24)},
			{DType: model.String, Shape: []int64{1, 1}, Strings: []string{"a"}},
		}
	}
	require.NoError(t, model.CheckInputs(specs, good()))
	for want, change := range map[string]func(in []model.Tensor) []model.Tensor{
		"the model takes 2 inputs, not 1": func(in []model.Tensor) []model.Tensor { return in[:1] },
		"type float64, the model takes float32": func(in []model.Tensor) []model.Tensor {
			in[0].DType = model.Float64
			return in
		},
		"shape [3], the model takes [-1 2]": func(in []model.Tensor) []model.Tensor {
			in[0].Shape = []int64{3}
			return in
		},
		"shape [3 4], the model takes [-1 2]": func(in []model.Tensor) []model.Tensor {
			in[0].Shape = []int64{3, 4}
			return in
		},
		"a negative dimension": func(in []model.Tensor) []model.Tensor {
			in[0].Shape = []int64{-3, 2}
			return in
		},
		"the data does not fill shape [4 2]": func(in []model.Tensor) []model.Tensor {
			in[0].Shape = []int64{4, 2}
			return in
		},
		"the data does not fill shape [2]": func(in []model.Tensor) []model.Tensor {
			in[1].Shape = []int64{2}
			return in
		},
		"holds more than": func(in []model.Tensor) []model.Tensor {
			in[1].Shape = []int64{1 << 40, 1 << 40}
			return in
		},
	} {
		err := model.CheckInputs(specs, change(good()))
		require.ErrorContains(t, err, want)
		require.Equal(t, model.InvalidInput, model.AsError(err).Code)
	}
}
