package model

import (
	"fmt"
	"math"
	"slices"
	"strconv"
)

// decodeV2 makes the request of a body in the Open Inference Protocol V2, which
// is strict: every input of the model, by name, of its type and shape. Members
// that it does not know are ignored.
func (c *Codec) decodeV2(req *Request, body *value) *Error {
	if body.kind != object {
		return Errorf(InvalidInput, "the body is %s, where an object should be", body.describe())
	}
	if err := req.takeID(body); err != nil {
		return err
	}
	inputs := body.get("inputs")
	if inputs == nil || inputs.kind != list {
		return Invalidf("inputs", "a list of the model's inputs is missing")
	}
	const most = 1 << 10
	if len(inputs.items) > max(most, len(c.info.Inputs)) {
		return Invalidf("inputs", "%d inputs, the model has %d", len(inputs.items), len(c.info.Inputs))
	}
	seen := make([]bool, len(c.info.Inputs))
	for k := range inputs.items {
		if err := c.decodeV2Input(req, &inputs.items[k], fmt.Sprintf("inputs[%d]", k), seen); err != nil {
			return err
		}
	}
	for i, ok := range seen {
		if !ok {
			return Invalidf(c.info.Inputs[i].Name, "the model's input is missing")
		}
	}
	return c.selectOutputs(req, body.get("outputs"))
}

func (c *Codec) decodeV2Input(req *Request, in *value, path string, seen []bool) *Error {
	if in.kind != object {
		return Invalidf(path, "%s, where an object should be", in.describe())
	}
	name, datatype, shape, data := in.get("name"), in.get("datatype"), in.get("shape"), in.get("data")
	switch {
	case name == nil || name.kind != text:
		return Invalidf(path+".name", "no name of an input")
	case datatype == nil || datatype.kind != text:
		return Invalidf(path+".datatype", "no datatype, as in FP32")
	case shape == nil || shape.kind != list:
		return Invalidf(path+".shape", "no list of dimensions")
	case data == nil && in.get("parameters") != nil && in.get("parameters").get("binary_data_size") != nil:
		return Invalidf(path+".data", "the binary extension is not supported; put the data into the JSON")
	case data == nil || data.kind != list:
		return Invalidf(path+".data", "no list of elements")
	}
	i := slices.IndexFunc(c.info.Inputs, func(s Spec) bool { return s.Name == name.text })
	if i < 0 {
		return Invalidf(path+".name", "the model has no input %q; it has %s", clip(name.text), names(c.info.Inputs))
	}
	spec := &c.info.Inputs[i]
	if seen[i] {
		return Invalidf(spec.Name, "the input comes twice")
	}
	seen[i] = true
	if datatype.text != spec.DType.V2() {
		return Invalidf(spec.Name, "datatype %s, where the model takes %s", clip(datatype.text), spec.DType.V2())
	}
	dims := make([]int64, len(shape.items))
	for d := range shape.items {
		if shape.items[d].kind != integer || shape.items[d].int() < 0 {
			return Invalidf(spec.Name, "shape[%d]: %s is no dimension", d, shape.items[d].describe())
		}
		dims[d] = shape.items[d].int()
	}
	if spec.Shape != nil && !fits(spec.Shape, dims) {
		return Invalidf(spec.Name, "shape %s, where the model takes %s", shapeText(dims), shapeText(spec.Shape))
	}
	n, err := Elements(dims, math.MaxInt32)
	if err != nil {
		return Invalidf(spec.Name, "%w", err)
	}
	if err := c.room(n, spec.Name); err != nil {
		return err
	}
	if have := data.leaves(); int64(have) != n {
		return Invalidf(spec.Name, "%d elements, where shape %s has %d", have, shapeText(dims), n)
	}
	t := req.tensor(i, spec, int(n))
	t.Shape = append(t.Shape, dims...)
	if data.items != nil && data.items[0].kind == list && !slices.Equal(shapeOf(data), dims) {
		return Invalidf(spec.Name, "nested as %s, where the shape is %s", shapeText(shapeOf(data)), shapeText(dims))
	}
	at := 0
	return t.fill(data, spec.Name, &at)
}

// leaves counts what is no list.
func (v *value) leaves() int {
	if v.kind != list {
		return 1
	}
	n := 0
	for i := range v.items {
		n += v.items[i].leaves()
	}
	return n
}

// fill writes the elements of a list, nested or flat, into the tensor.
func (t *Tensor) fill(v *value, path string, at *int) *Error {
	for i := range v.items {
		item, here := &v.items[i], fmt.Sprintf("%s[%d]", path, i)
		if item.kind == list {
			if v.items[0].kind != list || len(item.items) != len(v.items[0].items) {
				return Invalidf(here, "a list that is not like its neighbours")
			}
			if err := t.fill(item, here, at); err != nil {
				return err
			}
			continue
		}
		if v.items[0].kind == list {
			return Invalidf(here, "%s, where its neighbours are lists", item.describe())
		}
		if err := t.fillOne(item, *at); err != nil {
			return Invalidf(here, "%w", err)
		}
		*at++
	}
	return nil
}

func (t *Tensor) fillOne(v *value, at int) error {
	var ok bool
	switch classOf(t.DType) { //nolint:exhaustive // the default is strings
	case boolClass:
		ok = v.kind == boolean
	case signedClass, unsignedClass:
		ok = v.kind == integer || v.kind == natural
		if ok && !holds(t.DType, v) {
			return fmt.Errorf("%s is out of the range of %s", v.toString(), t.DType.V2())
		}
	case floatClass:
		if ok = v.kind == number || v.kind == integer || v.kind == natural || v.kind == huge; ok {
			f, err := v.toFloat()
			if err != nil {
				return err
			}
			*v = floatValue(f)
		}
	default:
		if ok = v.kind == text; ok {
			t.Strings[at] = v.text
			return nil
		}
	}
	if !ok {
		return fmt.Errorf("%s is no %s", v.describe(), t.DType.V2())
	}
	t.set(at, v)
	return nil
}

// selectOutputs notes which outputs are asked for; without any, all are.
func (c *Codec) selectOutputs(req *Request, outputs *value) *Error {
	if outputs == nil || outputs.kind == none {
		return nil
	}
	if outputs.kind != list {
		return Invalidf("outputs", "%s, where a list should be", outputs.describe())
	}
	for k := range outputs.items {
		path := fmt.Sprintf("outputs[%d]", k)
		name := outputs.items[k].get("name")
		if name == nil || name.kind != text {
			return Invalidf(path+".name", "no name of an output")
		}
		i := slices.IndexFunc(c.info.Outputs, func(s Spec) bool { return s.Name == name.text })
		if i < 0 {
			return Invalidf(path+".name", "the model has no output %q; it has %s", clip(name.text), names(c.info.Outputs))
		}
		if slices.Contains(req.outputs, i) {
			return Invalidf(path+".name", "output %q comes twice", name.text)
		}
		req.outputs = append(req.outputs, i)
	}
	slices.Sort(req.outputs) // the model's order
	return nil
}

func (c *Codec) encodeV2(dst []byte, req *Request, outputs []Tensor, name, version string) []byte {
	dst = append(req.appendV2Head(dst, name, version), '[')
	first := true
	for i := range outputs {
		if len(req.outputs) > 0 && !slices.Contains(req.outputs, i) {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		t := &outputs[i]
		dst = appendString(append(dst, `{"name":`...), c.info.Outputs[i].Name)
		dst = append(dst, `,"shape":[`...)
		for d, n := range t.Shape {
			if d > 0 {
				dst = append(dst, ',')
			}
			dst = strconv.AppendInt(dst, n, 10)
		}
		dst = append(append(append(dst, `],"datatype":"`...), t.DType.V2()...), `","data":[`...)
		dst = append(appendElements(dst, t, 0, t.Len(), ",", true), "]}"...)
	}
	return append(dst, "]}"...)
}
