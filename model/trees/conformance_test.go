package trees_test

import (
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/model/modeltest"
	"github.com/millrace/millrace/model/trees/treestest"
)

func TestConformance(t *testing.T) {
	for _, name := range []string{"lgb-multiclass-iris", "lgb-categories", "xgb-multi-softprob", "xgb-classifier-iris", "xgb-classifier-two", "xgb-regressor"} {
		t.Run(name, func(t *testing.T) {
			c, err := treestest.Read(filepath.Join("testdata", "lightgbm-4.7-xgboost-3.2", name))
			require.NoError(t, err)
			m, err := c.Open()
			require.NoError(t, err)
			modeltest.Conformance(t, modeltest.Case{
				Open: func(t *testing.T) model.Model {
					t.Helper()
					m, err := c.Open()
					require.NoError(t, err)
					return m
				},
				Rows: func(n int) []model.Tensor { return []model.Tensor{rows(m.Info().Inputs[0], n)} },
			})
		})
	}
}

// rows are n that differ from each other, the same ones for each call.
func rows(spec model.Spec, n int) model.Tensor {
	r := rand.New(rand.NewPCG(1, 2))
	t := model.Tensor{Name: spec.Name, DType: spec.DType, Shape: []int64{int64(n), spec.Shape[1]}}
	narrow, wide := make([]float32, t.Shape[0]*t.Shape[1]), make([]float64, t.Shape[0]*t.Shape[1])
	for i := range wide {
		wide[i] = r.Float64() * 8
		narrow[i] = float32(wide[i])
	}
	if t.Data = model.BytesOf(wide); spec.DType == model.Float32 {
		t.Data = model.BytesOf(narrow)
	}
	return t
}
