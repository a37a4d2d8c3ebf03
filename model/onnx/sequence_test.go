//go:build cgo

package onnx_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/model/onnx"
	"github.com/millrace/millrace/model/onnx/onnxtest"
)

// sequence answers with what it gets, twice, as a sequence: what a classifier
// of two labels gives.
func sequence(elem int64, dims ...int64) []byte {
	return onnxtest.Graph{
		Inputs: []onnxtest.Value{{Name: "X", Elem: elem, Dims: dims}},
		Outputs: []onnxtest.Value{
			{Name: "Y", Elem: elem, Dims: dims, Kind: "sequence"},
			{Name: "Z", Elem: elem, Dims: dims},
		},
		Nodes: []onnxtest.Node{
			{Op: "SequenceConstruct", In: []string{"X", "X"}, Out: []string{"Y"}},
			{Op: "Identity", In: []string{"X"}, Out: []string{"Z"}},
		},
	}.Bytes()
}

func TestSequencesAreStacked(t *testing.T) {
	for _, in := range []model.Tensor{
		tensor(model.Float32, []float32{1, 2, 3, 4, 5, 6}, 3, 2),
		tensor(model.Float64, []float64{1, 2, 3, 4, 5, 6}, 3, 2),
		tensor(model.Int64, []int64{1, 2, 3, 4, 5, 6}, 3, 2),
		tensor(model.Uint8, []uint8{1, 2, 3, 4, 5, 6}, 3, 2),
		tensor(model.Bool, []bool{true, false, true, false, false, true}, 3, 2),
		tensor(model.Float16, []uint16{0x3c00, 0x8000, 0x0001, 0x03ff, 0x7bff, 0xfc00}, 3, 2),
		{DType: model.String, Shape: []int64{3, 2}, Strings: []string{"a", "", "c", "d", "e", "f"}},
	} {
		t.Run(in.DType.String(), func(t *testing.T) {
			elem := map[model.DType]int64{
				model.Float32: onnxtest.Float, model.Float64: onnxtest.Double, model.Int64: onnxtest.Int64, model.Uint8: onnxtest.Uint8,
				model.Bool: onnxtest.Bool, model.Float16: onnxtest.Float16, model.String: onnxtest.String,
			}[in.DType]
			m := open(t, sequence(elem, -1, 2), onnx.Options{})
			require.Equal(t, model.Spec{Name: "Y", DType: in.DType, Shape: []int64{2, -1, 2}}, m.Info().Outputs[0])
			for range 3 {
				for rows := int64(1); rows <= 3; rows++ {
					part := in
					part.Shape = []int64{rows, 2}
					if in.DType == model.String {
						part.Strings = in.Strings[:2*rows]
					} else {
						part.Data = in.Data[:2*rows*int64(in.DType.Size())]
					}
					out, err := m.Predict(t.Context(), []model.Tensor{part})
					require.NoError(t, err)
					require.Equal(t, "Y", out[0].Name)
					require.Equal(t, []int64{2, rows, 2}, out[0].Shape)
					require.Equal(t, append(append([]byte(nil), part.Data...), part.Data...), append([]byte(nil), out[0].Data...))
					require.Equal(t, append(append([]string(nil), part.Strings...), part.Strings...), append([]string(nil), out[0].Strings...))
					require.Equal(t, part.Shape, out[1].Shape)
				}
			}
		})
	}
}

// A sequence as long as the data says, whose tensors may differ in shape: then
// there is no one tensor, and the call fails.
func TestSequencesOfOtherMakers(t *testing.T) {
	m := open(t, onnxtest.Graph{
		Inputs:  []onnxtest.Value{{Name: "X", Elem: onnxtest.Float, Dims: []int64{-1}}},
		Outputs: []onnxtest.Value{{Name: "Y", Elem: onnxtest.Float, Dims: []int64{-1}, Kind: "sequence"}},
		Tensors: []onnxtest.Tensor{{Name: "two", Dims: []int64{}, Ints: []int64{2}}},
		Nodes:   []onnxtest.Node{{Op: "SplitToSequence", In: []string{"X", "two"}, Out: []string{"Y"}}},
	}.Bytes(), onnx.Options{})
	require.Equal(t, []int64{-1, -1}, m.Info().Outputs[0].Shape)
	for n := int64(2); n < 8; n++ {
		out, err := m.Predict(t.Context(), []model.Tensor{tensor(model.Float32, []float32{1, 2, 3, 4, 5, 6, 7}[:n], n)})
		if n%2 == 1 {
			require.Equal(t, model.Failed, model.AsError(err).Code, err)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, []int64{n / 2, 2}, out[0].Shape)
		require.Equal(t, []float32{1, 2, 3, 4, 5, 6}[:n], model.View[float32](&out[0]))
	}
}
