package model

import (
	"fmt"
	"slices"
)

// Batch is several requests as one call of a model. It is reused: Join resets
// it and keeps its memory.
type Batch struct {
	Inputs []Tensor
	Rows   int

	rows []int      // of each request
	mem  [][]uint64 // behind Inputs, as words so that Data is aligned
}

// Join makes one call of the requests. It reports false when they do not fit
// together (types, trailing dimensions, or a first dimension that is not the
// rows); each then runs by itself. One request is taken as it is, uncopied.
func (b *Batch) Join(reqs []*Request) bool {
	b.rows, b.Rows = b.rows[:0], 0
	if len(reqs) == 0 {
		return false
	}
	for _, r := range reqs {
		if len(reqs) > 1 && !joinable(reqs[0], r) {
			return false
		}
		b.rows = append(b.rows, r.Rows)
		b.Rows += r.Rows
	}
	if len(reqs) == 1 {
		b.Inputs = append(b.Inputs[:0], reqs[0].Inputs...)
		return true
	}
	b.Inputs = slices.Grow(b.Inputs[:0], len(reqs[0].Inputs))[:len(reqs[0].Inputs)]
	for len(b.mem) < len(b.Inputs) {
		b.mem = append(b.mem, nil)
	}
	for i := range b.Inputs {
		b.join(i, reqs)
	}
	return true
}

func joinable(a, b *Request) bool {
	if len(a.Inputs) != len(b.Inputs) {
		return false
	}
	for i := range b.Inputs {
		x, y := &a.Inputs[i], &b.Inputs[i]
		if x.DType != y.DType || len(x.Shape) == 0 || len(x.Shape) != len(y.Shape) ||
			y.Shape[0] != int64(b.Rows) || !slices.Equal(x.Shape[1:], y.Shape[1:]) {
			return false
		}
	}
	return true
}

func (b *Batch) join(i int, reqs []*Request) {
	first := &reqs[0].Inputs[i]
	t := Tensor{Name: first.Name, DType: first.DType, Shape: slices.Clone(first.Shape)}
	t.Shape[0] = int64(b.Rows)
	size := 0
	for _, r := range reqs {
		size += len(r.Inputs[i].Data)
	}
	if words := (size + 7) / 8; cap(b.mem[i]) < words {
		b.mem[i] = make([]uint64, words)
	}
	data := BytesOf(b.mem[i][:cap(b.mem[i])])[:0]
	for _, r := range reqs {
		data = append(data, r.Inputs[i].Data...)
		t.Strings = append(t.Strings, r.Inputs[i].Strings...)
	}
	t.Data = data
	b.Inputs[i] = t
}

// Cut gives each request its rows of the outputs, as views of the same
// memory. A view is aligned to its element, not to 8 bytes. Outputs whose
// first dimension is not the batch's rows are an error: each request then
// has to run by itself. The outputs of one request are handed on as they are.
func (b *Batch) Cut(outputs []Tensor) ([][]Tensor, error) {
	if len(b.rows) == 1 {
		return [][]Tensor{outputs}, nil
	}
	for i := range outputs {
		t := &outputs[i]
		if len(t.Shape) == 0 || t.Shape[0] != int64(b.Rows) {
			return nil, fmt.Errorf("output %q has shape %v for a batch of %d rows", t.Name, t.Shape, b.Rows)
		}
		if !t.whole() {
			return nil, fmt.Errorf("output %q holds %d elements, not those of shape %v", t.Name, t.Len(), t.Shape)
		}
	}
	slab := make([]Tensor, len(b.rows)*len(outputs))
	cut := make([][]Tensor, len(b.rows))
	from := 0
	for r, rows := range b.rows {
		cut[r], slab = slab[:len(outputs):len(outputs)], slab[len(outputs):]
		for i := range outputs {
			cut[r][i] = outputs[i].slice(from, rows, b.Rows)
		}
		from += rows
	}
	return cut, nil
}

// whole says whether the tensor holds the elements of its shape.
func (t *Tensor) whole() bool {
	if t.Len() == 0 {
		return slices.Contains(t.Shape, 0)
	}
	n, err := Elements(t.Shape, int64(t.Len()))
	return err == nil && n == int64(t.Len())
}

func (t *Tensor) slice(from, rows, all int) Tensor {
	v := *t
	v.Shape = slices.Clone(t.Shape)
	v.Shape[0] = int64(rows)
	if all == 0 {
		return v
	}
	if t.DType == String {
		n := len(t.Strings) / all
		v.Strings = t.Strings[from*n : (from+rows)*n : (from+rows)*n]
		return v
	}
	n := len(t.Data) / all
	v.Data = t.Data[from*n : (from+rows)*n : (from+rows)*n]
	return v
}
