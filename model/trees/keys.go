package trees

import "math"

// Keys are integers in the order of the floats that they stand for, so that a
// missing value can be one below or above all of them, and a comparison is one
// instruction without special cases. 0 and -0 are the same key.

// width of a group of rows that walk together.
const width = 8

// others is the key of a category that is in no set.
const others = 1 << 30

func key32(x float32) int32 {
	b := int32(math.Float32bits(x + 0)) //nolint:gosec // the bits; -0 + 0 is 0
	return b ^ b>>31&math.MaxInt32
}

func key64(x float64) int64 {
	b := int64(math.Float64bits(x + 0)) //nolint:gosec // likewise
	return b ^ b>>63&math.MaxInt64
}

// below is the key above which an XGBoost split goes right, which it does from
// the threshold on: x < t goes left. Nothing is below NaN.
func below(t float64) int32 {
	if t != t {
		return math.MinInt32
	}
	return key32(float32(t)) - 1
}

// upTo is the key above which a LightGBM split goes right: x <= t goes left.
func upTo(t float64) int64 {
	if t != t {
		return math.MinInt64
	}
	return key64(t)
}

// fill32 writes the keys of a column for the rows of a group, as XGBoost looks
// at it. src begins at the feature of the first row, and rows are stride apart.
func fill32(k kind, dst *[width]int32, src []float32, stride, rows int) {
	for r := range rows {
		x := src[r*stride]
		switch {
		case k == category:
			dst[r] = code32(x)
		case x == x:
			dst[r] = key32(x)
		case k == nanLeft:
			dst[r] = math.MinInt32
		default:
			dst[r] = math.MaxInt32
		}
	}
}

// code32 is a category's place in a set. XGBoost takes no negative ones, and
// none that float32 could not count up to.
func code32(x float32) int32 {
	const most = 1 << 24
	switch {
	case x != x:
		return 0
	case x < 0 || x >= most:
		return others
	default:
		return int32(x) + 1
	}
}

// fill64 is fill32 as LightGBM looks at a column, to which numbers that are as
// good as 0 are 0.
func fill64(k kind, dst *[width]int64, src []float64, stride, rows int) {
	const tiny = float64(float32(1e-35))
	for r := range rows {
		x := src[r*stride]
		if x >= -tiny && x <= tiny {
			x = 0
		}
		missing := x != x
		if k >= nanZero && k <= zeroLeft && missing {
			x = 0
		}
		switch {
		case k == category:
			dst[r] = code64(x)
		case k == zeroRight && x == 0, k == nanRight && missing:
			dst[r] = math.MaxInt64
		case k == zeroLeft && x == 0, k == nanLeft && missing:
			dst[r] = math.MinInt64
		default:
			dst[r] = key64(x)
		}
	}
}

// code64 is a category's place in a set. LightGBM cuts off fractions, so that
// -0.5 is category 0.
func code64(x float64) int64 {
	switch {
	case x != x:
		return 0
	case x <= -1 || x >= math.MaxInt32:
		return others
	default:
		return int64(x) + 1
	}
}
