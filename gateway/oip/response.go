package oip

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// Numbers of ModelInferResponse's fields. Those of its tensors are the request's.
const (
	responseModel, responseVersion, responseID, responseOutputs, responseRaw = 1, 2, 3, 5, 6
)

// answer is the JSON of a V2 response.
type answer struct {
	Model   string   `json:"model_name"`
	Version string   `json:"model_version"`
	ID      string   `json:"id"`
	Outputs []output `json:"outputs"`
}

type output struct {
	Name       string          `json:"name"`
	Datatype   string          `json:"datatype"`
	Shape      []int64         `json:"shape"`
	Data       json.RawMessage `json:"data"`
	Parameters struct {
		Size *int64 `json:"binary_data_size"`
	} `json:"parameters"`
}

// Response makes a ModelInferResponse of a V2 response whose first head bytes are JSON; 0
// is all of it. Outputs are raw_output_contents, also those whose elements are in the
// JSON.
func Response(body []byte, head int) ([]byte, error) {
	tail := []byte(nil)
	if head > 0 {
		if head > len(body) {
			return nil, fmt.Errorf("the answer's JSON is %d of %d bytes", head, len(body))
		}
		body, tail = body[:head], body[head:]
	}
	var a answer
	if err := json.Unmarshal(body, &a); err != nil {
		return nil, fmt.Errorf("the answer is not V2's JSON: %w", err)
	}
	raws := make([][]byte, len(a.Outputs))
	size := 64 + len(a.Model) + len(a.Version) + len(a.ID)
	for i := range a.Outputs {
		var err error
		o := &a.Outputs[i]
		if raws[i], tail, err = o.raw(tail); err != nil {
			return nil, fmt.Errorf("output %q: %w", o.Name, err)
		}
		size += 64 + len(o.Name) + 10*len(o.Shape) + len(raws[i])
	}
	if len(tail) > 0 {
		return nil, fmt.Errorf("%d bytes follow the answer's last output", len(tail))
	}
	dst := make([]byte, 0, size)
	dst = appendField(dst, responseModel, []byte(a.Model))
	dst = appendField(dst, responseVersion, []byte(a.Version))
	dst = appendField(dst, responseID, []byte(a.ID))
	for i := range a.Outputs {
		dst = protowire.AppendTag(dst, responseOutputs, protowire.BytesType)
		dst = protowire.AppendBytes(dst, a.Outputs[i].tensor())
	}
	for _, raw := range raws {
		dst = protowire.AppendTag(dst, responseRaw, protowire.BytesType)
		dst = protowire.AppendBytes(dst, raw)
	}
	return dst, nil
}

// appendField leaves out what is empty, as proto3 does.
func appendField(dst []byte, n protowire.Number, b []byte) []byte {
	if len(b) == 0 {
		return dst
	}
	return protowire.AppendBytes(protowire.AppendTag(dst, n, protowire.BytesType), b)
}

// tensor is an InferOutputTensor without contents.
func (o *output) tensor() []byte {
	dst := appendField(nil, tensorName, []byte(o.Name))
	dst = appendField(dst, tensorType, []byte(o.Datatype))
	var shape []byte
	for _, d := range o.Shape {
		shape = protowire.AppendVarint(shape, uint64(d)) //nolint:gosec // as protobuf has it
	}
	return appendField(dst, tensorShape, shape)
}

// raw is the output's elements as bytes, cut off those behind the JSON or made of those
// in it.
func (o *output) raw(tail []byte) (raw, rest []byte, err error) {
	if size := o.Parameters.Size; size != nil {
		if *size < 0 || *size > int64(len(tail)) {
			return nil, nil, fmt.Errorf("%d bytes are said to follow, %d do", *size, len(tail))
		}
		return tail[:*size], tail[*size:], nil
	}
	raw, err = Raw(o.Datatype, o.Data)
	return raw, tail, err
}

// Raw makes a JSON list of a datatype's elements, nested or flat, the bytes that they are
// in raw contents; null is NaN where there is such a number.
func Raw(datatype string, data json.RawMessage) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("no list of elements: %w", err)
	}
	return appendRaw(nil, datatype, v)
}

func appendRaw(dst []byte, datatype string, v any) ([]byte, error) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			var err error
			if dst, err = appendRaw(dst, datatype, item); err != nil {
				return nil, err
			}
		}
		return dst, nil
	case string:
		if datatype == "BYTES" && int64(len(v)) <= math.MaxUint32 {
			return append(little.AppendUint32(dst, uint32(len(v))), v...), nil //nolint:gosec // checked
		}
	case bool:
		if datatype == "BOOL" {
			return append(dst, map[bool]byte{true: 1}[v]), nil
		}
	case json.Number:
		return appendNumber(dst, datatype, v)
	case nil:
		if datatype == "FP32" || datatype == "FP64" || datatype == "FP16" {
			return appendFloat(dst, datatype, math.NaN())
		}
	}
	return nil, fmt.Errorf("%v is no %s", v, datatype)
}

var errRange = errors.New("out of range")

func appendNumber(dst []byte, datatype string, n json.Number) ([]byte, error) {
	switch datatype {
	case "FP16", "FP32", "FP64":
		f, err := n.Float64()
		if err != nil {
			return nil, err
		}
		return appendFloat(dst, datatype, f)
	}
	f, err := contentsOf(datatype)
	if err != nil || f.size == 0 || datatype == "BOOL" {
		return nil, fmt.Errorf("%s is no %s", n, datatype)
	}
	v, err := wholeOf(n, f.least < 0)
	if err != nil || !f.holds(v) {
		return nil, fmt.Errorf("%s is no %s: %w", n, datatype, errors.Join(err, errRange))
	}
	for i := range f.size {
		dst = append(dst, byte(v>>(8*i))) //nolint:gosec // byte by byte
	}
	return dst, nil
}
