//go:build cgo

package onnx_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/model/modeltest"
	"github.com/millrace/millrace/model/onnx"
	"github.com/millrace/millrace/model/onnx/onnxtest"
)

func TestConformance(t *testing.T) {
	for name, c := range map[string]struct {
		data []byte
		rows func(n int) []model.Tensor
	}{
		"MLP": {onnxtest.MLP(1), func(n int) []model.Tensor {
			return []model.Tensor{tensor(model.Float32, varied(n*32), int64(n), 32)}
		}},
		"GRU": {onnxtest.GRU(1), func(n int) []model.Tensor {
			return []model.Tensor{tensor(model.Float32, varied(n*192), int64(n), 24, 8)}
		}},
		"several inputs": {onnxtest.Multi(), func(n int) []model.Tensor {
			ints := make([]int64, n)
			for i := range ints {
				ints[i] = int64(i)
			}
			return []model.Tensor{tensor(model.Float32, varied(n*2), int64(n), 2), tensor(model.Int64, ints, int64(n))}
		}},
		"classifier": {onnxtest.Classifier(true), func(n int) []model.Tensor {
			return []model.Tensor{tensor(model.Float32, varied(n*2), int64(n), 2)}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			modeltest.Conformance(t, modeltest.Case{
				Rows: c.rows,
				Open: func(t *testing.T) model.Model {
					t.Helper()
					return openUnmanaged(t, c.data)
				},
				Slow: func(t *testing.T) (model.Model, []model.Tensor) {
					t.Helper()
					return openUnmanaged(t, onnxtest.Slow(2000)), []model.Tensor{tensor(model.Float32, make([]float32, 512), 512, 1)}
				},
			})
		})
	}
}

func openUnmanaged(t *testing.T, data []byte) model.Model {
	t.Helper()
	m, err := onnx.Open(t.Context(), write(t, data), onnx.Options{Lanes: 2})
	require.NoError(t, err)
	return m
}

// varied makes values that differ from each other, the same ones for each call.
func varied(n int) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32((i*7919)%1000)/500 - 1
	}
	return out
}
