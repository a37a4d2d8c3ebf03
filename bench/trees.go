package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/model/onnx"
	"github.com/millrace/millrace/model/trees"
)

// treeTarget is how many times the rows of ONNX Runtime the same forest should
// do natively.
const treeTarget = 2

// treeBatches are the rows of a call.
var treeBatches = [...]int{1, 8, 64, 512} //nolint:gochecknoglobals // a constant

// treeRows is how many different rows there are: predictors of branches learn
// those that come again soon.
const treeRows = 1 << 15

// treeWindow is the processor time of one measurement.
const treeWindow = 150 * time.Millisecond

// contender is the forest as one library has it.
type contender struct {
	name string
	m    model.Model
	rows []byte // of treeRows, in its type
	size int    // bytes a row
}

// treeResult is what was measured of a forest.
type treeResult struct {
	about string
	names []string
	rates map[int][][]float64 // rows per second of processor time: by batch, contender and repetition
}

// measureTrees measures forests in ONNX Runtime and natively, by turns on one
// core.
func measureTrees(ctx context.Context, cfg config, dir string) ([]*treeResult, error) {
	var results []*treeResult
	for _, c := range []struct {
		about         string
		leaves, depth int
	}{{"100 trees of 64 leaves, 6 deep", 64, 6}, {"100 trees of 300 leaves, up to 10 deep", 300, 10}} {
		say("forest: %s", c.about)
		r, err := measureForest(ctx, cfg, dir, newForest(uint64(c.depth), 100, c.leaves, c.depth)) //nolint:gosec // a depth
		if err != nil {
			return nil, fmt.Errorf("forest of %s: %w", c.about, err)
		}
		r.about = c.about
		results = append(results, r)
	}
	return results, nil
}

func measureForest(ctx context.Context, cfg config, dir string, f forest) (_ *treeResult, err error) {
	all, err := contenders(ctx, dir, f)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, c := range all {
			err = errors.Join(err, c.m.Close())
		}
	}()
	if err := alike(ctx, all); err != nil {
		return nil, err
	}
	r := &treeResult{rates: map[int][][]float64{}}
	for _, c := range all {
		r.names = append(r.names, c.name)
	}
	for _, batch := range treeBatches {
		r.rates[batch] = make([][]float64, len(all))
		for range cfg.repeats {
			for i, c := range all {
				rate, err := c.rate(ctx, batch)
				if err != nil {
					return nil, err
				}
				r.rates[batch][i] = append(r.rates[batch][i], rate)
			}
		}
	}
	return r, nil
}

// contenders opens the forest in every form, ONNX Runtime's first.
func contenders(ctx context.Context, dir string, f forest) ([]*contender, error) {
	r := seeded(1)
	narrow, wide := make([]float32, treeRows*forestFeatures), make([]float64, treeRows*forestFeatures)
	for i := range narrow {
		narrow[i] = float32(r.NormFloat64())
		wide[i] = float64(narrow[i])
	}
	path := filepath.Join(dir, "forest.onnx")
	if err := os.WriteFile(path, f.onnx(), 0o600); err != nil {
		return nil, err
	}
	there, err := onnx.Open(ctx, path, onnx.Options{Lanes: 1})
	if err != nil {
		return nil, err
	}
	boost, err := trees.ParseXGBoost(f.xgboost(), "")
	if err != nil {
		return nil, errors.Join(err, there.Close())
	}
	light, err := trees.ParseLightGBM(f.lightGBM())
	if err != nil {
		return nil, errors.Join(err, there.Close())
	}
	const four, eight = 4 * forestFeatures, 8 * forestFeatures
	return []*contender{
		{"ONNX Runtime", there, model.BytesOf(narrow), four},
		{"as XGBoost's", boost, model.BytesOf(narrow), four},
		{"as LightGBM's", light, model.BytesOf(wide), eight},
	}, nil
}

// predict answers batch rows from row from on.
func (c *contender) predict(ctx context.Context, from, batch int) (*model.Tensor, error) {
	spec := &c.m.Info().Inputs[0]
	in := model.Tensor{Name: spec.Name, DType: spec.DType, Shape: []int64{int64(batch), forestFeatures}, Data: c.rows[from*c.size : (from+batch)*c.size]}
	out, err := c.m.Predict(ctx, []model.Tensor{in})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	return &out[0], nil
}

// alike holds that all answer the same, within what the order of additions
// makes of it.
func alike(ctx context.Context, all []*contender) error {
	const rows, tolerance = 2048, 1e-3
	first, err := all[0].predict(ctx, 0, rows)
	if err != nil {
		return err
	}
	for _, c := range all[1:] {
		out, err := c.predict(ctx, 0, rows)
		if err != nil {
			return err
		}
		for i, want := range model.View[float32](first) {
			var got float64
			if out.DType == model.Float64 {
				got = model.View[float64](out)[i]
			} else {
				got = float64(model.View[float32](out)[i])
			}
			if math.Abs(got-float64(want)) > tolerance {
				return fmt.Errorf("row %d: %s answers %v, %s %v", i, all[0].name, want, c.name, got)
			}
		}
	}
	return nil
}

// rate is rows per second of processor time.
func (c *contender) rate(ctx context.Context, batch int) (float64, error) {
	rows, from := 0, 0
	for start := ownCPU(); ; {
		for range max(1, 4096/batch) {
			if _, err := c.predict(ctx, from, batch); err != nil {
				return 0, err
			}
			rows += batch
			from = (from + batch) % (treeRows - batch)
		}
		if took := ownCPU() - start; took >= treeWindow {
			return float64(rows) / took.Seconds(), nil
		}
	}
}

// write is the table of a forest, with how many times ONNX Runtime's rows the
// native ones are, as medians of the repetitions.
func (r *treeResult) write(w io.Writer) {
	fmt.Fprintf(w, "\n**forest** (%s, %d features): rows per second of one core\n\n| rows a call |", r.about, forestFeatures)
	for _, name := range r.names {
		fmt.Fprintf(w, " %s |", name)
	}
	for _, name := range r.names[1:] {
		fmt.Fprintf(w, " %s, times |", name)
	}
	fmt.Fprint(w, "\n|--:|--:|--:|--:|--:|--:|\n")
	least := math.Inf(1)
	for _, batch := range treeBatches {
		fmt.Fprintf(w, "| %d |", batch)
		rates := r.rates[batch]
		for i := range rates {
			fmt.Fprintf(w, " %.0f |", median(rates[i]))
		}
		for i := range rates[1:] {
			var times []float64
			for k := range rates[0] {
				times = append(times, rates[i+1][k]/rates[0][k])
			}
			s := stats(times)
			least = min(least, s.mid)
			fmt.Fprintf(w, " **%.1f** (%.1f – %.1f) |", s.mid, s.low, s.high)
		}
		fmt.Fprintln(w)
	}
	if least < treeTarget {
		fmt.Fprintf(w, "\nThe target of %d times is not reached.\n", treeTarget)
	}
}
