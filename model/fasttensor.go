package model

// form is which numbers may go straight into an input.
type form uint8

const (
	noForm   form = iota
	numbers       // all
	fraction      // all, if one has a fraction: else they are int64
	wholes        // whole ones that the type holds
)

// plan says how numbers go straight into the model's inputs.
type plan struct {
	tensors []form   // of each input, when it comes as a tensor
	frame   *columns // how a data frame's columns go there, nil for none
}

func newPlan(c *Codec) plan {
	p := plan{tensors: make([]form, len(c.info.Inputs))}
	for i := range c.info.Inputs {
		spec := &c.info.Inputs[i]
		switch in := c.tensor(spec.Name); {
		case c.info.Matrix != nil && c.info.Matrix.Named:
		case c.columns == nil:
			p.tensors[i] = formOf(Invalid, spec.DType)
		case in != nil:
			p.tensors[i] = formOf(in.dtype, spec.DType)
		}
	}
	p.frame = newColumns(c, p.tensors)
	return p
}

// tensor is the signature's tensor for an input of the model.
func (c *Codec) tensor(name string) *field {
	if c.columns == nil || !c.columns.inputs[0].tensor {
		return nil
	}
	if !c.columns.inputs[0].named {
		return &c.columns.inputs[0]
	}
	return c.input(name)
}

// formOf is by the signature's type, Invalid for none, and the model's.
func formOf(t, model DType) form {
	float := model == Float32 || model == Float64
	switch {
	case t == Invalid && float:
		return fraction
	case t == Invalid && model == Int64:
		return wholes
	case float && (t == model || t == Float64):
		return numbers
	case t == model && (classOf(t) == signedClass || classOf(t) == unsignedClass):
		return wholes
	}
	return noForm
}

// tensors reads the value of inputs or instances: a list of numbers, or
// named ones.
func (f *fastBody) tensors(named bool) bool {
	c := f.codec
	if f.at('[') {
		if f.listOf('{') { // rows: of a data frame when the signature has columns
			f.strict = true
			return c.columns != nil && f.records()
		}
		return len(c.info.Inputs) == 1 && f.tensor(0)
	}
	if !named || c.columns != nil && (!c.columns.inputs[0].tensor || !c.columns.inputs[0].named) || !f.open('{') {
		return false
	}
	for read := 0; ; read++ {
		f.space()
		if f.open('}') {
			return read == len(c.info.Inputs)
		}
		if read > 0 {
			if !f.open(',') {
				return false
			}
			f.space()
		}
		name, ok := f.key()
		if !ok {
			return false
		}
		i := c.inputNamed(name)
		if i < 0 || f.req.Inputs[i].DType != Invalid || !f.tensor(i) {
			return false
		}
	}
}

// inputNamed finds an input of the model, -1 when there is none.
func (c *Codec) inputNamed(name []byte) int {
	for i := range c.info.Inputs {
		if c.info.Inputs[i].Name == string(name) {
			return i
		}
	}
	return -1
}

// fastDims is the most dimensions that the scanner takes.
const fastDims = 8

// tensor reads nested lists of numbers into input i.
func (f *fastBody) tensor(i int) bool {
	var dims [fastDims]int64
	spec, want := &f.codec.info.Inputs[i], f.codec.fast.tensors[i]
	n, depth, ok := f.nest(i, want, &dims)
	if !ok {
		return false
	}
	t := f.req.tensor(i, spec, n)
	t.Shape = append(t.Shape, dims[:depth]...)
	in := f.codec.tensor(spec.Name)
	return (in == nil || fits(in.shape, t.Shape)) && spec.Fits(t.Shape)
}

// nest reads the elements of nested lists, and their number in each dimension.
// Empty lists are not taken.
func (f *fastBody) nest(i int, want form, dims *[fastDims]int64) (n, depth int, ok bool) {
	if want == noForm || !f.at('[') {
		return 0, 0, false
	}
	var seen [fastDims + 1]int64 // items so far of the open list at each depth
	var mixed bool               // a number had a fraction
	leaf, at := 0, 0
	for {
		for f.open('[') {
			if at++; at > fastDims {
				return 0, 0, false
			}
			seen[at] = 0
			f.space()
		}
		if leaf == 0 {
			leaf = at
		}
		if at != leaf {
			return 0, 0, false
		}
		m, ok := f.row(i, want, n, &mixed)
		if !ok {
			return 0, 0, false
		}
		n, seen[at] = n+m, int64(m)
		if most := f.codec.limits.MaxElements; most > 0 && int64(n) > most {
			return 0, 0, false
		}
		for { // the list at this depth has ended
			if dims[at-1] == 0 {
				dims[at-1] = seen[at]
			}
			if dims[at-1] != seen[at] {
				return 0, 0, false
			}
			if at--; at == 0 {
				return n, leaf, want != fraction || mixed
			}
			seen[at]++
			more, ok := f.more(']')
			if !ok {
				return 0, 0, false
			}
			if more {
				break
			}
		}
		if !f.at('[') {
			return 0, 0, false
		}
	}
}

// row reads numbers up to the end of their list into input i from element n on,
// and returns how many.
func (f *fastBody) row(i int, want form, n int, mixed *bool) (int, bool) {
	switch d := f.codec.info.Inputs[i].DType; {
	case want == wholes:
		return f.wholeRow(i, d, n)
	case d == Float32:
		return floatRow[float32](f, i, n, mixed)
	default:
		return floatRow[float64](f, i, n, mixed)
	}
}

func floatRow[T float32 | float64](f *fastBody, i, n int, mixed *bool) (int, bool) {
	dst := elements[T](f, i, n)
	from := n
	for {
		x, whole, ok := f.float()
		if !ok {
			return 0, false
		}
		if !whole {
			*mixed = true
		}
		if n == len(dst) {
			if dst = elements[T](f, i, n+1); n >= len(dst) {
				return 0, false
			}
		}
		dst[n] = T(x)
		n++
		if f.pos+1 < len(f.buf) && f.buf[f.pos] == ',' && f.buf[f.pos+1] > ' ' {
			f.pos++
			continue
		}
		more, ok := f.more(']')
		if !ok || !more {
			return n - from, ok
		}
	}
}

// elements returns those behind input i, n at least, or fewer when there
// may be no more.
func elements[T Element](f *fastBody, i, n int) []T {
	if most := f.codec.limits.MaxElements; most > 0 && int64(n) > most {
		return nil
	}
	return viewWords[T](f.req.words(i, n*sizeOf[T]()))
}

func (f *fastBody) wholeRow(i int, d DType, n int) (int, bool) {
	from := n
	for {
		x, ok := f.whole()
		if v := intValue(x); !ok || !holds(d, &v) || !f.storeWhole(i, d, n, x) {
			return 0, false
		}
		n++
		more, ok := f.more(']')
		if !ok || !more {
			return n - from, ok
		}
	}
}

// storeWhole writes element n of an input of integers.
func (f *fastBody) storeWhole(i int, d DType, n int, x int64) bool {
	switch d.Size() {
	case 1:
		return store(elements[uint8](f, i, n+1), n, uint8(x)) //nolint:gosec // held against the type
	case 2:
		return store(elements[uint16](f, i, n+1), n, uint16(x)) //nolint:gosec // likewise
	case 4:
		return store(elements[uint32](f, i, n+1), n, uint32(x)) //nolint:gosec // likewise
	default:
		return store(elements[uint64](f, i, n+1), n, uint64(x)) //nolint:gosec // likewise
	}
}

func store[T any](dst []T, n int, x T) bool {
	if n >= len(dst) {
		return false
	}
	dst[n] = x
	return true
}
