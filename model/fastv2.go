package model

import (
	"bytes"
	"math"
	"slices"
)

// v2Inputs reads the inputs of a V2 request. When it is not one, the position
// stays.
func (f *fastBody) v2Inputs() bool {
	from := f.pos
	f.open('[')
	for read := 0; ; read++ {
		f.space()
		if !f.v2Input() {
			f.pos = from
			return false
		}
		more, ok := f.more(']')
		if !ok || !more {
			return ok && read+1 == len(f.codec.info.Inputs)
		}
	}
}

// v2Input reads one tensor, whose data comes last, as clients have it.
func (f *fastBody) v2Input() bool {
	var dims, nested [fastDims]int64
	var spec *Spec
	rank, i, typed := -1, -1, false
	if !f.open('{') {
		return false
	}
	for {
		f.space()
		name, ok := f.key()
		if !ok {
			return false
		}
		switch string(name) {
		case "name":
			s, ok := f.plain()
			if !ok || i >= 0 {
				return false
			}
			if i = f.codec.inputNamed(s); i < 0 || f.req.Inputs[i].DType != Invalid {
				return false
			}
			spec = &f.codec.info.Inputs[i]
		case "datatype":
			s, ok := f.plain()
			if !ok || spec == nil || string(s) != spec.DType.V2() {
				return false
			}
			typed = true
		case "shape":
			if rank >= 0 {
				return false
			}
			if rank = f.v2Shape(&dims); rank < 0 {
				return false
			}
		case "data":
			if !typed || rank < 0 || !f.at('[') {
				return false
			}
			n, depth, ok := f.nest(i, formOf(spec.DType, spec.DType), &nested)
			f.space()
			if !f.open('}') {
				return false
			}
			if !ok || !holdsAll(dims[:rank], int64(n)) || depth > 1 && !slices.Equal(dims[:rank], nested[:depth]) {
				return false
			}
			t := f.req.tensor(i, spec, n)
			t.Shape = append(t.Shape, dims[:rank]...)
			return spec.Fits(t.Shape)
		case "parameters":
			return typed && rank >= 0 && f.v2Bytes(i, spec, dims[:rank])
		default:
			return false
		}
		if f.space(); !f.open(',') {
			return false
		}
	}
}

// v2Bytes takes the tensor's elements from behind the JSON.
func (f *fastBody) v2Bytes(i int, spec *Spec, dims []int64) bool {
	if !f.open('{') {
		return false
	}
	f.space()
	if key, ok := f.key(); !ok || string(key) != "binary_data_size" {
		return false
	}
	size, ok := f.whole()
	if f.space(); !ok || !f.open('}') {
		return false
	}
	if f.space(); !f.open('}') {
		return false
	}
	n, fine := product(dims)
	if !fine || f.codec.room(n, "") != nil || !spec.Fits(dims) {
		return false
	}
	raw, ok := f.req.take(size)
	return ok && f.req.view(i, spec, dims, int(n), raw) == nil
}

// product is how many elements a shape without zeros holds, as far as a tensor may.
func product(shape []int64) (n int64, ok bool) {
	n = 1
	for _, d := range shape {
		if n > math.MaxInt32/d {
			return 0, false
		}
		n *= d
	}
	return n, true
}

// v2Form reads parameters that are nothing but one that is true or false.
func (f *fastBody) v2Form(name string) (yes, ok bool) {
	if !f.open('{') {
		return false, false
	}
	f.space()
	if key, ok := f.key(); !ok || string(key) != name {
		return false, false
	}
	rest := f.buf[f.pos:]
	switch {
	case bytes.HasPrefix(rest, []byte("true")):
		f.pos, yes = f.pos+4, true
	case bytes.HasPrefix(rest, []byte("false")):
		f.pos += 5
	default:
		return false, false
	}
	f.space()
	return yes, f.open('}')
}

// holdsAll says whether a shape without zeros has n elements.
func holdsAll(shape []int64, n int64) bool {
	for _, d := range shape {
		if n%d != 0 {
			return false
		}
		n /= d
	}
	return n == 1
}

// v2Shape reads a list of dimensions and returns how many, -1 when it is none.
func (f *fastBody) v2Shape(dims *[fastDims]int64) int {
	if !f.open('[') {
		return -1
	}
	f.space()
	for n := 0; n < fastDims; {
		d, ok := f.whole()
		if !ok || d <= 0 {
			return -1
		}
		dims[n] = d
		n++
		more, ok := f.more(']')
		if !ok {
			return -1
		}
		if !more {
			return n
		}
	}
	return -1
}

// v2ID keeps a plain id as it stands.
func (f *fastBody) v2ID() bool {
	from := f.pos
	s, ok := f.plain()
	if !ok || len(f.req.id) > 0 || !ascii(s) || slices.Contains(s, 0x7f) {
		return false
	}
	f.req.id = append(f.req.id, f.buf[from:f.pos]...)
	return true
}

// v2Outputs reads which outputs are asked for by name.
func (f *fastBody) v2Outputs() bool {
	if f.selected || !f.open('[') {
		return false
	}
	f.selected = true
	f.space()
	for {
		if !f.open('{') {
			return false
		}
		f.space()
		key, ok := f.key()
		if !ok || string(key) != "name" {
			return false
		}
		name, ok := f.plain()
		f.space()
		i := slices.IndexFunc(f.codec.info.Outputs, func(s Spec) bool { return s.Name == string(name) })
		if !ok || i < 0 || slices.Contains(f.req.outputs, i) {
			return false
		}
		if f.open(',') {
			f.space()
			if key, ok := f.key(); !ok || string(key) != "parameters" {
				return false
			}
			binary, ok := f.v2Form("binary_data")
			if f.space(); !ok {
				return false
			}
			f.req.form(i, binary, true)
		}
		if !f.open('}') {
			return false
		}
		f.req.outputs = append(f.req.outputs, i)
		more, ok := f.more(']')
		if !ok {
			return false
		}
		if !more {
			slices.Sort(f.req.outputs)
			return true
		}
	}
}
