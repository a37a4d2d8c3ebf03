package onnx

import "math"

// halfBits is the float16 nearest to f, which here always is one exactly: f
// was made from a float16.
func halfBits(f float32) uint16 {
	b := math.Float32bits(f)
	sign := uint16(b >> 16 & 0x8000)
	exp := int(b>>23&0xff) - 127
	frac := b & 0x7fffff
	switch {
	case exp == 128:
		h := sign | 0x7c00 | uint16(frac>>13)
		if frac != 0 && h&0x3ff == 0 {
			h |= 1
		}
		return h
	case exp >= -14:
		return sign | uint16(exp+15)<<10 | uint16(frac>>13)
	case exp >= -24:
		return sign | uint16((frac|0x800000)>>(-exp-1)) //nolint:gosec // a subnormal of 10 bits
	default:
		return sign
	}
}
