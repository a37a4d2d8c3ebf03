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
	all, _, err := req.takeForm(body.get("parameters"), "parameters", "binary_data_output")
	if err != nil {
		return err
	}
	req.allBytes = all
	return c.selectOutputs(req, body.get("outputs"))
}

func (c *Codec) decodeV2Input(req *Request, in *value, path string, seen []bool) *Error {
	if in.kind != object {
		return Invalidf(path, "%s, where an object should be", in.describe())
	}
	name, datatype, shape := in.get("name"), in.get("datatype"), in.get("shape")
	switch {
	case name == nil || name.kind != text:
		return Invalidf(path+".name", "no name of an input")
	case datatype == nil || datatype.kind != text:
		return Invalidf(path+".datatype", "no datatype, as in FP32")
	case shape == nil || shape.kind != list:
		return Invalidf(path+".shape", "no list of dimensions")
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
	if !spec.Fits(dims) {
		return Invalidf(spec.Name, "shape %s, where the model takes %s", shapeText(dims), shapeText(spec.Shape))
	}
	n, err := Elements(dims, math.MaxInt32)
	if err != nil {
		return Invalidf(spec.Name, "%w", err)
	}
	if err := c.room(n, spec.Name); err != nil {
		return err
	}
	return c.v2Data(req, i, in, dims, n)
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
		binary, told, err := req.takeForm(outputs.items[k].get("parameters"), path+".parameters", "binary_data")
		if err != nil {
			return err
		}
		req.form(i, binary, told)
	}
	slices.Sort(req.outputs) // the model's order
	return nil
}

// form notes how an output is asked for, where that is told.
func (r *Request) form(output int, binary, told bool) {
	switch {
	case told && binary:
		r.asBytes = append(r.asBytes, output)
	case told:
		r.asJSON = append(r.asJSON, output)
	}
}

func (c *Codec) encodeV2(dst []byte, req *Request, outputs []Tensor, name, version string) ([]byte, error) {
	from := len(dst)
	dst = append(req.appendV2Head(dst, name, version), '[')
	first, binary := true, false
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
		dst = appendShape(append(dst, `,"shape":`...), t.Shape)
		dst = append(append(append(dst, `,"datatype":"`...), t.DType.V2()...), '"')
		if req.wants(i) {
			binary = true
			dst = strconv.AppendInt(append(dst, `,"parameters":{"binary_data_size":`...), t.bytesOf(), 10)
			dst = append(dst, "}}"...)
			continue
		}
		dst = append(appendElements(append(dst, `,"data":[`...), t, 0, t.Len(), ",", true), "]}"...)
	}
	dst = append(dst, "]}"...)
	if !binary {
		return dst, nil
	}
	head := len(dst) - from
	for i := range outputs {
		if !req.wants(i) || len(req.outputs) > 0 && !slices.Contains(req.outputs, i) {
			continue
		}
		var err *Error
		if dst, err = outputs[i].appendBytes(dst); err != nil {
			return dst, err
		}
	}
	req.head = head
	return dst, nil
}

func appendShape(dst []byte, shape []int64) []byte {
	dst = append(dst, '[')
	for d, n := range shape {
		if d > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(dst, n, 10)
	}
	return append(dst, ']')
}
