package trees_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/model/trees"
)

// Whatever a file holds is refused, or answers: it makes no parser panic or run
// for ever, and no walk leave its forest.

func FuzzLightGBM(f *testing.F) {
	seed(f, "lgb-*", "model.lgb")
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := trees.ParseLightGBM(data)
		try(t, m, err)
	})
}

func FuzzXGBoost(f *testing.F) {
	seed(f, "xgb-*", "model.*")
	for _, s := range []string{"", "{", "{}", "{L", "binf", `{"learner": [[[[[[[[`, "{i\x01a[$d#L\x7f\xff\xff\xff\xff\xff\xff\xff", "{i\x01a[#l\x7f\xff\xff\xff", "{i\x01a[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, class := range []string{"", "xgboost.sklearn.XGBClassifier"} {
			m, err := trees.ParseXGBoost(data, class)
			try(t, m, err)
		}
	})
}

func seed(f *testing.F, pattern, file string) {
	f.Helper()
	found, err := filepath.Glob(filepath.Join("testdata", "*", pattern, file))
	require.NoError(f, err)
	require.NotEmpty(f, found)
	const small = 12 << 10
	for _, path := range found {
		data, err := os.ReadFile(path)
		require.NoError(f, err)
		if len(data) < small {
			f.Add(data)
			f.Add(data[:len(data)/2])
		}
	}
}

func try(t *testing.T, m *trees.Model, err error) {
	t.Helper()
	if err != nil {
		require.Nil(t, m)
		return
	}
	spec := m.Info().Inputs[0]
	if spec.Shape[1] > 1<<16 {
		return // rows of it are large by right
	}
	out, err := m.Predict(t.Context(), []model.Tensor{rows(spec, 13)})
	require.NoError(t, err)
	require.Equal(t, int64(13), out[0].Shape[0])
}
