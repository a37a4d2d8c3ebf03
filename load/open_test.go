package load_test

import (
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/load"
)

func TestAnOpenLoopKeepsItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config(func(int, *http.Request) (time.Duration, int, error) {
			return 490 * time.Millisecond, http.StatusOK, nil // none ends as the test or a window does
		})
		cfg.Steps = []load.Step{{Rate: 10, For: 5 * time.Second}, {Rate: 50, For: 4 * time.Second}}
		r, err := load.Run(t.Context(), cfg, io.Discard)
		require.NoError(t, err)
		// All but those due in the last half second, which are broken off.
		require.EqualValues(t, 50+175+1, r.Requests)
		require.Zero(t, r.Failures)
		require.Equal(t, 490*time.Millisecond, r.Max)
		require.Equal(t, "open", r.Kind)
		require.Equal(t, "10 a second for 5s, then 50 a second for 4s", r.Load)
		require.Len(t, r.Windows, 9)
		require.EqualValues(t, 10, r.Windows[2].Requests)
		require.EqualValues(t, 50, r.Windows[7].Requests)
		require.Equal(t, 490*time.Millisecond, r.Windows[7].P99.Round(5*time.Millisecond))
	})
}

// A service that stands still for two seconds: a closed loop would see one slow
// request, here the 200 that were due meanwhile are all late.
func TestAStandstillIsBlamedForAllWhoWouldHaveCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		still := func() time.Duration {
			if since := time.Since(begun); since >= 4*time.Second && since < 6*time.Second {
				return 6*time.Second - since
			}
			return time.Millisecond
		}
		cfg := config(func(int, *http.Request) (time.Duration, int, error) { return still(), http.StatusOK, nil })
		cfg.Steps, cfg.MaxInFlight = []load.Step{{Rate: 100, For: 10 * time.Second}}, 1
		r, err := load.Run(t.Context(), cfg, io.Discard)
		require.NoError(t, err)
		require.Zero(t, r.Failures, r.Reasons)
		require.InDelta(t, 1000, r.Requests, 2)
		require.Equal(t, 2*time.Second, r.Max)
		require.Greater(t, r.P90, 900*time.Millisecond, "a fifth of all was due in the standstill")
	})
}

func TestWhatIsDueAndFindsNoPlaceFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config(func(int, *http.Request) (time.Duration, int, error) { return time.Hour, http.StatusOK, nil })
		cfg.Steps, cfg.MaxInFlight, cfg.Timeout = []load.Step{{Rate: 10, For: 5 * time.Second}}, 3, time.Hour
		r, err := load.Run(t.Context(), cfg, io.Discard)
		require.NoError(t, err)
		require.EqualValues(t, 47, r.Failures)
		require.EqualValues(t, 47, r.Requests)
		require.Len(t, r.Reasons, 1)
		require.InDelta(t, 1, r.ErrorRate(), 0)
		p95, err := load.ParseExpectation("p95<1h")
		require.NoError(t, err)
		require.False(t, r.Judge([]load.Expectation{p95}))
		require.Equal(t, "NOT met  p95<1h: no request ended", r.Verdicts[1].String())
	})
}

func TestASearchFindsWhatAServiceBears(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// One at a time, 8 ms each: 125 a second.
		turn := make(chan struct{}, 1)
		cfg := config(func(int, *http.Request) (time.Duration, int, error) {
			turn <- struct{}{}
			time.Sleep(8 * time.Millisecond)
			<-turn
			return 0, http.StatusOK, nil
		})
		objective, err := load.ParseExpectation("p95<50ms")
		require.NoError(t, err)
		r, err := load.Search(t.Context(), load.SearchConfig{
			Config: cfg, First: 10, Trial: 20 * time.Second, Objective: []load.Expectation{objective},
		}, io.Discard)
		require.NoError(t, err)
		require.True(t, r.Capacity.Bound, r.String())
		require.InDelta(t, 125, r.Capacity.Rate, 0)
		require.Contains(t, r.String(), "capacity: ")
		require.Len(t, r.Capacity.Trials, 9)
		require.False(t, r.Capacity.Trials[4].Held, "160 a second")
	})
}

func TestASearchWithoutAnyRateThatHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config(func(int, *http.Request) (time.Duration, int, error) { return 0, http.StatusInternalServerError, nil })
		r, err := load.Search(t.Context(), load.SearchConfig{Config: cfg, First: 4, Trial: 2 * time.Second}, io.Discard)
		require.NoError(t, err)
		require.Zero(t, r.Capacity.Rate)
		require.Contains(t, r.String(), "no rate that was tried held")
	})
}
