package follow

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBuckets(t *testing.T) {
	for range 100_000 {
		d := time.Duration(1<<smallest + rand.Int64N(int64(time.Minute)))
		up := upper(bucket(d))
		require.Greater(t, up, d)
		require.LessOrEqual(t, float64(up), 1.25*float64(d), d)
	}
	require.Zero(t, bucket(0))
	require.Equal(t, 4*octaves-1, bucket(time.Hour))
}

func TestP95(t *testing.T) {
	for name, c := range map[string]struct {
		fast, slow int
		want       time.Duration // at least
	}{
		"none":            {0, 0, 0},
		"all fast":        {100, 0, time.Millisecond},
		"a twentieth":     {95, 5, time.Millisecond},
		"a little more":   {94, 6, time.Second},
		"few":             {19, 1, time.Millisecond},
		"too many of few": {18, 2, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			var tl tally
			for range c.fast {
				tl.add(true, time.Millisecond, 1)
			}
			for range c.slow {
				tl.add(true, time.Second, 64)
			}
			at, n := p95(tl.all()...)
			require.Equal(t, uint64(c.fast+c.slow), n)
			require.GreaterOrEqual(t, at, c.want)
			require.LessOrEqual(t, float64(at), 1.25*float64(c.want))
		})
	}
}
