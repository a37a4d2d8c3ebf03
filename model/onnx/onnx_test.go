//go:build cgo

package onnx_test

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/model/onnx"
	"github.com/millrace/millrace/model/onnx/onnxtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func write(tb testing.TB, data []byte) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "model.onnx")
	require.NoError(tb, os.WriteFile(path, data, 0o600))
	return path
}

func open(tb testing.TB, data []byte, opts onnx.Options) *onnx.Model {
	tb.Helper()
	m, err := onnx.Open(context.Background(), write(tb, data), opts)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, m.Close()) })
	return m
}

func tensor[T model.Element](d model.DType, data []T, shape ...int64) model.Tensor {
	if shape == nil {
		shape = []int64{}
	}
	return model.Tensor{Name: "X", DType: d, Shape: shape, Data: model.BytesOf(data)}
}

func TestVersionModel(t *testing.T) {
	m := open(t, onnxtest.Version(7), onnx.Options{})
	require.Equal(t, []model.Spec{{Name: "X", DType: model.Float32, Shape: []int64{-1, 4}}}, m.Info().Inputs)
	require.Equal(t, []model.Spec{{Name: "Y", DType: model.Float32, Shape: []int64{-1, 2}}}, m.Info().Outputs)
	// Sizes on both sides of what is copied, small after large, and again.
	for _, n := range []int64{1, 3, 2, 3, 600, 5, 1000, 1} {
		in := make([]float32, 4*n)
		for i := range in {
			in[i] = float32(i)
		}
		out, err := m.Predict(t.Context(), []model.Tensor{tensor(model.Float32, in, n, 4)})
		require.NoError(t, err)
		require.Equal(t, []int64{n, 2}, out[0].Shape)
		for row, y := range model.View[float32](&out[0]) {
			want := float32(7)
			if row%2 == 0 {
				want = float32(4*4*(row/2) + 6)
			}
			require.InDelta(t, want, y, 0)
		}
	}
}

// Every type, in every way that outputs are taken: the first run of a model has
// them allocated by the runtime, later ones are handed memory.
func TestIdentityOfEveryType(t *testing.T) {
	for _, c := range []struct {
		elem int64
		in   model.Tensor
	}{
		{onnxtest.Float, tensor(model.Float32, []float32{1.5, -2, float32(math.Inf(1))}, 3, 1)},
		{onnxtest.Double, tensor(model.Float64, []float64{1.5, -2, math.MaxFloat64}, 3, 1)},
		{onnxtest.Int8, tensor(model.Int8, []int8{1, -2, 127}, 3, 1)},
		{onnxtest.Int16, tensor(model.Int16, []int16{1, -2, 127}, 3, 1)},
		{onnxtest.Int32, tensor(model.Int32, []int32{1, -2, 127}, 3, 1)},
		{onnxtest.Int64, tensor(model.Int64, []int64{1, -2, math.MaxInt64}, 3, 1)},
		{onnxtest.Uint8, tensor(model.Uint8, []uint8{1, 2, 255}, 3, 1)},
		{onnxtest.Uint16, tensor(model.Uint16, []uint16{1, 2, 255}, 3, 1)},
		{onnxtest.Uint32, tensor(model.Uint32, []uint32{1, 2, 255}, 3, 1)},
		{onnxtest.Uint64, tensor(model.Uint64, []uint64{1, 2, math.MaxUint64}, 3, 1)},
		{onnxtest.Bool, tensor(model.Bool, []bool{true, false, true}, 3, 1)},
		// one, minus zero, the smallest subnormal, the largest subnormal, the largest, infinity, not a number
		{onnxtest.Float16, tensor(model.Float16, []uint16{0x3c00, 0x8000, 0x0001, 0x03ff, 0x7bff, 0xfc00, 0x7e00}, 7, 1)},
		{onnxtest.String, model.Tensor{DType: model.String, Shape: []int64{3, 1}, Strings: []string{"", "é", "long enough to be on the heap"}}},
	} {
		t.Run(c.in.DType.String(), func(t *testing.T) {
			m := open(t, onnxtest.Identity(c.elem, -1, 1), onnx.Options{Lanes: 1})
			for range 3 {
				out, err := m.Predict(t.Context(), []model.Tensor{c.in})
				require.NoError(t, err)
				require.Equal(t, model.Tensor{Name: "Y", DType: c.in.DType, Shape: c.in.Shape, Data: c.in.Data, Strings: c.in.Strings}, out[0])
			}
			scalar := c.in
			scalar.Shape = []int64{}
			if c.in.DType == model.String {
				scalar.Strings = c.in.Strings[2:]
			} else {
				scalar.Data = c.in.Data[:c.in.DType.Size()]
			}
			m = open(t, onnxtest.Identity(c.elem), onnx.Options{Lanes: 1})
			for range 2 {
				out, err := m.Predict(t.Context(), []model.Tensor{scalar})
				require.NoError(t, err)
				require.Equal(t, model.Tensor{Name: "Y", DType: c.in.DType, Shape: []int64{}, Data: scalar.Data, Strings: scalar.Strings}, out[0])
			}
		})
	}
}

func TestSeveralInputsAndOutputs(t *testing.T) {
	m := open(t, onnxtest.Multi(), onnx.Options{})
	for range 3 {
		out, err := m.Predict(t.Context(), []model.Tensor{
			tensor(model.Float32, []float32{1, 2, 3, 4}, 2, 2), tensor(model.Int64, []int64{10, 20}, 2),
		})
		require.NoError(t, err)
		require.Equal(t, []float32{13, 27}, model.View[float32](&out[0]))
		require.Equal(t, []int64{20, 40}, model.View[int64](&out[1]))
	}
}

func TestZipMapIsGoneRound(t *testing.T) {
	for _, strings := range []bool{false, true} {
		m := open(t, onnxtest.Classifier(strings), onnx.Options{})
		for n := int64(1); n < 4; n++ {
			out, err := m.Predict(t.Context(), []model.Tensor{tensor(model.Float32, []float32{1, 1, 5, 5, 2, 2}[:2*n], n, 2)})
			require.NoError(t, err)
			require.Equal(t, "probabilities", out[1].Name)
			require.Equal(t, []int64{n, 2}, out[1].Shape)
			require.InDelta(t, 0.5, model.View[float32](&out[1])[0], 1e-6)
			want := []string{"3", "7"}
			if strings {
				want = []string{"cat", "dog"}
			}
			require.Equal(t, want, out[1].Labels)
		}
	}
}

func TestFixedOutputOfABatch(t *testing.T) {
	m := open(t, onnxtest.Total(), onnx.Options{})
	for _, n := range []int64{2, 1, 3} {
		in := []float32{1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3}
		out, err := m.Predict(t.Context(), []model.Tensor{tensor(model.Float32, in[:4*n], n, 4)})
		require.NoError(t, err)
		require.Equal(t, []int64{1, 4}, out[0].Shape)
		require.InDelta(t, n*(n+1)/2, model.View[float32](&out[0])[0], 0)
	}
}

// A shape that depends on the data is found out although the first run looked
// as if the rows were in it.
func TestShapeThatDependsOnData(t *testing.T) {
	m := open(t, onnxtest.Graph{
		Inputs:  []onnxtest.Value{{Name: "X", Elem: onnxtest.Float, Dims: []int64{-1}}},
		Outputs: []onnxtest.Value{{Name: "Y", Elem: onnxtest.Int64, Dims: []int64{-1, -1}}},
		Nodes:   []onnxtest.Node{{Op: "NonZero", In: []string{"X"}, Out: []string{"Y"}}},
	}.Bytes(), onnx.Options{})
	for _, c := range []struct {
		in    []float32
		shape []int64
	}{{[]float32{1, 1}, []int64{1, 2}}, {[]float32{0, 1, 0}, []int64{1, 1}}, {[]float32{1, 1, 1, 1}, []int64{1, 4}}, {[]float32{0, 0}, []int64{1, 0}}} {
		out, err := m.Predict(t.Context(), []model.Tensor{tensor(model.Float32, c.in, int64(len(c.in)))})
		require.NoError(t, err)
		require.Equal(t, c.shape, out[0].Shape)
	}
}

func TestInputThatDoesNotFit(t *testing.T) {
	m := open(t, onnxtest.Version(1), onnx.Options{})
	good := tensor(model.Float32, []float32{1, 2, 3, 4}, 1, 4)
	for name, in := range map[string][]model.Tensor{
		"type":      {tensor(model.Float64, []float64{1, 2, 3, 4}, 1, 4)},
		"rank":      {tensor(model.Float32, []float32{1, 2, 3, 4}, 4)},
		"dimension": {tensor(model.Float32, []float32{1, 2, 3, 4}, 2, 2)},
		"negative":  {tensor(model.Float32, []float32{1, 2, 3, 4}, -1, 4)},
		"too short": {tensor(model.Float32, []float32{1, 2, 3}, 1, 4)},
		"too long":  {tensor(model.Float32, []float32{1, 2, 3, 4, 5}, 1, 4)},
		"too many":  {good, good},
		"none":      nil,
	} {
		_, err := m.Predict(t.Context(), in)
		var e *model.Error
		require.ErrorAs(t, err, &e, name)
		require.Equal(t, model.InvalidInput, e.Code, name)
	}
	_, err := m.Predict(t.Context(), []model.Tensor{good})
	require.NoError(t, err)
}

func TestFailingRow(t *testing.T) {
	m := open(t, onnxtest.Picky(), onnx.Options{})
	for range 2 {
		out, err := m.Predict(t.Context(), []model.Tensor{tensor(model.Float32, []float32{3, 4}, 2, 1)})
		require.NoError(t, err)
		require.Equal(t, []float32{6, 8}, model.View[float32](&out[0]))
		_, err = m.Predict(t.Context(), []model.Tensor{tensor(model.Float32, []float32{3, 400}, 2, 1)})
		var e *model.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, model.Failed, e.Code)
		require.NotContains(t, e.Message, "Error running network")
	}
}

func TestCancelled(t *testing.T) {
	m := open(t, onnxtest.Slow(3000), onnx.Options{Lanes: 1})
	const rows = 1 << 15 // minutes of work
	in := []model.Tensor{tensor(model.Float32, make([]float32, rows), rows, 1)}
	cause := errors.New("no longer wanted")
	ctx, cancel := context.WithCancelCause(t.Context())
	timer := time.AfterFunc(100*time.Millisecond, func() { cancel(cause) })
	defer timer.Stop()
	_, err := m.Predict(ctx, in)
	require.ErrorIs(t, err, cause, "it was not worked to its end")
	_, err = m.Predict(ctx, in)
	require.ErrorIs(t, err, cause)

	_, err = m.Predict(t.Context(), []model.Tensor{tensor(model.Float32, []float32{1}, 1, 1)})
	require.NoError(t, err, "the lane is usable again")
}

// TestStuck holds that a model which hangs lets go when it is no longer waited
// for.
func TestStuck(t *testing.T) {
	m := open(t, onnxtest.Stuck(3), onnx.Options{Lanes: 1})
	ok := []model.Tensor{tensor(model.Float32, []float32{1, 2, 3, 4, 5, 6, 7, 8}, 2, 4)}
	out, err := m.Predict(t.Context(), ok)
	require.NoError(t, err)
	require.Equal(t, []float32{10, 3, 26, 3}, model.View[float32](&out[0]))

	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = m.Predict(ctx, []model.Tensor{tensor(model.Float32, []float32{1, 2, 3, onnxtest.StuckOn}, 1, 4)})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = m.Predict(t.Context(), ok)
	require.NoError(t, err, "the lane is usable again")
}

func TestCloseWaitsForCalls(t *testing.T) {
	m, err := onnx.Open(t.Context(), write(t, onnxtest.MLP(1)), onnx.Options{Lanes: 2})
	require.NoError(t, err)
	in := []model.Tensor{tensor(model.Float32, make([]float32, 32*64), 64, 32)}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				if _, err := m.Predict(t.Context(), in); err != nil {
					require.ErrorIs(t, err, onnx.ErrClosed)
					return
				}
			}
		})
	}
	_, err = m.Predict(t.Context(), in)
	require.NoError(t, err)
	require.NoError(t, m.Close())
	require.NoError(t, m.Close())
	wg.Wait()
}

func TestRefusedModels(t *testing.T) {
	broken := onnxtest.Graph{
		Inputs:  []onnxtest.Value{{Name: "X", Elem: onnxtest.Float, Dims: []int64{-1}}},
		Outputs: []onnxtest.Value{{Name: "Y", Elem: onnxtest.Float, Dims: []int64{-1}}},
		Nodes:   []onnxtest.Node{{Op: "Frobnicate", Domain: "com.example", In: []string{"X"}, Out: []string{"Y"}}},
	}
	seq := onnxtest.Graph{
		Inputs:  []onnxtest.Value{{Name: "X", Elem: onnxtest.Float, Dims: []int64{-1}}},
		Outputs: []onnxtest.Value{{Name: "Y", Elem: onnxtest.Int64, Kind: "sequence of maps"}},
		Nodes:   []onnxtest.Node{{Op: "SequenceConstruct", In: []string{"X"}, Out: []string{"Y"}}},
	}
	dictionary := seq
	dictionary.Outputs = []onnxtest.Value{{Name: "Y", Elem: onnxtest.Float, Kind: "map"}}
	given := seq
	given.Inputs = []onnxtest.Value{{Name: "X", Elem: onnxtest.Float, Kind: "sequence"}}
	unknown := broken
	unknown.Nodes = []onnxtest.Node{{Op: "Frobnicate", In: []string{"X"}, Out: []string{"Y"}}}
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"empty":            {nil, "holds no graph"},
		"text":             {[]byte("<html>not found</html>"), "not an ONNX model"},
		"cut short":        {onnxtest.MLP(1)[:5000], "not an ONNX model"},
		"unknown domain":   {broken.Bytes(), "com.example"},
		"unknown operator": {unknown.Bytes(), "Frobnicate"},
		"sequence of maps": {seq.Bytes(), `output "Y" is a sequence of maps: only`},
		"map":              {dictionary.Bytes(), `output "Y" is a map`},
		"sequence taken":   {given.Bytes(), `input "X" is a sequence of tensors: only tensors`},
		"complex elements": {onnxtest.Identity(14, -1), `input "X" is of complex64`},
		"bfloat16":         {onnxtest.Identity(16, -1), `input "X" is of bfloat16, which is not supported`},
		"float8":           {onnxtest.Identity(17, -1), "float8e4m3fn"},
		"int4":             {onnxtest.Identity(22, -1), "int4"},
		"no type":          {onnxtest.Identity(0, -1), "element type 0"},
		"future opset":     {onnxtest.Graph{Opset: 999, Inputs: seq.Inputs, Outputs: seq.Inputs, Nodes: nil}.Bytes(), "opset"},
	} {
		_, err := onnx.Open(t.Context(), write(t, c.data), onnx.Options{})
		require.ErrorContains(t, err, c.want, name)
		require.NotContains(t, err.Error(), "\n", name)
	}
	_, err := onnx.Open(t.Context(), filepath.Join(t.TempDir(), "model.onnx"), onnx.Options{})
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestExternalData(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(outside, make([]byte, 64), 0o600))
	for name, c := range map[string]struct {
		location string
		put      func(dir string, data []byte) error
		want     string
	}{
		"beside": {"weights", func(dir string, data []byte) error {
			return os.WriteFile(filepath.Join(dir, "weights"), data, 0o600)
		}, ""},
		"missing": {"weights", nil, "is missing"},
		"short": {"weights", func(dir string, data []byte) error {
			return os.WriteFile(filepath.Join(dir, "weights"), data[:12], 0o600)
		}, "too short"},
		"absolute": {outside, nil, "outside the model's folder"},
		"above":    {"../secret", nil, "outside the model's folder"},
		"link": {"weights", func(dir string, _ []byte) error {
			return os.Symlink(outside, filepath.Join(dir, "weights"))
		}, "outside the model's folder"},
		"directory": {"weights", func(dir string, _ []byte) error {
			return os.Mkdir(filepath.Join(dir, "weights"), 0o700)
		}, "not a file"},
	} {
		t.Run(name, func(t *testing.T) {
			data, weights := onnxtest.External(c.location)
			path := write(t, data)
			if c.put != nil {
				require.NoError(t, c.put(filepath.Dir(path), weights))
			}
			m, err := onnx.Open(t.Context(), path, onnx.Options{})
			if c.want != "" {
				require.ErrorContains(t, err, c.want)
				return
			}
			require.NoError(t, err)
			out, err := m.Predict(t.Context(), []model.Tensor{tensor(model.Float32, []float32{1, 2, 3, 4}, 1, 4)})
			require.NoError(t, err)
			require.Equal(t, []float32{2, 3, 4, 5}, model.View[float32](&out[0]))
			require.NoError(t, m.Close())
		})
	}
}

// A model that somebody forgets to close is a leak, and no more.
func TestForgottenModel(t *testing.T) {
	func() {
		m, err := onnx.Open(t.Context(), write(t, onnxtest.Version(1)), onnx.Options{})
		require.NoError(t, err)
		for range 2 {
			_, err = m.Predict(t.Context(), []model.Tensor{tensor(model.Float32, make([]float32, 8), 2, 4)})
			require.NoError(t, err)
		}
	}()
	for range 3 {
		runtime.GC()
	}
}
