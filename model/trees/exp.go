package trees

import (
	"math"
	"math/big"
)

// exp is e to the x, rounded correctly but for about one number in a thousand.
// math.Exp is off by the last digit far more often, and C's, by which the
// libraries answer, is about as good as this one: so answers are the same to the
// last digit.
//
// x is split into k/128 ln 2 and a rest of up to 0.0028, whose exponential is a
// short series. What is added last is far larger than the rest, whose own
// rounding is lost in it.
func exp(x float64) float64 {
	const most, least = 709, -708
	if !(x > least && x < most) { // also for what is close to no number
		return math.Exp(x)
	}
	k := math.RoundToEven(x * (steps / math.Ln2))
	r := math.FMA(-k, ln2High/steps, x)
	low := -k * (ln2Low / steps)
	r += low
	p := r + r*r*(1.0/2+r*(1.0/6+r*(1.0/24+r*(1.0/120))))
	i := int(k)
	t := &powers[i&(steps-1)]
	return math.Ldexp(t[0]+(t[1]+t[0]*p), i>>7)
}

const (
	steps   = 1 << 7
	ln2High = 0x1.62e42fefa38p-1         // so short that its multiples are exact
	ln2Low  = 0x1.ef35793c7673007e5ep-45 // the rest of it
)

// powers are those of 2 by a 128th from 0 to 127, each as a float and what that
// float lacks.
//
//nolint:gochecknoglobals // a constant table
var powers = powersOf2()

func powersOf2() (all [steps][2]float64) {
	const precision = 200
	root := new(big.Float).SetPrec(precision).SetInt64(2)
	for range 7 {
		root.Sqrt(root)
	}
	p := new(big.Float).SetPrec(precision).SetInt64(1)
	for i := range all {
		all[i][0], _ = p.Float64()
		rest := new(big.Float).SetPrec(precision).Sub(p, new(big.Float).SetFloat64(all[i][0]))
		all[i][1], _ = rest.Float64()
		p.Mul(p, root)
	}
	return all
}
