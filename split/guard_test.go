package split

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
)

func TestGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 10_000)
		rec, canary := keyed([]byte("k")), r.canary[""]
		fail := func(n, failures int) {
			name := r.Route(rec, "")
			r.Ran(name, n)
			for range failures {
				other, ok := r.Instead(name, canary)
				require.True(t, ok)
				require.Empty(t, other, "the model itself")
			}
		}
		fail(40, 40)
		require.Equal(t, "2", r.version(t, rec, ""), "too few to judge")
		time.Sleep(61 * time.Second)
		fail(1000, 100)
		require.Equal(t, "2", r.version(t, rec, ""), "a tenth is allowed")
		time.Sleep(61 * time.Second)
		fail(100, 10)
		require.Equal(t, "2", r.version(t, rec, ""), "the failures of a window before do not count")
		fail(10, 2)
		require.Empty(t, r.Route(rec, ""))
		require.Equal(t, "1", r.version(t, rec, ""))
		require.InDelta(t, 1, testutil.ToFloat64(r.m.Trips.WithLabelValues(challenger)), 0)
		require.InDelta(t, 152, testutil.ToFloat64(r.m.Failures.WithLabelValues(challenger)), 0)
		require.InDelta(t, 1150, testutil.ToFloat64(r.m.Requests.WithLabelValues(challenger)), 0)
		require.Equal(t, "it failed on 12 of 110 requests, more than 10 %", r.Status()[0].Off)

		r.Refresh()
		time.Sleep(time.Hour)
		require.Equal(t, "1", r.version(t, rec, ""), "it stays off")
		r.canary[""] = version("3")
		r.Refresh()
		require.Equal(t, "3", r.version(t, rec, ""), "another version begins anew")
		r.Ran(r.Route(rec, ""), 49)
		_, ok := r.Instead(r.Route(rec, ""), r.canary[""])
		require.True(t, ok)
		require.Equal(t, "3", r.version(t, rec, ""))
	})
}
