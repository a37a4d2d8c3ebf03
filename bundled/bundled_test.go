package bundled_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/bundled"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/model/mlflow"
	"github.com/millrace/millrace/model/onnx"
)

func TestMaterialize(t *testing.T) {
	dir := t.TempDir()
	path, err := bundled.Materialize(dir)
	require.NoError(t, err)
	require.Equal(t, bundled.Name, filepath.Base(path))
	_, err = mlflow.ReadFolder(path)
	require.NoError(t, err)

	t.Run("once", func(t *testing.T) {
		before, err := os.Stat(filepath.Join(path, "model.onnx"))
		require.NoError(t, err)
		again, err := bundled.Materialize(dir)
		require.NoError(t, err)
		require.Equal(t, path, again)
		after, err := os.Stat(filepath.Join(path, "model.onnx"))
		require.NoError(t, err)
		require.True(t, os.SameFile(before, after), "what is there is not written again")
	})
	t.Run("damaged", func(t *testing.T) {
		file := filepath.Join(path, "model.onnx")
		want, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(file, want[:100], 0o600))
		_, err = bundled.Materialize(dir)
		require.NoError(t, err)
		got, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, want, got)
	})
	left, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, left, 1, "nothing temporary stays behind")
}

func TestMaterializeAtOnce(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	errs := make(chan error, 8)
	for range cap(errs) {
		wg.Go(func() {
			_, err := bundled.Materialize(dir)
			errs <- err
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
}

func TestMaterializeFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := bundled.Materialize(file)
	require.ErrorContains(t, err, "write the bundled model")
}

func TestSize(t *testing.T) {
	path, err := bundled.Materialize(t.TempDir())
	require.NoError(t, err)
	var size int64
	entries, err := os.ReadDir(path)
	require.NoError(t, err)
	for _, e := range entries {
		info, err := e.Info()
		require.NoError(t, err)
		size += info.Size()
	}
	require.Less(t, size, int64(1<<20))
}

func TestExamples(t *testing.T) {
	all := bundled.Examples()
	require.NotEmpty(t, all)
	for i := range all {
		e := &all[i]
		require.Len(t, e.Window, 48)
		require.Len(t, e.Next, 12)
		require.Equal(t, e.Window, bundled.Window(i+len(all)))
		if i > 0 {
			require.Greater(t, e.Until, all[i-1].Until)
		}
		var body struct {
			Inputs struct{ Window [][]float32 }
		}
		require.NoError(t, json.Unmarshal(e.Body(), &body))
		require.Equal(t, [][]float32{e.Window}, body.Inputs.Window)
	}
}

// TestForecasts holds what README.md claims: over real windows the model is
// nearer to what came than the best of the naive forecasts.
func TestForecasts(t *testing.T) {
	path, err := bundled.Materialize(t.TempDir())
	require.NoError(t, err)
	folder, err := mlflow.ReadFolder(path)
	require.NoError(t, err)
	m, err := onnx.Open(t.Context(), folder.Data, onnx.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })

	all := bundled.Examples()
	var flat []float32
	for i := range all {
		flat = append(flat, all[i].Window...)
	}
	out, err := m.Predict(t.Context(), []model.Tensor{{
		Name: "window", DType: model.Float32, Shape: []int64{int64(len(all)), 48}, Data: model.BytesOf(flat),
	}})
	require.NoError(t, err)
	require.Len(t, out, 1)
	forecast := model.View[float32](&out[0])
	require.Len(t, forecast, len(all)*12)

	var ours, naive float64
	for i := range all {
		e := &all[i]
		for h, want := range e.Next {
			// The last value, and the change of the same hours a day before.
			plain := e.Window[47] + e.Window[24+h] - e.Window[23]
			ours += math.Abs(float64(forecast[12*i+h] - want))
			naive += math.Abs(float64(plain - want))
		}
	}
	n := float64(len(all) * 12)
	t.Logf("mean absolute error: ours %.2f, naive %.2f degrees Fahrenheit", ours/n, naive/n)
	require.Less(t, ours, naive)
}
