package model

// put writes an array to the model's input i. Its type has to be the model's;
// the only conversion is MLflow's own, of float64 to float32.
func (c *Codec) put(req *Request, i int, a *array, path string) *Error {
	spec := &c.info.Inputs[i]
	switch {
	case feeds(a.dtype, spec.DType):
	case a.dtype == Int64 && classOf(spec.DType) == floatClass:
		return Invalidf(path, "whole numbers (int64), where the model takes %s: write them with a fraction, as in 1.0, or log the model with a signature", spec.DType)
	default:
		return Invalidf(path, "%s, where the model takes %s", a.dtype, spec.DType)
	}
	if !spec.Fits(a.shape) {
		return Invalidf(path, "shape %s, where the model takes %s", shapeText(a.shape), shapeText(spec.Shape))
	}
	if err := c.room(int64(len(a.cells)), path); err != nil {
		return err
	}
	t := req.tensor(i, spec, len(a.cells))
	t.Shape = append(t.Shape, a.shape...)
	if spec.DType == String {
		for j := range a.cells {
			t.Strings[j] = a.cells[j].toString()
		}
		return nil
	}
	for j := range a.cells {
		t.set(j, &a.cells[j])
	}
	return nil
}

// feeds says whether an array of a type can be the model's input.
func feeds(t, model DType) bool {
	texts := t == String || t == objectType || t == bytesType
	return t == model || t == Float64 && model == Float32 || texts && model == String
}

func (c *Codec) room(n int64, path string) *Error {
	if c.limits.MaxElements > 0 && n > c.limits.MaxElements {
		err := Errorf(TooLarge, "%d elements, more than %d", n, c.limits.MaxElements)
		err.Field = path
		return err
	}
	return nil
}

// set writes a cell whose kind is that of the tensor's type. A float64 is
// rounded to the tensor's width.
func (t *Tensor) set(j int, v *value) {
	switch t.DType { //nolint:exhaustive // strings have no memory here
	case Bool:
		View[bool](t)[j] = v.bits != 0
	case Int8, Uint8:
		View[uint8](t)[j] = uint8(v.bits) //nolint:gosec // checked to fit
	case Int16, Uint16:
		View[uint16](t)[j] = uint16(v.bits) //nolint:gosec // likewise
	case Int32, Uint32:
		View[uint32](t)[j] = uint32(v.bits) //nolint:gosec // likewise
	case Int64, Uint64:
		View[uint64](t)[j] = v.bits
	case Float16:
		View[uint16](t)[j] = halfBits(v.float())
	case Float32:
		View[float32](t)[j] = float32(v.float())
	case Float64:
		View[float64](t)[j] = v.float()
	}
}
