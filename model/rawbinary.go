package model

import (
	"encoding/json"
	"math"
	"unicode/utf8"
)

// spellOut is a binary V2 request as JSON alone, for a model that reads bodies by
// itself.
func (c *Codec) spellOut(req *Request, head []byte) ([]byte, *Error) {
	body, inputs := map[string]json.RawMessage{}, []map[string]json.RawMessage{}
	if err := json.Unmarshal(head, &body); err != nil {
		return nil, Errorf(InvalidInput, "invalid JSON: %w", err)
	}
	if err := json.Unmarshal(body["inputs"], &inputs); err != nil {
		return nil, Invalidf("inputs", "no list of objects")
	}
	for i := range inputs {
		if err := c.spellInput(req, inputs[i]); err != nil {
			return nil, err
		}
	}
	var err error
	if body["inputs"], err = json.Marshal(inputs); err == nil {
		head, err = json.Marshal(body)
	}
	if err != nil {
		return nil, Errorf(InvalidInput, "%w", err)
	}
	return head, nil
}

// spellInput puts the elements of one input into its JSON.
func (c *Codec) spellInput(req *Request, in map[string]json.RawMessage) *Error {
	params := map[string]json.RawMessage{}
	if in["parameters"] != nil && json.Unmarshal(in["parameters"], &params) != nil {
		return Invalidf("inputs", "parameters that are no object")
	}
	if params["binary_data_size"] == nil {
		return nil
	}
	spec, datatype, size, dims := Spec{}, "", int64(0), []int64(nil)
	for _, f := range []struct {
		name string
		from json.RawMessage
		to   any
	}{{"name", in["name"], &spec.Name}, {"datatype", in["datatype"], &datatype}, {"shape", in["shape"], &dims}, {"binary_data_size", params["binary_data_size"], &size}} {
		if f.from == nil || json.Unmarshal(f.from, f.to) != nil {
			return Invalidf("inputs", "an input without a fitting %s", f.name)
		}
	}
	var bad error
	if spec.DType, bad = ParseV2DType(datatype); bad != nil {
		return Invalidf(spec.Name, "%w", bad)
	}
	n, bad := Elements(dims, math.MaxInt32)
	if bad != nil {
		return Invalidf(spec.Name, "%w", bad)
	}
	if err := c.room(n, spec.Name); err != nil {
		return err
	}
	raw, ok := req.take(size)
	if !ok {
		return Invalidf(spec.Name, "binary_data_size is %d, %d bytes are left", size, len(req.rest))
	}
	var one Request
	one.reset(1)
	if err := one.view(0, &spec, dims, int(n), raw); err != nil {
		return err
	}
	if in["data"], bad = one.Inputs[0].AppendFlat(nil); bad != nil {
		return AsError(bad)
	}
	if delete(params, "binary_data_size"); len(params) == 0 {
		delete(in, "parameters")
	} else if in["parameters"], bad = json.Marshal(params); bad != nil {
		return Invalidf(spec.Name, "%w", bad)
	}
	return nil
}

// AppendFlat appends the elements as a flat JSON list, in which floats have the
// fewest digits that read back as the same number of their type. It fails with
// [InvalidInput] on what JSON has not: NaN, infinity, and strings that are not
// UTF-8.
func (t *Tensor) AppendFlat(dst []byte) ([]byte, error) {
	for i, s := range t.Strings {
		if !utf8.ValidString(s) {
			return dst, Invalidf(t.Name, "string %d is not UTF-8, and the model takes JSON alone", i)
		}
	}
	for i, f := range t.floats() {
		if f != f || f-f != 0 {
			return dst, Invalidf(t.Name, "element %d is NaN or infinity, which JSON has not, and the model takes JSON alone", i)
		}
	}
	return append(appendElements(append(dst, '['), t, 0, t.Len(), ",", true), ']'), nil
}

// floats yields the elements of a tensor of floats.
func (t *Tensor) floats() func(func(int, float64) bool) {
	return func(yield func(int, float64) bool) {
		for i := range t.Len() {
			var f float64
			switch t.DType { //nolint:exhaustive // the others have no NaN
			case Float16:
				f = halfFloat(View[uint16](t)[i])
			case Float32:
				f = float64(View[float32](t)[i])
			case Float64:
				f = View[float64](t)[i]
			default:
				return
			}
			if !yield(i, f) {
				return
			}
		}
	}
}
