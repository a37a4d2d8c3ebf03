package remote

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"strconv"

	"github.com/millrace/millrace/model"
)

// inference is a V2 answer's JSON.
type inference struct {
	Version name `json:"model_version"`
	Outputs []struct {
		Name       string          `json:"name"`
		Datatype   string          `json:"datatype"`
		Shape      []int64         `json:"shape"`
		Data       json.RawMessage `json:"data"`
		Parameters struct {
			BinarySize *int64 `json:"binary_data_size"`
		} `json:"parameters"`
	} `json:"outputs"`
}

// readAnswer makes tensors of an answer, in the order and of the types that the
// metadata declares, and returns the version that the answer names. Whatever is
// otherwise is the model's failure. Outputs that are not declared are left.
func readAnswer(specs []model.Spec, a *answer) ([]model.Tensor, string, error) {
	head, tail, err := cutHeader(a)
	if err != nil {
		return nil, "", err
	}
	var got inference
	if err := json.Unmarshal(head, &got); err != nil {
		return nil, "", failed("the answer is not V2's JSON: %w", err)
	}
	out := make([]model.Tensor, len(specs))
	for i := range got.Outputs {
		o := &got.Outputs[i]
		var data []byte
		if size := o.Parameters.BinarySize; size != nil {
			if *size < 0 || *size > int64(len(tail)) {
				return nil, "", failed("output %q: %d bytes are said to follow, %d do", o.Name, *size, len(tail))
			}
			data, tail = tail[:*size], tail[*size:]
		}
		k := placeOf(specs, o.Name, len(got.Outputs))
		if k < 0 {
			continue
		}
		t := &out[k]
		if t.DType != model.Invalid {
			return nil, "", failed("output %q comes twice", o.Name)
		}
		t.Name, t.DType, t.Shape = specs[k].Name, specs[k].DType, o.Shape
		if o.Parameters.BinarySize == nil {
			err = fillJSON(&specs[k], t, o.Datatype, o.Data)
		} else {
			err = fillBinary(&specs[k], t, o.Datatype, data)
		}
		if err != nil {
			return nil, "", failed("output %q: %w", o.Name, err)
		}
	}
	if len(tail) > 0 {
		return nil, "", failed("%d bytes follow the last output", len(tail))
	}
	for i := range specs {
		if out[i].DType == model.Invalid {
			return nil, "", failed("output %q is missing in the answer, which has %d", specs[i].Name, len(got.Outputs))
		}
	}
	return out, string(got.Version), nil
}

// cutHeader parts the JSON from the tensors that may follow it.
func cutHeader(a *answer) (head, tail []byte, err error) {
	text := a.header.Get(headerLength)
	if text == "" {
		return a.body, nil, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > len(a.body) {
		return nil, nil, failed("the answer's %s is %q, of %d bytes", headerLength, text, len(a.body))
	}
	return a.body[:n], a.body[n:], nil
}

// placeOf finds the declared output of a name. The only output of a model may
// be called otherwise in answers than in its metadata, as MLServer does.
func placeOf(specs []model.Spec, name string, outputs int) int {
	for i := range specs {
		if specs[i].Name == name {
			return i
		}
	}
	if len(specs) == 1 && outputs == 1 {
		return 0
	}
	return -1
}

// prepare holds an output against what is declared, and returns its number of
// elements.
func prepare(spec *model.Spec, t *model.Tensor, datatype string) (int, error) {
	if datatype != spec.DType.V2() {
		return 0, fmt.Errorf("datatype %q, where the metadata has %s", datatype, spec.DType.V2())
	}
	if !spec.Fits(t.Shape) {
		return 0, fmt.Errorf("shape %v, where the metadata has %v", t.Shape, spec.Shape)
	}
	n, err := model.Elements(t.Shape, math.MaxInt32)
	return int(n), err
}

// fillBinary takes an output of the binary tensor extension.
func fillBinary(spec *model.Spec, t *model.Tensor, datatype string, data []byte) error {
	n, err := prepare(spec, t, datatype)
	if err != nil {
		return err
	}
	if t.DType == model.String {
		return fillStrings(t, n, data)
	}
	if len(data) != n*t.DType.Size() {
		return fmt.Errorf("%d bytes do not fill shape %v", len(data), t.Shape)
	}
	t.Data = alloc(len(data))
	copy(t.Data, data)
	if t.DType == model.Bool {
		for i, b := range t.Data {
			t.Data[i] = min(b, 1)
		}
	}
	return nil
}

func fillStrings(t *model.Tensor, n int, data []byte) error {
	if n > len(data)/4 { // each has its length at least
		return fmt.Errorf("%d bytes do not hold the %d strings of shape %v", len(data), n, t.Shape)
	}
	t.Strings = make([]string, n)
	for i := range t.Strings {
		if len(data) < 4 {
			return fmt.Errorf("the bytes end within string %d of %d", i, n)
		}
		size := binary.LittleEndian.Uint32(data)
		if data = data[4:]; uint64(size) > uint64(len(data)) {
			return fmt.Errorf("string %d is said to have %d bytes, %d are left", i, size, len(data))
		}
		t.Strings[i], data = string(data[:size]), data[size:]
	}
	if len(data) > 0 {
		return fmt.Errorf("%d bytes follow the last string", len(data))
	}
	return nil
}
