//go:build cgo

package load

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/model/onnx"
	"github.com/millrace/millrace/model/onnx/onnxtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestWhetherItBatchesIsFoundOut(t *testing.T) {
	for name, c := range map[string]struct {
		data []byte
		want bool
	}{
		"MLP":              {onnxtest.MLP(1), true},
		"GRU":              {onnxtest.GRU(1), true},
		"several inputs":   {onnxtest.Multi(), true},
		"classifier":       {onnxtest.Classifier(true), true},
		"version":          {onnxtest.Version(1), true},
		"looks values up":  {onnxtest.Picky(), true},
		"strings":          {onnxtest.Identity(onnxtest.String, -1), true},
		"scalars":          {onnxtest.Identity(onnxtest.Float), false},
		"fixed rows":       {onnxtest.Identity(onnxtest.Float, 1, 4), false},
		"neighbours count": {onnxtest.Neighbours(), false},
		"sum of the rows":  {onnxtest.Total(), false},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "model.onnx")
			require.NoError(t, os.WriteFile(path, c.data, 0o600))
			m, err := onnx.Open(t.Context(), path, onnx.Options{})
			require.NoError(t, err)
			ready, err := warm(t.Context(), m, nil, 10)
			require.NoError(t, err)
			require.Equal(t, c.want, ready.Info().Batches)
			require.NoError(t, ready.Close())
		})
	}
}

// counting is a model that counts calls by rows, and fails on request.
type counting struct {
	calls map[int64]int
	err   error
}

func (c *counting) Info() model.Info {
	s := []model.Spec{{Name: "X", DType: model.Float32, Shape: []int64{-1, 2}}}
	return model.Info{Inputs: s, Outputs: s}
}

func (c *counting) Predict(_ context.Context, in []model.Tensor) ([]model.Tensor, error) {
	c.calls[in[0].Shape[0]]++
	return clone(in), c.err
}

func (c *counting) Close() error { return nil }

func TestEveryBatchSizeIsWarmedTwice(t *testing.T) {
	m := &counting{calls: map[int64]int{}}
	_, err := warm(t.Context(), m, nil, 24)
	require.NoError(t, err)
	for _, n := range []int64{2, 4, 8, 16, 24} {
		require.Equal(t, 2, m.calls[n], n)
	}
	require.GreaterOrEqual(t, m.calls[1], 2)
	require.Zero(t, m.calls[32])
}

func TestFailuresWhileWarming(t *testing.T) {
	example := synthetic((&counting{}).Info().Inputs, true)[0]
	m := &counting{calls: map[int64]int{}, err: model.Errorf(model.Failed, "no such row")}
	_, err := warm(t.Context(), m, example, 4)
	require.ErrorContains(t, err, "its own input example")

	ready, err := warm(t.Context(), m, nil, 4)
	require.NoError(t, err, "nobody said that it takes made-up values")
	require.False(t, ready.Info().Batches)

	m.err = errors.New("stopped")
	_, err = warm(t.Context(), m, nil, 4)
	require.ErrorIs(t, err, m.err)
}

func TestRowsOfAnExample(t *testing.T) {
	m := &counting{calls: map[int64]int{}}
	example := []model.Tensor{{Name: "X", DType: model.Float32, Shape: []int64{5, 2}, Data: model.BytesOf([]float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10})}}
	ready, err := warm(t.Context(), m, example, 4)
	require.NoError(t, err)
	require.True(t, ready.Info().Batches)
	rows := split(example)
	require.Len(t, rows, probeRows)
	require.Equal(t, []float32{5, 6}, model.View[float32](&rows[2][0]))
	joined := join(rows, 4)
	require.Equal(t, []float32{1, 2, 3, 4, 5, 6, 1, 2}, model.View[float32](&joined[0]))
}
