//go:build cgo

package onnx_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/model/onnx"
	"github.com/millrace/millrace/model/onnx/onnxtest"
)

// Inputs differ from call to call: one that comes again and again flatters.
func BenchmarkPredict(b *testing.B) {
	for _, c := range []struct {
		name  string
		data  []byte
		shape []int64
	}{{"MLP", onnxtest.MLP(1), []int64{32}}, {"GRU", onnxtest.GRU(1), []int64{24, 8}}, {"Classifier", onnxtest.Classifier(false), []int64{2}}} {
		m := open(b, c.data, onnx.Options{Lanes: 1})
		for _, n := range []int64{1, 8, 64, 512} {
			b.Run(fmt.Sprintf("%s/rows=%d", c.name, n), func(b *testing.B) {
				inputs := variedCalls(64, append([]int64{n}, c.shape...))
				for _, rows := range []int64{2, n, n} { // the shapes of outputs are learned from more than one row
					_, err := m.Predict(b.Context(), variedCalls(1, append([]int64{rows}, c.shape...))[0])
					require.NoError(b, err)
				}
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					if _, err := m.Predict(b.Context(), inputs[i%len(inputs)]); err != nil {
						b.Fatal(err)
					}
					i++
				}
				b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
			})
		}
	}
}

func variedCalls(calls int, shape []int64) [][]model.Tensor {
	r := rand.New(rand.NewPCG(1, 2))
	n, _ := model.Elements(shape, 1<<40)
	out := make([][]model.Tensor, calls)
	for i := range out {
		data := make([]float32, n)
		for k := range data {
			data[k] = float32(r.NormFloat64())
		}
		out[i] = []model.Tensor{tensor(model.Float32, data, shape...)}
	}
	return out
}
