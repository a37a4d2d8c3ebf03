package trees

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"sync"
	"sync/atomic"

	"github.com/millrace/millrace/model"
)

// Model is a forest that answers requests. It takes one matrix, a row of
// features each, and implements [model.Model].
type Model struct {
	about  About
	info   model.Info
	run    func(ctx context.Context, in *model.Tensor) (model.Tensor, error)
	closed atomic.Bool
}

// About is what a model file says of itself.
type About struct {
	Library   string // "LightGBM" or "XGBoost"
	Version   string // of the file's format, or of the library that wrote it
	Booster   string // "gbdt", "rf", "dart", "gbtree"
	Objective string // "" for none
	Trees     int    // that are walked
	Features  []string
}

// The names of the matrices in the Open Inference Protocol are those that
// MLServer gives what has none.
const (
	inputName  = "input-1"
	outputName = "output-1"
)

// Open reads a model file: LightGBM's or XGBoost's, as library says.
func open(path string, parse func(data []byte) (*Model, error)) (*Model, error) {
	data, err := os.ReadFile(path) //nolint:gosec // the path is the caller's
	if err != nil {
		return nil, err
	}
	m, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("model file %s: %w", path, err)
	}
	return m, nil
}

// About describes the model.
func (m *Model) About() About { return m.about }

// Info implements [model.Model].
func (m *Model) Info() model.Info { return m.info }

// Predict implements [model.Model]. It computes on the caller's goroutine.
func (m *Model) Predict(ctx context.Context, inputs []model.Tensor) ([]model.Tensor, error) {
	switch {
	case m.closed.Load():
		return nil, errors.New("the model is closed")
	case len(inputs) != 1:
		return nil, model.Errorf(model.InvalidInput, "%d inputs, the model takes one matrix", len(inputs))
	}
	in := &inputs[0]
	if err := m.check(in); err != nil {
		return nil, err
	}
	out, err := m.run(ctx, in)
	if err != nil {
		return nil, err
	}
	return []model.Tensor{out}, nil
}

// check holds an input against what the model takes, so that nothing below has
// to.
func (m *Model) check(in *model.Tensor) error {
	spec := &m.info.Inputs[0]
	if in.DType != spec.DType {
		return model.Invalidf(in.Name, "%s, where the model takes %s", in.DType, spec.DType)
	}
	if len(in.Shape) != 2 || in.Shape[0] < 0 || in.Shape[1] != spec.Shape[1] {
		return model.Invalidf(in.Name, "shape %v, where the model takes rows of %d features", in.Shape, spec.Shape[1])
	}
	n, err := model.Elements(in.Shape, int64(len(in.Data)))
	if err != nil || n*int64(in.DType.Size()) != int64(len(in.Data)) {
		return model.Invalidf(in.Name, "%d bytes do not fill shape %v", len(in.Data), in.Shape)
	}
	return nil
}

// Close implements [model.Model]. There is nothing to free.
func (m *Model) Close() error {
	m.closed.Store(true)
	return nil
}

// answer is what becomes of the sums of a row.
type answer[F number] struct {
	width  int // numbers a row
	matrix bool
	// finish makes width numbers of the sums of a row's groups, in their place
	// or in front of it. nil leaves them as they are.
	finish func(sums []F)
	// labels makes the tensor's elements of all rows' numbers; nil leaves them.
	labels func(all []F, out *model.Tensor)
	dtype  model.DType
	finite bool // the library refuses infinite features

	takes model.Matrix // how requests become the matrix of features
}

// model ties a forest to its answer.
func (f *forest[K, F]) model(in model.DType, a answer[F]) *Model {
	pool := &sync.Pool{New: func() any { return new(scratch[K, F]) }}
	shape := []int64{-1}
	if a.matrix {
		shape = append(shape, int64(a.width))
	}
	m := &Model{info: model.Info{
		Array: true, Matrix: &a.takes,
		Inputs:  []model.Spec{{Name: inputName, DType: in, Shape: []int64{-1, int64(f.features)}}},
		Outputs: []model.Spec{{Name: outputName, DType: a.dtype, Shape: shape}},
	}}
	m.run = func(ctx context.Context, in *model.Tensor) (model.Tensor, error) {
		return f.predict(ctx, pool, in, &a)
	}
	return m
}

func (f *forest[K, F]) predict(ctx context.Context, pool *sync.Pool, in *model.Tensor, a *answer[F]) (model.Tensor, error) {
	x, rows := model.View[F](in), int(in.Shape[0])
	out := model.Tensor{Name: outputName, DType: a.dtype, Shape: []int64{int64(rows)}}
	if a.matrix {
		out.Shape = append(out.Shape, int64(a.width))
	}
	if a.finite {
		if i := infinite(x); i >= 0 {
			return out, model.Invalidf(in.Name, "row %d: feature %d is infinite or too large for float32, which XGBoost takes no number for", i/f.features, i%f.features)
		}
	}
	all := make([]F, rows*f.groups)
	if err := f.margins(ctx, pool, x, all); err != nil {
		return out, err
	}
	if a.finish != nil {
		for r := range rows {
			a.finish(all[r*f.groups : (r+1)*f.groups])
		}
	}
	if a.width != f.groups {
		for r := range rows {
			copy(all[r*a.width:(r+1)*a.width], all[r*f.groups:])
		}
		all = all[:rows*a.width]
	}
	if a.labels != nil {
		a.labels(all, &out)
	} else {
		out.Data = model.BytesOf(all)
	}
	return out, nil
}

// infinite returns where x is no finite number and not missing, -1 for nowhere.
func infinite[F number](x []F) int {
	for i, v := range x {
		if math.IsInf(float64(v), 0) {
			return i
		}
	}
	return -1
}
