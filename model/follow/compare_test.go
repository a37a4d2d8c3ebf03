package follow_test

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/model/follow"
)

// formula is a model of two numbers a row.
type formula struct {
	fakeModel
	f func(x, y float64) ([]float64, error)
}

func (*formula) Info() model.Info {
	return model.Info{
		Inputs:  []model.Spec{{Name: "X", DType: model.Float64, Shape: []int64{-1, 2}}},
		Outputs: []model.Spec{{Name: "Y", DType: model.Float64, Shape: []int64{-1, -1}}},
	}
}

func (m *formula) Predict(_ context.Context, in []model.Tensor) ([]model.Tensor, error) {
	if m.f == nil {
		panic("no formula")
	}
	x := model.View[float64](&in[0])
	out, err := m.f(x[0], x[1])
	if err != nil {
		return nil, err
	}
	return []model.Tensor{{Name: "Y", DType: model.Float64, Shape: []int64{1, int64(len(out))}, Data: model.BytesOf(out)}}, nil
}

func plus(k float64) func(x, y float64) ([]float64, error) {
	return func(x, y float64) ([]float64, error) { return []float64{x + k, y + k}, nil }
}

func snapshot(t *testing.T, r follow.Resolved, f func(x, y float64) ([]float64, error), example string) *model.Snapshot {
	t.Helper()
	m := &formula{f: f}
	signature, err := model.ParseSignature(`[{"name": "X", "type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2]}}]`, "", "")
	require.NoError(t, err)
	codec, err := model.NewCodec(signature, m.Info(), model.Limits{MaxRows: 10, MaxElements: 100})
	require.NoError(t, err)
	s := &model.Snapshot{Name: r.Name, Version: r.Version, Identity: r.Identity, Codec: codec, Model: m}
	if example != "" {
		s.Example = []byte(example)
	}
	return model.Open(s)
}

func TestComparison(t *testing.T) {
	const one, other, broken = `{"inputs": [[3.0, 4.0]]}`, `{"inputs": [[6.0, 8.0]]}`, `{"inputs": [[1.0]]}`
	type version struct {
		f       func(x, y float64) ([]float64, error)
		example string
	}
	only := func(want float64, err error) func(x, y float64) ([]float64, error) {
		return func(x, y float64) ([]float64, error) {
			if x != want {
				return nil, err
			}
			return []float64{x, y}, nil
		}
	}
	fails := errors.New("no such operator")
	for name, c := range map[string]struct {
		cfg      follow.Config
		now, new version
		result   string
		distance float64
		says     string // of a refusal
	}{
		"the same":            {now: version{plus(0), one}, new: version{plus(0), one}, result: follow.ResultCompared},
		"a tenth":             {now: version{plus(0), one}, new: version{func(x, y float64) ([]float64, error) { return []float64{x * .9, y * .9}, nil }, one}, result: follow.ResultCompared, distance: .1},
		"the opposite":        {now: version{plus(0), one}, new: version{func(x, y float64) ([]float64, error) { return []float64{-x, -y}, nil }, one}, result: follow.ResultCompared, distance: 2},
		"the larger of two":   {now: version{plus(0), one}, new: version{func(x, y float64) ([]float64, error) { return []float64{x, y + x - 3}, nil }, other}, result: follow.ResultCompared, distance: 3 / math.Hypot(6, 11)},
		"beyond squares":      {now: version{func(_, _ float64) ([]float64, error) { return []float64{1e200}, nil }, one}, new: version{func(_, _ float64) ([]float64, error) { return []float64{-1e200}, nil }, one}, result: follow.ResultCompared, distance: 2},
		"too far":             {cfg: follow.Config{MaxDrift: .05}, now: version{plus(0), one}, new: version{plus(1), one}, result: follow.ResultRefused, distance: math.Sqrt2 / math.Hypot(4, 5), says: "more than MILLRACE_MODEL_MAX_DRIFT=0.05"},
		"another shape":       {now: version{plus(0), one}, new: version{func(x, _ float64) ([]float64, error) { return []float64{x}, nil }, one}, result: follow.ResultOther},
		"no example":          {now: version{plus(0), ""}, new: version{nil, ""}, result: follow.ResultNothing},
		"NaN":                 {now: version{plus(0), one}, new: version{func(x, _ float64) ([]float64, error) { return []float64{x, math.NaN()}, nil }, one}, result: follow.ResultRefused, says: "predictions.Y is NaN or infinite"},
		"NaN before":          {now: version{func(x, _ float64) ([]float64, error) { return []float64{x, math.Inf(1)}, nil }, one}, new: version{plus(0), one}, result: follow.ResultCompared, distance: 1},
		"NaN in both":         {now: version{func(x, _ float64) ([]float64, error) { return []float64{x, math.NaN()}, nil }, one}, new: version{func(x, _ float64) ([]float64, error) { return []float64{x, math.NaN()}, nil }, one}, result: follow.ResultCompared},
		"fails on its own":    {now: version{plus(0), one}, new: version{only(3, fails), other}, result: follow.ResultRefused, says: "it fails on its own input example: no such operator"},
		"fails on the other":  {now: version{plus(0), one}, new: version{only(6, fails), other}, result: follow.ResultRefused, says: "an input example that the current version answers: no such operator"},
		"panics":              {now: version{plus(0), one}, new: version{nil, one}, result: follow.ResultRefused, says: "panic: no formula"},
		"refuses the other":   {now: version{plus(0), one}, new: version{only(6, model.Errorf(model.InvalidInput, "too small")), other}, result: follow.ResultRefused, says: "too small"},
		"may refuse it":       {cfg: follow.Config{AllowBreaking: true}, now: version{plus(0), one}, new: version{only(6, model.Errorf(model.InvalidInput, "too small")), other}, result: follow.ResultCompared},
		"an example of none":  {now: version{plus(0), one}, new: version{plus(0), broken}, result: follow.ResultCompared},
		"the current one too": {now: version{only(0, fails), one}, new: version{plus(0), one}, result: follow.ResultNothing},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &registry{}
				r.set("1", "id1", nil)
				cfg := c.cfg
				cfg.Compare, cfg.Poll, cfg.RetryMin, cfg.RetryMax, cfg.LoadTimeout = true, 10*time.Second, time.Second, time.Minute, time.Hour
				told := -1.0
				f, err := follow.New(cfg, follow.Deps{
					Targets: []follow.Target{{Reference: "x", Resolve: r.resolve, Load: func(_ context.Context, v follow.Resolved) (*model.Snapshot, error) {
						if v.Version == "1" {
							return snapshot(t, v, c.now.f, c.now.example), nil
						}
						return snapshot(t, v, c.new.f, c.new.example), nil
					}}},
					Observer: follow.Observer{Compared: func(_ string, d float64) { told = d }},
				})
				require.NoError(t, err)
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- f.Run(ctx) }()
				time.Sleep(time.Second)
				r.set("2", "id2", nil)
				time.Sleep(15 * time.Second)
				synctest.Wait()
				got := f.Status()[0]
				require.Equal(t, c.result, got.Comparison.Result, got.Comparison.Detail)
				require.Equal(t, []string{"2", "1"}, []string{got.Comparison.Version, got.Comparison.Against})
				require.InDelta(t, c.distance, got.Comparison.Distance, 1e-9)
				if c.result == follow.ResultRefused {
					require.Equal(t, "1", got.Version)
					require.Contains(t, got.Comparison.Detail, c.says)
					require.Contains(t, got.LastError, c.says)
					last := got.History[len(got.History)-1]
					require.Equal(t, follow.StepRefused, last.Step)
					require.Contains(t, last.Detail, c.says)
				} else {
					require.Equal(t, "2", got.Version, got.LastError)
				}
				if c.result == follow.ResultCompared {
					require.InDelta(t, c.distance, told, 1e-9)
				} else {
					require.InDelta(t, -1, told, 0)
				}
				cancel()
				require.NoError(t, <-ended)
			})
		})
	}
}
