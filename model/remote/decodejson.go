package remote

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/millrace/millrace/model"
)

// fillJSON takes an output whose data is in the JSON, nested or flat. null is
// NaN among floats: what servers write that hold to JSON.
func fillJSON(spec *model.Spec, t *model.Tensor, datatype string, data json.RawMessage) error {
	n, err := prepare(spec, t, datatype)
	if err != nil {
		return err
	}
	if n > len(data) { // an element takes a character at least
		return fmt.Errorf("the data does not hold the %d elements of shape %v", n, t.Shape)
	}
	if t.DType == model.String {
		t.Strings = make([]string, n)
	} else {
		t.Data = alloc(n * t.DType.Size())
	}
	at := 0
	for len(data) > 0 {
		token, rest := next(data)
		if data = rest; token == nil {
			continue
		}
		if at == n {
			return fmt.Errorf("more elements than the %d of shape %v", n, t.Shape)
		}
		if err := set(t, at, token); err != nil {
			return fmt.Errorf("element %d: %w", at, err)
		}
		at++
	}
	if at != n {
		return fmt.Errorf("%d elements, where shape %v has %d", at, t.Shape, n)
	}
	return nil
}

// next takes one token off valid JSON; nil for what only parts the elements. An
// object is left as its parts, which are no elements of any tensor.
func next(data []byte) (token, rest []byte) {
	switch data[0] {
	case ' ', '\t', '\r', '\n', ',', '[', ']':
		return nil, data[1:]
	case '"':
		for i := 1; i < len(data); i++ {
			switch data[i] {
			case '\\':
				i++
			case '"':
				return data[:i+1], data[i+1:]
			}
		}
		return data, nil
	}
	for i, c := range data {
		switch c {
		case ' ', '\t', '\r', '\n', ',', ']':
			return data[:i], data[i:]
		}
	}
	return data, nil
}

var errElement = errors.New("not one of the output's datatype")

// set reads one element.
func set(t *model.Tensor, at int, token []byte) error {
	switch t.DType { //nolint:exhaustive // no tensor is of another type
	case model.Int8:
		return setInt(model.View[int8](t), at, token, 8)
	case model.Int16:
		return setInt(model.View[int16](t), at, token, 16)
	case model.Int32:
		return setInt(model.View[int32](t), at, token, 32)
	case model.Int64:
		return setInt(model.View[int64](t), at, token, 64)
	case model.Uint8:
		return setUint(model.View[uint8](t), at, token, 8)
	case model.Uint16:
		return setUint(model.View[uint16](t), at, token, 16)
	case model.Uint32:
		return setUint(model.View[uint32](t), at, token, 32)
	case model.Uint64:
		return setUint(model.View[uint64](t), at, token, 64)
	case model.String:
		if token[0] != '"' {
			return errElement
		}
		return json.Unmarshal(token, &t.Strings[at])
	case model.Bool:
		return setBool(t, at, token)
	}
	f, err := floatOf(token)
	switch t.DType { //nolint:exhaustive // floats alone are left
	case model.Float16:
		model.View[uint16](t)[at] = model.HalfBits(f)
	case model.Float32:
		model.View[float32](t)[at] = float32(f)
	default:
		model.View[float64](t)[at] = f
	}
	return err
}

func setBool(t *model.Tensor, at int, token []byte) error {
	switch string(token) {
	case "true", "1":
		t.Data[at] = 1
	case "false", "0":
		t.Data[at] = 0
	default:
		return errElement
	}
	return nil
}

func setInt[T int8 | int16 | int32 | int64](dst []T, at int, token []byte, bits int) error {
	n, err := strconv.ParseInt(string(token), 10, bits)
	dst[at] = T(n)
	return wrong(err)
}

func setUint[T uint8 | uint16 | uint32 | uint64](dst []T, at int, token []byte, bits int) error {
	n, err := strconv.ParseUint(string(token), 10, bits)
	dst[at] = T(n)
	return wrong(err)
}

func floatOf(token []byte) (float64, error) {
	if string(token) == "null" {
		return math.NaN(), nil
	}
	if c := token[0]; c != '-' && (c < '0' || c > '9') { // ParseFloat takes more words than JSON
		return 0, errElement
	}
	f, err := strconv.ParseFloat(string(token), 64)
	if math.IsInf(f, 0) { // as Python reads 1e999
		err = nil
	}
	return f, wrong(err)
}

func wrong(err error) error {
	if err != nil {
		return errElement
	}
	return nil
}
