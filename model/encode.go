package model

import (
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// Encode appends the answer's body in the request's dialect. name and version
// are those of the model, for V2. It fails with [Failed] when the outputs are
// not what the model declares, and with [InvalidInput] when a data frame was
// sent and the outputs make no table, as with MLflow.
//
// MLflow's is byte for byte what MLflow writes, but for NaN and infinity: JSON
// has neither, so they are null here, in both dialects.
func (c *Codec) Encode(dst []byte, req *Request, outputs []Tensor, name, version string) ([]byte, error) {
	req.head = 0
	if len(outputs) != len(c.info.Outputs) {
		return dst, Errorf(Failed, "%d outputs, where the model has %d", len(outputs), len(c.info.Outputs))
	}
	for i := range outputs {
		n, err := Elements(outputs[i].Shape, math.MaxInt32)
		if err != nil {
			return dst, Errorf(Failed, "output %q: %w", outputs[i].Name, err)
		}
		if n != int64(outputs[i].Len()) {
			return dst, Errorf(Failed, "output %q: %d elements do not fill shape %v", outputs[i].Name, outputs[i].Len(), outputs[i].Shape)
		}
	}
	switch {
	case c.info.Raw:
		return c.encodeRaw(dst, req, outputs, name, version)
	case req.dialect == v2Dialect:
		return c.encodeV2(dst, req, outputs, name, version)
	case c.info.Array:
		dst = appendNested(append(dst, `{"predictions": `...), &outputs[0])
		return append(dst, '}'), nil
	case req.records:
		return c.encodeRecords(dst, outputs)
	}
	dst = append(dst, `{"predictions": {`...)
	for i := range outputs {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = appendString(dst, c.info.Outputs[i].Name)
		dst = append(dst, ": "...)
		dst = appendNested(dst, &outputs[i])
	}
	return append(dst, "}}"...), nil
}

// encodeRecords writes every output's elements one below the other, whatever
// their shape was.
func (c *Codec) encodeRecords(dst []byte, outputs []Tensor) ([]byte, error) {
	n := 0
	for i := range outputs {
		m := outputs[i].Len()
		if k := len(outputs[i].Labels); k > 0 {
			m /= k
		}
		if i > 0 && m != n {
			return dst, Errorf(InvalidInput, "the outputs have different lengths, which make no table: %q has %d elements, %q has %d; send tensors (inputs) instead of a data frame",
				c.info.Outputs[0].Name, n, c.info.Outputs[i].Name, m)
		}
		n = m
	}
	dst = append(dst, `{"predictions": [`...)
	for row := range n {
		if row > 0 {
			dst = append(dst, ", "...)
		}
		dst = append(dst, '{')
		for i := range outputs {
			if i > 0 {
				dst = append(dst, ", "...)
			}
			dst = appendString(dst, c.info.Outputs[i].Name)
			dst = append(dst, ": "...)
			if k := len(outputs[i].Labels); k > 0 {
				dst = appendLabelled(dst, &outputs[i], row*k)
			} else {
				dst = appendElement(dst, &outputs[i], row, false)
			}
		}
		dst = append(dst, '}')
	}
	return append(dst, "]}"...), nil
}

// appendNested writes a tensor as lists of lists, and as objects where the last
// dimension has labels.
func appendNested(dst []byte, t *Tensor) []byte {
	shape := t.Shape
	if len(t.Labels) > 0 && len(shape) > 0 && shape[len(shape)-1] == int64(len(t.Labels)) {
		shape = shape[:len(shape)-1]
	}
	dst, _ = appendDim(dst, t, shape, 0)
	return dst
}

// appendDim writes the dimensions of shape from element at on, and returns
// where it got to.
func appendDim(dst []byte, t *Tensor, shape []int64, at int) ([]byte, int) {
	if len(shape) == 0 {
		if len(t.Labels) > 0 {
			return appendLabelled(dst, t, at), at + len(t.Labels)
		}
		return appendElement(dst, t, at, false), at + 1
	}
	dst = append(dst, '[')
	if len(shape) == 1 && len(t.Labels) == 0 {
		n := int(shape[0])
		return append(appendElements(dst, t, at, n, ", ", false), ']'), at + n
	}
	for i := range shape[0] {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst, at = appendDim(dst, t, shape[1:], at)
	}
	return append(dst, ']'), at
}

func appendLabelled(dst []byte, t *Tensor, at int) []byte {
	dst = append(dst, '{')
	for i, label := range t.Labels {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = appendString(dst, label)
		dst = append(dst, ": "...)
		dst = appendElement(dst, t, at+i, false)
	}
	return append(dst, '}')
}

// appendElements writes n elements from the given one on. compact floats are
// the shortest that read back as the tensor's own type; others are float64s in
// Python's form, as MLflow writes them.
func appendElements(dst []byte, t *Tensor, at, n int, sep string, compact bool) []byte {
	for i := range n {
		if i > 0 {
			dst = append(dst, sep...)
		}
		dst = appendElement(dst, t, at+i, compact)
	}
	return dst
}

func appendElement(dst []byte, t *Tensor, i int, compact bool) []byte {
	switch t.DType { //nolint:exhaustive // no tensor is of another type
	case Bool:
		return strconv.AppendBool(dst, View[uint8](t)[i] != 0)
	case Int8:
		return strconv.AppendInt(dst, int64(View[int8](t)[i]), 10)
	case Int16:
		return strconv.AppendInt(dst, int64(View[int16](t)[i]), 10)
	case Int32:
		return strconv.AppendInt(dst, int64(View[int32](t)[i]), 10)
	case Int64:
		return strconv.AppendInt(dst, View[int64](t)[i], 10)
	case Uint8:
		return strconv.AppendUint(dst, uint64(View[uint8](t)[i]), 10)
	case Uint16:
		return strconv.AppendUint(dst, uint64(View[uint16](t)[i]), 10)
	case Uint32:
		return strconv.AppendUint(dst, uint64(View[uint32](t)[i]), 10)
	case Uint64:
		return strconv.AppendUint(dst, View[uint64](t)[i], 10)
	case Float16:
		return appendFloat(dst, halfFloat(View[uint16](t)[i]), 32, compact)
	case Float32:
		return appendFloat(dst, float64(View[float32](t)[i]), 32, compact)
	case Float64:
		return appendFloat(dst, View[float64](t)[i], 64, compact)
	case String:
		return appendString(dst, t.Strings[i])
	default:
		return append(dst, "null"...)
	}
}

func appendFloat(dst []byte, f float64, bits int, compact bool) []byte {
	switch {
	case f != f || f-f != 0: // NaN and infinity
		return append(dst, "null"...)
	case compact:
		return strconv.AppendFloat(dst, f, 'g', -1, bits)
	default:
		return appendFinite(dst, f)
	}
}

// appendString writes a JSON string in ASCII, with Python's escapes.
func appendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < 0x7f && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, s[from:i]...)
		r, n := utf8.DecodeRuneInString(s[i:])
		i += n
		from = i
		if k := slices.Index([]byte("\"\\\n\r\t\b\f"), c); k >= 0 {
			dst = append(dst, '\\', "\"\\nrtbf"[k])
			continue
		}
		units := [2]rune{r}
		if r > 0xffff {
			r -= 0x10000
			units = [2]rune{0xd800 + r>>10, 0xdc00 + r&0x3ff}
		}
		for _, u := range units {
			if u != 0 || r == 0 {
				dst = append(dst, '\\', 'u', hex[u>>12&15], hex[u>>8&15], hex[u>>4&15], hex[u&15])
			}
			if r == 0 {
				break
			}
		}
	}
	return append(append(dst, s[from:]...), '"')
}
