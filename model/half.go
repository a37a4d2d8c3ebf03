package model

import "math"

// halfBits is the float16 nearest to f, ties to even, in the bits of IEEE 754.
func halfBits(f float64) uint16 {
	b := math.Float64bits(f)
	sign := uint16(b >> 48 & 0x8000)
	exp, frac := int(b>>52&0x7ff)-1023, b&(1<<52-1)
	switch {
	case exp == 1024 && frac != 0:
		return sign | 0x7e00
	case exp > 15:
		return sign | 0x7c00
	case exp >= -14:
		// A carry out of the fraction goes into the exponent, up to infinity.
		return sign + uint16(roundShift(uint64(exp+15)<<52|frac, 42)) //nolint:gosec // 16 bits are left
	case exp >= -25:
		return sign + uint16(roundShift(1<<52|frac, uint(28-exp))) //nolint:gosec // a subnormal
	default:
		return sign
	}
}

// roundShift is x / 2^n to the nearest, ties to even.
func roundShift(x uint64, n uint) uint64 {
	half, q := uint64(1)<<(n-1), x>>n
	if rest := x & (1<<n - 1); rest > half || rest == half && q&1 == 1 {
		q++
	}
	return q
}

// halfFloat is the number that a float16's bits stand for.
func halfFloat(h uint16) float64 {
	exp, frac := int(h>>10&0x1f), float64(h&0x3ff)
	var f float64
	switch exp {
	case 0:
		f = math.Ldexp(frac, -24)
	case 31:
		if f = math.Inf(1); frac != 0 {
			f = math.NaN()
		}
	default:
		f = math.Ldexp(1024+frac, exp-25)
	}
	return math.Copysign(f, 1-2*float64(h>>15))
}

// HalfBits is the float16 nearest to f, ties to even, in the bits that a
// [Float16] tensor holds.
func HalfBits(f float64) uint16 { return halfBits(f) }
