package model

import (
	"encoding/binary"
	"math"
	"math/bits"
	"strconv"
	"unsafe"
)

// exact10 are the powers of ten that a float64 holds exactly.
//
//nolint:gochecknoglobals // a constant table
var exact10 = [...]float64{
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
	1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
}

// whole10 are the powers of ten that a uint64 holds.
//
//nolint:gochecknoglobals // a constant table
var whole10 = [...]uint64{
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
	1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
}

const (
	maxDigits      = 19 // that surely fit a uint64
	maxWholeDigits = 18 // that surely fit an int64
)

// float reads a JSON number as the float64 nearest to it, which is that of
// strconv.ParseFloat in every bit. whole says that it has neither fraction nor
// exponent; then it is within int64, and -0 is 0, as of an integer. It is not
// ok, with the position where it was, when there is no number or a longer one.
func (s *scanner) float() (f float64, whole, ok bool) {
	buf, i := s.buf, s.pos
	if i >= len(buf) {
		return 0, false, false
	}
	sign := (uint64(buf[i]^'-') - 1) >> 63 // 1 for minus; without a branch, since a processor cannot foresee signs
	i += int(sign)
	start, mant := i, uint64(0)
	for ; i < len(buf); i++ {
		c := buf[i] - '0'
		if c > 9 {
			break
		}
		mant = mant*10 + uint64(c)
	}
	digits, exp := i-start, 0
	if digits == 0 || digits > 1 && buf[start] == '0' {
		return 0, false, false
	}
	whole = true
	if i < len(buf) && buf[i] == '.' {
		i++
		from := i
		for i+8 <= len(buf) && buf[i+6]-'0' <= 9 && buf[i+7]-'0' <= 9 {
			n, ok := eightDigits(binary.LittleEndian.Uint64(buf[i:]))
			if !ok {
				break
			}
			mant, i = mant*1e8+n, i+8
		}
		for ; i < len(buf); i++ {
			c := buf[i] - '0'
			if c > 9 {
				break
			}
			mant = mant*10 + uint64(c)
		}
		if exp = from - i; exp == 0 {
			return 0, false, false
		}
		digits -= exp
		whole = false
	}
	if i < len(buf) && buf[i]|0x20 == 'e' {
		e, end := exponent(buf, i+1)
		if end < 0 {
			return 0, false, false
		}
		exp, i, whole = exp+e, end, false
	}
	if whole {
		if digits > maxWholeDigits {
			return 0, false, false
		}
		s.pos = i
		if mant == 0 {
			return 0, true, true
		}
		return signed(float64(mant), sign), true, true
	}
	if digits > maxDigits {
		f = parseFloat(buf[start:i])
	} else {
		f = scale(mant, exp, buf[start:i])
	}
	s.pos = i
	return signed(f, sign), false, true
}

func signed(f float64, sign uint64) float64 {
	return math.Float64frombits(math.Float64bits(f) | sign<<63)
}

// eightDigits is the number that eight characters are, the first in the lowest
// byte. Pairs of digits are joined, then pairs of pairs, then those, in one
// word each time.
func eightDigits(w uint64) (n uint64, ok bool) {
	const zeros, high, six, digits = 0x3030303030303030, 0xf0f0f0f0f0f0f0f0, 0x0606060606060606, 0x3333333333333333
	if (w&high)|((w+six)&high)>>4 != digits {
		return 0, false
	}
	w -= zeros
	w = w*10 + w>>8
	const mask, low, up = 0x000000ff000000ff, 100 + 1000000<<32, 1 + 10000<<32
	return ((w&mask)*low + (w>>16&mask)*up) >> 32, true
}

// exponent reads what follows the e, and returns where it ends, -1 when there
// are no digits.
func exponent(buf []byte, i int) (e, end int) {
	neg := false
	if i < len(buf) && (buf[i] == '+' || buf[i] == '-') {
		neg = buf[i] == '-'
		i++
	}
	from := i
	for ; i < len(buf) && buf[i]-'0' <= 9; i++ {
		if e < 1<<20 { // beyond all floats already
			e = e*10 + int(buf[i]-'0')
		}
	}
	if i == from {
		return 0, -1
	}
	if neg {
		e = -e
	}
	return e, i
}

// scale is mant × 10^exp, rounded once. text is the number, for the cases that
// are left to the standard library.
//
// With an exact mantissa and an exact power of ten the processor's own product
// or quotient is the nearest float (Clinger, How to Read Floating Point Numbers
// Accurately, 1990). A longer mantissa is divided as an integer.
func scale(mant uint64, exp int, text []byte) float64 {
	const exact = 1 << 53
	switch {
	case mant == 0:
		return 0
	case exp == 0:
		return float64(mant)
	case mant <= exact && exp < 0 && -exp < len(exact10):
		return float64(mant) / exact10[-exp]
	case mant <= exact && exp > 0 && exp < len(exact10):
		return float64(mant) * exact10[exp]
	case exp < 0 && -exp < len(whole10):
		return quotient(mant, whole10[-exp])
	default:
		return parseFloat(text)
	}
}

// quotient is m / d to the nearest float64. m and d are shifted up so that the
// integer quotient has 63 or 64 bits: more than float64's 53 and one to round
// by. That there is a remainder goes into the last bit, which is none of those.
func quotient(m, d uint64) float64 {
	up, down := bits.LeadingZeros64(m), bits.LeadingZeros64(d)
	m, d = m<<up, d<<down
	q, rest := bits.Div64(m>>1, m<<63, d)
	if rest != 0 {
		q |= 1
	}
	const bias, fraction = 1023, 52
	return float64(q) * math.Float64frombits(uint64(bias-63-up+down)<<fraction) //nolint:gosec // between 900 and 1100
}

// parseFloat is the standard library's, of a text that is a number without its
// sign. What is too large is infinity, as for Python.
func parseFloat(text []byte) float64 {
	f, _ := strconv.ParseFloat(unsafe.String(unsafe.SliceData(text), len(text)), 64) //nolint:gosec // the string does not outlive the call; only the range can be wrong
	return f
}

// whole reads a JSON number without fraction and exponent. It is not ok, with
// the position where it was, when there is none or a longer one than an int64
// surely holds.
func (s *scanner) whole() (int64, bool) {
	buf, i := s.buf, s.pos
	neg := i < len(buf) && buf[i] == '-'
	if neg {
		i++
	}
	start, n := i, int64(0)
	for ; i < len(buf) && buf[i]-'0' <= 9; i++ {
		n = n*10 + int64(buf[i]-'0')
	}
	digits := i - start
	if digits == 0 || digits > maxWholeDigits || digits > 1 && buf[start] == '0' ||
		i < len(buf) && (buf[i] == '.' || buf[i]|0x20 == 'e') {
		return 0, false
	}
	if neg {
		n = -n
	}
	s.pos = i
	return n, true
}
