package load

import (
	"context"
	"errors"
	"fmt"

	"github.com/millrace/millrace/model"
)

// probed is a model with what was found out about it.
type probed struct {
	model.Model
	info model.Info
}

func (p *probed) Info() model.Info { return p.info }

// probeRows is how many rows have to answer together as they do alone.
const probeRows = 3

// warm makes the first runs, which are 10 to 20 times slower than later ones,
// and finds out whether the model batches. A model that fails on its own
// example is refused; one without an example that fails on made-up values is
// not, since nobody said that it takes those: it serves, unbatched.
func warm(ctx context.Context, m model.Model, example []model.Tensor, maxBatch int) (model.Model, error) {
	info := m.Info()
	info.Batches = false
	rows, err := probe(ctx, m, example)
	if err != nil {
		return nil, err
	}
	if rows == nil {
		return &probed{m, info}, nil
	}
	if info.Batches, err = batches(ctx, m, rows); err != nil {
		return nil, err
	}
	if !info.Batches {
		maxBatch = 1
	}
	limit, limits := m.(rowLimiter)
	for n := 1; ; n *= 2 {
		n = min(n, maxBatch)
		batch := join(rows, n)
		for range 2 {
			_, err := m.Predict(ctx, batch)
			if err != nil && limits && n > 1 && refused(err) {
				limit.LimitRows(n / 2)
				return &probed{m, info}, nil
			}
			if err != nil {
				return nil, fmt.Errorf("warm up with a batch of %d: %w", n, err)
			}
		}
		if n == maxBatch {
			if limits && info.Batches { // larger calls were not tried
				limit.LimitRows(n)
			}
			return &probed{m, info}, nil
		}
	}
}

// rowLimiter is a model that may have a bound of rows of its own, which nobody
// tells: it cuts larger calls by itself, once the bound is known.
type rowLimiter interface{ LimitRows(n int) }

// refused says whether the model would not take a call.
func refused(err error) bool {
	e := (*model.Error)(nil)
	return errors.As(err, &e) && (e.Code == model.InvalidInput || e.Code == model.TooLarge)
}

// probe returns calls that the model answers: rows that may share a call if the
// model batches, else a single one. None when nothing was found that it takes.
func probe(ctx context.Context, m model.Model, example []model.Tensor) ([][]model.Tensor, error) {
	info := m.Info()
	if example != nil {
		if _, err := m.Predict(ctx, example); err != nil {
			return nil, fmt.Errorf("the model fails on its own input example: %w", err)
		}
		if !rowShaped(info) {
			return [][]model.Tensor{clone(example)}, nil
		}
		rows := vary(split(example))
		if ok, err := answers(ctx, m, rows); ok || err != nil {
			return rows, err
		}
		rows = split(example) // the example's own values, told apart or not
		for len(rows) > 0 && len(rows) < probeRows {
			rows = append(rows, rows[0])
		}
		if ok, err := answers(ctx, m, rows); ok || err != nil {
			return rows, err
		}
		return nil, nil
	}
	for _, varied := range []bool{true, false} {
		rows := synthetic(info.Inputs, varied)
		if ok, err := answers(ctx, m, rows); ok || err != nil {
			return rows, err
		}
	}
	return nil, nil
}

// answers says whether the model answers each of the calls. An error is the
// context's end.
func answers(ctx context.Context, m model.Model, calls [][]model.Tensor) (bool, error) {
	for _, c := range calls {
		if _, err := m.Predict(ctx, c); err != nil {
			return false, ended(ctx, err)
		}
	}
	return len(calls) > 0, nil
}

// ended returns err when it is the context's end, or a model out of reach,
// rather than the model's word on its input.
func ended(ctx context.Context, err error) error {
	var e *model.Error
	if ctx.Err() != nil || !errors.As(err, &e) || e.Code == model.Unavailable {
		return err
	}
	return nil
}

// rowShaped says whether the first dimension of all inputs and outputs is
// variable, without which there is nothing to batch by.
func rowShaped(info model.Info) bool {
	for _, specs := range [][]model.Spec{info.Inputs, info.Outputs} {
		for _, s := range specs {
			if len(s.Shape) == 0 || s.Shape[0] >= 0 {
				return false
			}
		}
	}
	return true
}

// batches tries whether rows are answered together as they are alone.
func batches(ctx context.Context, m model.Model, rows [][]model.Tensor) (bool, error) {
	if !rowShaped(m.Info()) || len(rows) < probeRows {
		return false, nil
	}
	rows = rows[:probeRows]
	together, err := m.Predict(ctx, join(rows, probeRows))
	if err != nil {
		return false, ended(ctx, err)
	}
	for _, t := range together {
		if len(t.Shape) == 0 || t.Shape[0] != probeRows {
			return false, nil
		}
	}
	parts := split(together)
	for i, row := range rows {
		alone, err := m.Predict(ctx, row)
		if err != nil {
			return false, ended(ctx, err)
		}
		for j := range alone {
			if !alike(&alone[j], &parts[i][j]) {
				return false, nil
			}
		}
	}
	return true, nil
}
