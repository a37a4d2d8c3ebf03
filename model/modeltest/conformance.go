// Package modeltest holds the tests that every backend of models has to pass.
package modeltest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model"
)

// Case is a backend with a model to try it with.
type Case struct {
	// Open returns a new instance of a model with at least one input that is
	// not of strings and whose first dimension is the row. The suite closes it.
	Open func(t *testing.T) model.Model

	// Rows makes inputs of n rows that differ from each other; the first of
	// n rows is that of one row, and so on.
	Rows func(n int) []model.Tensor

	// Slow is Open for a model that takes long enough to be cancelled, with its
	// input; nil when the backend's calls are too short for that.
	Slow func(t *testing.T) (model.Model, []model.Tensor)
}

// Conformance runs the suite.
func Conformance(t *testing.T, c Case) {
	t.Helper()
	t.Run("info", c.info)
	t.Run("deterministic", c.deterministic)
	t.Run("batch equals singles", c.batchEqualsSingles)
	t.Run("concurrent", c.concurrent)
	t.Run("outputs are the caller's", c.outputsAreTheCallers)
	t.Run("input that does not fit", c.doesNotFit)
	t.Run("cancelled before", c.cancelledBefore)
	t.Run("cancelled while it runs", c.cancelledWhile)
	t.Run("closed", c.closed)
}

func (c Case) open(t *testing.T) model.Model {
	t.Helper()
	m := c.Open(t)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

func (c Case) info(t *testing.T) {
	info := c.open(t).Info()
	require.NotEmpty(t, info.Inputs)
	require.NotEmpty(t, info.Outputs)
	for _, s := range slices.Concat(info.Inputs, info.Outputs) {
		require.NotEmpty(t, s.Name)
		require.NotEqual(t, model.Invalid, s.DType)
	}
	in := c.Rows(2)
	require.Len(t, in, len(info.Inputs))
}

func (c Case) deterministic(t *testing.T) {
	m := c.open(t)
	first := predict(t, m, c.Rows(2))
	require.Len(t, first, len(m.Info().Outputs))
	for i, out := range first {
		require.Equal(t, m.Info().Outputs[i].Name, out.Name)
		require.Equal(t, m.Info().Outputs[i].DType, out.DType)
		n, err := model.Elements(out.Shape, 1<<40)
		require.NoError(t, err)
		require.Equal(t, int(n), out.Len())
	}
	for range 2 {
		require.Equal(t, first, predict(t, m, c.Rows(2)))
	}
}

// Rows are compared as a batch of n against the last row of a batch of n, and
// alone: floats may differ in their last digits.
func (c Case) batchEqualsSingles(t *testing.T) {
	m := c.open(t)
	for _, n := range []int{1, 2, 3, 8, 65} {
		batch := predict(t, m, c.Rows(n))
		for r := range n {
			single := predict(t, m, row(c.Rows(n), r, n))
			for i := range single {
				requireAlike(t, single[i], row(batch, r, n)[i])
			}
		}
	}
}

func (c Case) concurrent(t *testing.T) {
	m := c.open(t)
	want := make([][]model.Tensor, 9)
	for n := 1; n < len(want); n++ {
		want[n] = predict(t, m, c.Rows(n))
	}
	errs := make(chan error, 8)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 50 {
				n := 1 + (g+i)%8
				out, err := m.Predict(context.WithoutCancel(t.Context()), c.Rows(n))
				if err == nil && !equal(out, want[n]) {
					err = errors.New("another answer than alone")
				}
				if err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	require.NoError(t, <-errs)
}

func (c Case) outputsAreTheCallers(t *testing.T) {
	m := c.open(t)
	first := predict(t, m, c.Rows(3))
	kept := make([][]byte, len(first))
	for i := range first {
		kept[i] = slices.Clone(first[i].Data)
	}
	other := predict(t, m, c.Rows(5))
	for i := range other {
		clear(other[i].Data)
	}
	for i := range first {
		require.Equal(t, kept[i], first[i].Data)
	}
	require.Equal(t, first, predict(t, m, c.Rows(3)))
}

func (c Case) doesNotFit(t *testing.T) {
	m := c.open(t)
	for name, spoil := range map[string]func(t *model.Tensor){
		"type": func(t *model.Tensor) {
			t.DType = map[bool]model.DType{true: model.Int8, false: model.Float64}[t.DType == model.Float64]
		},
		"rank":     func(t *model.Tensor) { t.Shape = append(slices.Clone(t.Shape), 1, 1) },
		"negative": func(t *model.Tensor) { t.Shape = append([]int64{-1}, t.Shape[1:]...) },
		"short":    func(t *model.Tensor) { t.Data = t.Data[:len(t.Data)-1] },
	} {
		in := c.Rows(2)
		spoil(&in[0])
		_, err := m.Predict(t.Context(), in)
		var e *model.Error
		require.ErrorAs(t, err, &e, name)
		require.Equal(t, model.InvalidInput, e.Code, name)
		require.NotEmpty(t, e.Message, name)
	}
	_, err := m.Predict(t.Context(), nil)
	require.Error(t, err)
	predict(t, m, c.Rows(2))
}

func (c Case) cancelledBefore(t *testing.T) {
	m := c.open(t)
	cause := errors.New("stopped")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	_, err := m.Predict(ctx, c.Rows(1))
	require.ErrorIs(t, err, cause)
	predict(t, m, c.Rows(1))
}

func (c Case) cancelledWhile(t *testing.T) {
	if c.Slow == nil {
		return
	}
	m, in := c.Slow(t)
	cause := errors.New("stopped")
	ctx, cancel := context.WithCancelCause(t.Context())
	result := make(chan error, 1)
	go func() {
		_, err := m.Predict(ctx, in)
		result <- err
	}()
	cancel(cause)
	require.ErrorIs(t, <-result, cause)
	require.NoError(t, m.Close())
}

// Callers that come too late, or are there while the model closes, get an
// answer or an error, and never a crash.
func (c Case) closed(t *testing.T) {
	m := c.Open(t)
	var wg sync.WaitGroup
	started := make(chan struct{}, 4)
	for range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				_, err := m.Predict(context.WithoutCancel(t.Context()), c.Rows(4))
				if i == 0 {
					started <- struct{}{}
				}
				if err != nil {
					return
				}
			}
		})
	}
	for range 4 {
		<-started
	}
	require.NoError(t, m.Close())
	wg.Wait()
	_, err := m.Predict(t.Context(), c.Rows(1))
	require.Error(t, err)
}

func predict(t *testing.T, m model.Model, in []model.Tensor) []model.Tensor {
	t.Helper()
	out, err := m.Predict(t.Context(), in)
	require.NoError(t, err)
	return out
}

// row cuts row r out of tensors of n rows.
func row(ts []model.Tensor, r, n int) []model.Tensor {
	out := slices.Clone(ts)
	for i, t := range ts {
		out[i].Shape = append([]int64{1}, t.Shape[1:]...)
		if t.DType == model.String {
			each := len(t.Strings) / n
			out[i].Strings = t.Strings[r*each : (r+1)*each]
			continue
		}
		each := len(t.Data) / n
		data := model.BytesOf(make([]uint64, (each+7)/8))[:each]
		copy(data, t.Data[r*each:(r+1)*each])
		out[i].Data = data
	}
	return out
}

func equal(a, b []model.Tensor) bool {
	return slices.EqualFunc(a, b, func(x, y model.Tensor) bool {
		return slices.Equal(x.Shape, y.Shape) && slices.Equal(x.Data, y.Data) && slices.Equal(x.Strings, y.Strings)
	})
}

func requireAlike(t *testing.T, want, got model.Tensor) {
	t.Helper()
	require.Equal(t, want.Shape, got.Shape)
	switch want.DType { //nolint:exhaustive // the others are exact
	case model.Float32:
		require.InDeltaSlice(t, model.View[float32](&want), model.View[float32](&got), 1e-4)
	case model.Float64:
		require.InDeltaSlice(t, model.View[float64](&want), model.View[float64](&got), 1e-9)
	default:
		require.Equal(t, want, got)
	}
}
