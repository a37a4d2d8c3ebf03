package model

// Floats appends the elements of a tensor of numbers or booleans as float64s.
// Of 64-bit integers beyond 2^53 it is the nearest float64. A tensor of strings
// has none: ok is false.
func (t *Tensor) Floats(dst []float64) (floats []float64, ok bool) {
	switch t.DType { //nolint:exhaustive // the others are no numbers
	case Bool:
		for _, b := range t.Data {
			dst = append(dst, float64(min(b, 1)))
		}
	case Int8:
		dst = appendFloats(dst, View[int8](t))
	case Int16:
		dst = appendFloats(dst, View[int16](t))
	case Int32:
		dst = appendFloats(dst, View[int32](t))
	case Int64:
		dst = appendFloats(dst, View[int64](t))
	case Uint8:
		dst = appendFloats(dst, View[uint8](t))
	case Uint16:
		dst = appendFloats(dst, View[uint16](t))
	case Uint32:
		dst = appendFloats(dst, View[uint32](t))
	case Uint64:
		dst = appendFloats(dst, View[uint64](t))
	case Float16:
		for _, bits := range View[uint16](t) {
			dst = append(dst, halfFloat(bits))
		}
	case Float32:
		dst = appendFloats(dst, View[float32](t))
	case Float64:
		dst = appendFloats(dst, View[float64](t))
	default:
		return dst, false
	}
	return dst, true
}

func appendFloats[T ~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~float32 | ~float64](dst []float64, elements []T) []float64 {
	for _, v := range elements {
		dst = append(dst, float64(v))
	}
	return dst
}
