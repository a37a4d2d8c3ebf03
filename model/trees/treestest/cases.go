// Package treestest holds models against what their libraries predicted, as
// integration/testdata/trees.py writes it.
package treestest

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/model/trees"
)

// Case is a model file with rows, and what its library predicts for them.
type Case struct {
	Dir      string
	Library  string  `json:"library"`
	Class    string  `json:"class"`
	File     string  `json:"file"`
	Rows     [][]num `json:"rows"`
	Expected []row   `json:"expected"`
}

// num is a number; null is NaN, and infinities are words.
type num float64

// UnmarshalJSON implements [json.Unmarshaler].
func (n *num) UnmarshalJSON(b []byte) error {
	switch string(b) {
	case "null":
		*n = num(math.NaN())
	case `"inf"`:
		*n = num(math.Inf(1))
	case `"-inf"`:
		*n = num(math.Inf(-1))
	default:
		return json.Unmarshal(b, (*float64)(n))
	}
	return nil
}

// row is the answer to a row: a list, or a single number.
type row struct {
	values []num
	single bool
}

// UnmarshalJSON implements [json.Unmarshaler].
func (r *row) UnmarshalJSON(b []byte) error {
	if b[0] == '[' {
		return json.Unmarshal(b, &r.values)
	}
	r.values, r.single = make([]num, 1), true
	return json.Unmarshal(b, &r.values[0])
}

// Read reads the case of a folder.
func Read(dir string) (*Case, error) {
	text, err := os.ReadFile(filepath.Join(dir, "case.json")) //nolint:gosec // the caller's folder
	if err != nil {
		return nil, err
	}
	c := &Case{Dir: dir}
	return c, json.Unmarshal(text, c)
}

// Open opens the case's model.
func (c *Case) Open() (*trees.Model, error) {
	path := filepath.Join(c.Dir, c.File)
	if c.Library == "lightgbm" {
		return trees.OpenLightGBM(path)
	}
	return trees.OpenXGBoost(path, c.Class)
}

// Input is the rows as the model's tensor.
func (c *Case) Input(spec model.Spec) model.Tensor {
	t := model.Tensor{Name: spec.Name, DType: spec.DType, Shape: []int64{int64(len(c.Rows)), spec.Shape[1]}}
	var flat []float64
	for _, r := range c.Rows {
		for _, x := range r {
			flat = append(flat, float64(x))
		}
	}
	t.Data = model.BytesOf(flat)
	if spec.DType == model.Float32 {
		narrow := make([]float32, len(flat))
		for i, x := range flat {
			narrow[i] = float32(x)
		}
		t.Data = model.BytesOf(narrow)
	}
	return t
}

// Run runs every case below dir, which has at least least of them. A case whose
// name says refused has a model that is.
func Run(t *testing.T, dir string, least int) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*", "case.json"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(found), least)
	for _, path := range found {
		dir := filepath.Dir(path)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			c, err := Read(dir)
			require.NoError(t, err)
			m, err := c.Open()
			if strings.Contains(filepath.Base(dir), "refused") {
				require.ErrorIs(t, err, trees.ErrUnsupported)
				return
			}
			require.NoError(t, err)
			out, err := m.Predict(t.Context(), []model.Tensor{c.Input(m.Info().Inputs[0])})
			require.NoError(t, err)
			require.NoError(t, c.compare(m, &out[0]))
		})
	}
}

func (c *Case) compare(m *trees.Model, got *model.Tensor) error {
	want := []int64{int64(len(c.Rows))}
	if !c.Expected[0].single {
		want = append(want, int64(len(c.Expected[0].values)))
	}
	if fmt.Sprint(got.Shape) != fmt.Sprint(want) || len(c.Expected) != len(c.Rows) {
		return fmt.Errorf("shape %v, where the library answers %v", got.Shape, want)
	}
	var errs []error
	values := numbers(got)
	for i := range c.Expected {
		for k, want := range c.Expected[i].values {
			x := values[i*len(c.Expected[i].values)+k]
			if !near(x, float64(want), got.DType) {
				errs = append(errs, fmt.Errorf("row %d, output %d: %v, where the library answers %v", i, k, x, float64(want)))
			}
		}
	}
	const most = 5
	if len(errs) > most {
		errs = append(errs[:most], fmt.Errorf("and %d more of %d", len(errs)-most, len(values)))
	}
	if len(errs) > 0 {
		errs = append(errs, fmt.Errorf("%+v", m.About()))
	}
	return errors.Join(errs...)
}

func numbers(t *model.Tensor) []float64 {
	switch t.DType { //nolint:exhaustive // models answer with these
	case model.Float32:
		return wide(model.View[float32](t))
	case model.Int32:
		return wide(model.View[int32](t))
	case model.Int64:
		return wide(model.View[int64](t))
	default:
		return model.View[float64](t)
	}
}

func wide[T float32 | int32 | int64](x []T) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}

// near allows what other functions exp and log, and the order of additions,
// make of the last digits; labels are exact.
func near(got, want float64, t model.DType) bool {
	tolerance := 0.0
	switch t { //nolint:exhaustive // the others are exact
	case model.Float32:
		tolerance = 1e-6
	case model.Float64:
		tolerance = 1e-13
	}
	return got == want || got != got && want != want || math.Abs(got-want) <= tolerance*max(1, math.Abs(want))
}
