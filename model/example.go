package model

import "strconv"

// Example returns the body of a request that the model takes, for people to
// start from: one row, where the model takes rows. It is in MLflow's dialect,
// or V2 where that cannot say what the model takes: without a signature it has
// no types of other than 64 bits. A raw model without a signature has none: nil.
func (c *Codec) Example() []byte {
	if c.info.Raw {
		return c.exampleRaw()
	}
	body := c.exampleMLflow()
	if c.Decode(new(Request), "", body) == nil {
		return body
	}
	return c.exampleV2()
}

func (c *Codec) exampleMLflow() []byte {
	if s := c.columns; s != nil && !s.inputs[0].tensor {
		return s.exampleRow()
	}
	if m := c.info.Matrix; m != nil && c.columns == nil {
		return m.example(int(c.info.Inputs[0].Shape[1]))
	}
	var dst []byte
	if s := c.columns; s != nil && !s.inputs[0].named {
		dst = append(dst, `{"inputs": `...)
		dst = appendExample(dst, s.inputs[0].dtype, sizes(&c.info.Inputs[0], s.inputs[0].shape), ", ")
		return append(dst, '}')
	}
	dst = append(dst, `{"inputs": {`...)
	for i := range c.info.Inputs {
		spec := &c.info.Inputs[i]
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = append(appendString(dst, spec.Name), ": "...)
		shape := spec.Shape
		if in := c.input(spec.Name); in != nil {
			shape = in.shape
		}
		dst = appendExample(dst, spec.DType, sizes(spec, shape), ", ")
	}
	return append(dst, "}}"...)
}

// exampleRow is a data frame of one row.
func (s *Signature) exampleRow() []byte {
	dst := []byte(`{"dataframe_split": {`)
	if s.inputs[0].named {
		dst = append(dst, `"columns": [`...)
		for i := range s.inputs {
			if i > 0 {
				dst = append(dst, ", "...)
			}
			dst = appendString(dst, s.inputs[i].name)
		}
		dst = append(dst, "], "...)
	}
	dst = append(dst, `"data": [[`...)
	for i := range s.inputs {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = s.inputs[i].typ.appendExample(dst)
	}
	return append(dst, "]]}}"...)
}

func (t *nestedType) appendExample(dst []byte) []byte {
	switch t.colType { //nolint:exhaustive // the others are alike
	case colDatetime:
		return append(dst, `"2026-01-31T12:00:00"`...)
	case colBinary:
		return append(dst, `"aGVsbG8="`...)
	case colArray:
		return append(t.items.appendExample(append(dst, '[')), ']')
	case colMap:
		return append(t.items.appendExample(append(dst, `{"key": `...)), '}')
	case colObject:
		dst = append(dst, '{')
		for i := range t.props {
			if i > 0 {
				dst = append(dst, ", "...)
			}
			dst = append(appendString(dst, t.props[i].name), ": "...)
			dst = t.props[i].typ.appendExample(dst)
		}
		return append(dst, '}')
	case colAny:
		return append(dst, "0.5"...)
	default:
		return appendExample(dst, t.dtype(), nil, "")
	}
}

func (c *Codec) exampleV2() []byte {
	dst := []byte(`{"inputs": [`)
	for i := range c.info.Inputs {
		spec := &c.info.Inputs[i]
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = appendString(append(dst, `{"name": `...), spec.Name)
		shape := sizes(spec, spec.Shape)
		dst = append(dst, `, "shape": `...)
		dst = append(dst, shapeText(shape)...)
		dst = append(append(append(dst, `, "datatype": "`...), spec.DType.V2()...), `", "data": `...)
		dst = appendExample(dst, spec.DType, shape, ", ")
		dst = append(dst, '}')
	}
	return append(dst, "]}"...)
}

// sizes is a shape to try: what the model leaves open is 1.
func sizes(spec *Spec, shape []int64) []int64 {
	if shape == nil && spec.Shape == nil {
		return []int64{1}
	}
	out := make([]int64, len(shape))
	for i, d := range shape {
		if d < 0 && len(spec.Shape) == len(shape) {
			d = spec.Shape[i]
		}
		if out[i] = d; d < 0 {
			out[i] = 1
		}
	}
	return out
}

func appendExample(dst []byte, t DType, shape []int64, sep string) []byte {
	if len(shape) > 0 {
		dst = append(dst, '[')
		for i := range shape[0] {
			if i > 0 {
				dst = append(dst, sep...)
			}
			dst = appendExample(dst, t, shape[1:], sep)
		}
		return append(dst, ']')
	}
	switch classOf(t) { //nolint:exhaustive // the others are alike
	case floatClass:
		return append(dst, "0.5"...)
	case boolClass:
		return strconv.AppendBool(dst, true)
	case otherClass:
		return append(dst, `"text"`...)
	default:
		return append(dst, '1')
	}
}
