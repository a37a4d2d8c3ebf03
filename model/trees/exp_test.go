package trees

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// bigExp is e to the x by its series, after halving x.
func bigExp(x float64) float64 {
	const precision, halvings, terms = 300, 20, 30
	r := new(big.Float).SetPrec(precision).SetFloat64(x)
	r.SetMantExp(r, -halvings)
	sum, term := big.NewFloat(1).SetPrec(precision), big.NewFloat(1).SetPrec(precision)
	for i := 1; i < terms; i++ {
		term.Quo(term.Mul(term, r), new(big.Float).SetPrec(precision).SetInt64(int64(i)))
		sum.Add(sum, term)
	}
	for range halvings {
		sum.Mul(sum, sum)
	}
	f, _ := sum.Float64()
	return f
}

func TestExp(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	off, worse := 0, 0
	const n = 4000
	for range n {
		x := r.NormFloat64() * 8
		want := bigExp(x)
		if got := exp(x); got != want {
			off++
			require.InDelta(t, want, got, want*0x1p-52, "%v", x)
		}
		if math.Exp(x) != want {
			worse++
		}
	}
	require.Less(t, off, n/200)
	t.Logf("of %d numbers %d are off by a digit, with math.Exp %d", n, off, worse)
	for _, x := range []float64{0, math.Copysign(0, -1), 1e-320, -1e-300, 1, 700, -700, 708.9, -707.9} {
		require.InEpsilon(t, math.Exp(x), exp(x), 1e-15, "%v", x)
	}
	for _, x := range []float64{709.5, 710, 1000, -708.5, -745, -746, math.Inf(1), math.Inf(-1)} {
		require.Equal(t, math.Exp(x), exp(x), "%v", x) //nolint:testifylint // the same to the last digit
	}
	require.True(t, math.IsNaN(exp(math.NaN())))
}
