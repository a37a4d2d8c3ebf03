package remote

import (
	"context"
	"slices"
	"sync"

	"github.com/millrace/millrace/model"
)

// parallel runs f for each of n, at most bound at a time, and returns the first
// error, which ends the others.
func parallel(ctx context.Context, n, bound int, f func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(context.Canceled)
	var wg sync.WaitGroup
	var once sync.Once
	var first error
	next := make(chan int)
	for range min(n, bound) {
		wg.Go(func() {
			for i := range next {
				if err := f(ctx, i); err != nil {
					once.Do(func() { first = err })
					cancel(err)
				}
			}
		})
	}
	for i := range n {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	wg.Wait()
	if first == nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return first
}

// slice cuts n rows out of tensors of all rows, from the given one on. The
// memory is shared; it is only read.
func slice(ts []model.Tensor, from, n, all int) []model.Tensor {
	out := slices.Clone(ts)
	for i := range out {
		t := &out[i]
		t.Shape = slices.Clone(t.Shape)
		t.Shape[0] = int64(n)
		if t.DType == model.String {
			each := len(t.Strings) / all
			t.Strings = t.Strings[from*each : (from+n)*each]
			continue
		}
		each := len(t.Data) / all
		t.Data = t.Data[from*each : (from+n)*each]
	}
	return out
}

// join puts the rows of several answers below each other.
func join(parts [][]model.Tensor) ([]model.Tensor, error) {
	out := slices.Clone(parts[0])
	for i := range out {
		t := &out[i]
		t.Shape = slices.Clone(t.Shape)
		size, texts := 0, []string(nil)
		for k, p := range parts {
			if !slices.Equal(p[i].Shape[1:], t.Shape[1:]) {
				return nil, failed("output %q has shape %v in one part of a call and %v in another", t.Name, t.Shape, p[i].Shape)
			}
			if k > 0 {
				t.Shape[0] += p[i].Shape[0]
			}
			size += len(p[i].Data)
			texts = append(texts, p[i].Strings...)
		}
		if t.Strings = texts; t.DType == model.String {
			continue
		}
		t.Data = alloc(size)[:0]
		for _, p := range parts {
			t.Data = append(t.Data, p[i].Data...)
		}
	}
	return out, nil
}

// alloc returns size bytes that a tensor's Data may be.
func alloc(size int) []byte { return model.BytesOf(make([]uint64, max(1, (size+7)/8)))[:size] }
