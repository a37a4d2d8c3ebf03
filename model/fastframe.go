package model

import (
	"bytes"
	"math"
	"slices"
)

// columns says how the cells of a data frame go straight into the inputs.
type columns struct {
	infer  bool   // there is no signature: the columns are those of the request
	single bool   // the model has one input, whose rows are those of the frame
	cells  []cell // of the signature's columns
	at     map[string]int
}

// cell is where the cells of one column go.
type cell struct {
	name  string
	input int   // -1: nowhere
	at    int   // in a row of the input
	dtype DType // of the signature's column; Invalid when it is inferred
	skip  bool  // it is none of the signature's
}

// newColumns returns nil when there are columns that are not of numbers, or
// whose numbers the model does not take.
func newColumns(c *Codec, tensors []form) *columns {
	inputs := c.info.Inputs
	p := &columns{infer: c.columns == nil, single: len(inputs) == 1, at: map[string]int{}}
	if p.infer {
		if slices.Contains(tensors, noForm) && c.info.Matrix == nil {
			return nil
		}
		return p
	}
	if c.info.Matrix != nil && !c.info.Matrix.takesAll(c.columns) {
		return nil
	}
	if c.columns.inputs[0].tensor || !c.columns.inputs[0].named {
		return nil
	}
	common := c.columns.inputs[0].typ.dtype()
	for i := range c.columns.inputs {
		in := &c.columns.inputs[i]
		to := cell{name: in.name, at: i, dtype: in.typ.dtype()}
		if class := classOf(to.dtype); class != signedClass && class != floatClass {
			return nil
		}
		common = promote(common, to.dtype)
		if !p.single {
			to.input, to.at = c.inputNamed([]byte(in.name)), 0
			if to.input >= 0 && formOf(to.dtype, inputs[to.input].DType) == noForm {
				return nil
			}
		}
		p.cells, p.at[in.name] = append(p.cells, to), i
	}
	if p.single && formOf(common, inputs[0].DType) == noForm && c.info.Matrix == nil {
		return nil
	}
	return p
}

// width is how many elements a row of an input has.
func (p *columns) width(r *Request) int {
	switch {
	case !p.single:
		return 1
	case p.infer:
		return len(r.cells)
	default:
		return len(p.cells)
	}
}

// cell reads a number into its place.
func (f *fastBody) cell(to *cell, row, width int) bool {
	model := Float64
	if to.input >= 0 {
		model = f.codec.info.Inputs[to.input].DType
	}
	const exact = 1 << 53 // below which whole numbers are floats without rounding
	matrix := f.codec.info.Matrix != nil
	if to.dtype != Invalid && classOf(to.dtype) == floatClass && f.at('n') {
		return f.skipWord("null") && (to.input < 0 || f.storeFloat(to.input, model, row*width+to.at, math.NaN()))
	}
	if classOf(to.dtype) == signedClass || to.dtype == Invalid && model == Int64 {
		x, ok := f.whole()
		if v := intValue(x); !ok || to.dtype != Invalid && !holds(to.dtype, &v) {
			return false
		}
		if matrix && (x > exact || x < -exact) {
			return false // it is rounded once, to the model's type
		}
		switch {
		case to.input < 0:
			return true
		case classOf(model) == floatClass:
			return f.storeFloat(to.input, model, row*width+to.at, float64(x))
		default:
			return f.storeWhole(to.input, model, row*width+to.at, x)
		}
	}
	x, whole, ok := f.float()
	if !ok {
		return false
	}
	if matrix && to.dtype == Invalid && whole && (x > exact || x < -exact) {
		return false // integers, which are rounded as above, or none that 64 bits hold
	}
	if to.dtype == Float32 {
		if whole && (x > exact || x < -exact) {
			return false // an int64 that is rounded to float32 at once, unless its neighbours have fractions
		}
		x = float64(float32(x))
	}
	if to.input < 0 {
		return true
	}
	if !whole {
		f.req.flags[to.input] = true
	}
	return f.storeFloat(to.input, model, row*width+to.at, x)
}

func (f *fastBody) storeFloat(i int, d DType, n int, x float64) bool {
	if d == Float32 {
		return store(elements[float32](f, i, n+1), n, float32(x))
	}
	return store(elements[float64](f, i, n+1), n, x)
}

// begin makes ready for the rows of a frame.
func (f *fastBody) begin() (*columns, bool) {
	p := f.codec.fast.frame
	if p == nil {
		return nil, false
	}
	f.req.records = true
	f.req.keys, f.req.cells, f.req.flags = f.req.keys[:0], f.req.cells[:0], f.req.flags[:0]
	for range f.req.Inputs {
		f.req.flags = append(f.req.flags, false)
	}
	return p, true
}

// end makes the inputs of rows of the frame.
func (f *fastBody) end(p *columns, rows, width int) bool {
	for i := range f.req.Inputs {
		spec := &f.codec.info.Inputs[i]
		float := classOf(spec.DType) == floatClass
		if m := f.codec.info.Matrix; rows == 0 || p.infer && (m != nil && !m.takes(f.req.keys) || m == nil && float && !f.req.flags[i]) {
			return false // or whole numbers alone, which make int64
		}
		n := rows
		if p.single {
			n *= width
		}
		t := f.req.tensor(i, spec, n)
		t.Shape = append(t.Shape, int64(rows))
		if p.single {
			t.Shape = append(t.Shape, int64(width))
		}
		if !spec.Fits(t.Shape) {
			return false
		}
	}
	return true
}

// skip passes a value that nothing is made of, when it is a single one.
func (f *fastBody) skip() bool {
	switch {
	case f.at('"'):
		s, ok := f.plain()
		return ok && ascii(s)
	case f.at('t'):
		return f.skipWord("true")
	case f.at('f'):
		return f.skipWord("false")
	case f.at('n'):
		return f.skipWord("null")
	default:
		_, ok := f.skipNumber()
		return ok
	}
}

func (f *fastBody) skipWord(w string) bool {
	if !bytes.HasPrefix(f.buf[f.pos:], []byte(w)) {
		return false
	}
	f.pos += len(w)
	return true
}
