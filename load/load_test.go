package load_test

import (
	"bytes"
	"context"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/load"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// service is a transport that answers after a while of virtual time.
type service func(n int, r *http.Request) (time.Duration, int, error)

func (s service) RoundTrip(r *http.Request) (*http.Response, error) {
	text, _ := io.ReadAll(r.Body)
	n, _ := strconv.Atoi(string(text))
	wait, status, err := s(n, r)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader("{}")), Request: r}, nil
}

func number(i int) []byte { return []byte(strconv.Itoa(i)) }

func config(s service) load.Config {
	target, err := load.NewHTTP(load.HTTPConfig{URL: "http://service/predict", Client: &http.Client{Transport: s}})
	if err != nil {
		panic(err)
	}
	return load.Config{Target: target, Users: 1, Duration: 10 * time.Second, Body: number}
}

func TestCountsAndPercentilesAreThoseOfTheService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// 1 ms to 1000 ms once each: 500.5 s in all, in order.
		cfg := config(func(n int, _ *http.Request) (time.Duration, int, error) {
			return time.Duration(n%1000+1) * time.Millisecond, http.StatusOK, nil
		})
		cfg.Duration = 500*time.Second + 500*time.Millisecond + 100*time.Microsecond
		r, err := load.Run(t.Context(), cfg, io.Discard)
		require.NoError(t, err)
		require.EqualValues(t, 1000, r.Requests)
		require.Zero(t, r.Failures)
		require.Equal(t, time.Millisecond, r.Min)
		require.Equal(t, time.Second, r.Max)
		require.Equal(t, 500500*time.Microsecond, r.Mean)
		for want, got := range map[float64]time.Duration{500: r.P50, 950: r.P95, 990: r.P99} {
			require.InEpsilon(t, want, float64(got)/float64(time.Millisecond), 0.002)
		}
		require.InEpsilon(t, 1000/500.5, r.Rate, 0.001)
	})
}

func TestUsersStartAtTheirRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, most atomic.Int64
		cfg := config(func(int, *http.Request) (time.Duration, int, error) {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			return 100 * time.Millisecond, http.StatusOK, nil
		})
		cfg.Users, cfg.SpawnRate, cfg.Think = 4, 1, 150*time.Millisecond
		cfg.Duration = 10*time.Second + 10*time.Millisecond
		var out bytes.Buffer
		r, err := load.Run(t.Context(), cfg, &out)
		require.NoError(t, err)
		// One request each 250 ms by the user who started n seconds in: 40, 36,
		// 32 and 28 that ended.
		require.EqualValues(t, 136, r.Requests)
		require.Contains(t, out.String(), "users 4")
		require.NotContains(t, out.String(), "\r")
	})
}

func TestPausesDiffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Time
		cfg := config(func(int, *http.Request) (time.Duration, int, error) {
			at = append(at, time.Now())
			return 0, http.StatusOK, nil
		})
		cfg.Users, cfg.Think, cfg.Spread, cfg.Duration = 1, 100*time.Millisecond, 0.5, 20*time.Second
		r, err := load.Run(t.Context(), cfg, io.Discard)
		require.NoError(t, err)
		require.Contains(t, r.Load, "who think 100ms, 50 % more or less")
		require.InDelta(t, 200, len(at), 20, "the mean is what was asked for")
		seen := make(map[time.Duration]bool)
		for i := range len(at) - 1 {
			pause := at[i+1].Sub(at[i])
			require.InDelta(t, 100, pause.Milliseconds(), 51)
			seen[pause] = true
		}
		require.Greater(t, len(seen), 100)
	})
}

func TestFailuresAreListedByReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config(func(n int, _ *http.Request) (time.Duration, int, error) {
			switch n % 4 {
			case 0:
				return 100 * time.Millisecond, http.StatusServiceUnavailable, nil
			case 1:
				return time.Hour, 0, nil
			case 2:
				return 100 * time.Millisecond, 0, io.ErrUnexpectedEOF
			default:
				return 100 * time.Millisecond, http.StatusOK, nil
			}
		})
		cfg.Timeout = 200 * time.Millisecond
		cfg.Duration = time.Second + 50*time.Millisecond
		var out bytes.Buffer
		r, err := load.Run(t.Context(), cfg, &out)
		require.NoError(t, err)
		require.EqualValues(t, 8, r.Requests)
		require.EqualValues(t, 6, r.Failures)
		require.Equal(t, map[string]int64{"HTTP 503 Service Unavailable": 2, "timeout": 2, "connection closed": 2}, r.Reasons)
		require.Contains(t, r.String(), "failures by reason\n")
		require.Contains(t, r.String(), "  2  HTTP 503 Service Unavailable\n")
	})
}

func TestAnEarlyEndStillReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config(func(int, *http.Request) (time.Duration, int, error) { return time.Second, http.StatusOK, nil })
		cfg.Duration, cfg.Users, cfg.Terminal = 0, 2, true
		ctx, cancel := context.WithTimeout(t.Context(), 3500*time.Millisecond)
		defer cancel()
		var out bytes.Buffer
		r, err := load.Run(ctx, cfg, &out)
		require.NoError(t, err)
		require.EqualValues(t, 6, r.Requests, "those broken off at the end are not counted")
		require.Zero(t, r.Failures)
		require.Contains(t, out.String(), "\r")
		require.Contains(t, r.String(), "req/s")
	})
}

func TestEachUserKeepsItsConnection(t *testing.T) {
	const users = 8
	var mu sync.Mutex
	connections, bodies := 0, make(map[string]int)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// All users wait for each other in the first rounds, so that as many
	// connections are idle at once. The responses are too long to be read by
	// the way.
	var rounds [10]sync.WaitGroup
	for i := range rounds {
		rounds[i].Add(users)
	}
	long := bytes.Repeat([]byte("x"), 1<<20)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		if n, _ := strconv.Atoi(string(text)); n < users*len(rounds) {
			rounds[n/users].Done()
			rounds[n/users].Wait()
		}
		defer func() { _, _ = w.Write(long) }()
		mu.Lock()
		defer mu.Unlock()
		bodies[string(text)]++
		if r.Header.Get("Content-Type") != "application/json" || r.Header.Get("X-Model") != "m" {
			w.WriteHeader(http.StatusBadRequest)
		}
		if len(bodies) >= 120 {
			cancel()
		}
	}))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			mu.Lock()
			defer mu.Unlock()
			connections++
		}
	}
	srv.Start()
	defer srv.Close()
	target, err := load.NewHTTP(load.HTTPConfig{URL: srv.URL, Connections: users, Header: map[string]string{"X-Model": "m"}})
	require.NoError(t, err)
	defer func() { require.NoError(t, target.Close()) }()
	r, err := load.Run(ctx, load.Config{
		Target: target, Users: users, Body: number,
		Think: 5 * time.Millisecond, // so that all connections are idle at once
	}, io.Discard)
	require.NoError(t, err)
	require.Zero(t, r.Failures, r.Reasons)
	require.GreaterOrEqual(t, r.Requests, int64(120-users))
	mu.Lock()
	defer mu.Unlock()
	require.LessOrEqual(t, connections, users)
	for body, n := range bodies {
		require.Equal(t, 1, n, body)
	}
}

func TestWhoRefusesIsNamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed at once
	require.NoError(t, err)
	require.NoError(t, l.Close())
	target, err := load.NewHTTP(load.HTTPConfig{URL: "http://" + l.Addr().String()})
	require.NoError(t, err)
	r, err := load.Run(t.Context(), load.Config{
		Target: target, Users: 1, Duration: 20 * time.Millisecond, Think: time.Millisecond, Body: number,
	}, io.Discard)
	require.NoError(t, err)
	require.Positive(t, r.Failures)
	require.Equal(t, map[string]int64{"connection refused": r.Failures}, r.Reasons)
}

func TestSettingsAreChecked(t *testing.T) {
	_, err := load.Run(t.Context(), load.Config{SpawnRate: math.NaN(), Duration: -1, Timeout: -1, Think: -1, Spread: 2, MaxInFlight: -1}, io.Discard)
	for _, flag := range []string{"nothing to send to", "--users", "--spawn-rate", "--duration", "--timeout", "--think:", "--think-spread:", "--max-in-flight", "bodies"} {
		require.ErrorContains(t, err, flag)
	}
	_, err = load.NewHTTP(load.HTTPConfig{URL: "ftp://x"})
	require.ErrorContains(t, err, "--url")
	cfg := config(nil)
	for _, steps := range [][]load.Step{{{Rate: -1}}, {{Rate: math.Inf(1)}}, {{Rate: 1, For: -1}}, {{Rate: 1}, {Rate: 2}}} {
		cfg.Steps = steps
		require.ErrorContains(t, cfg.Validate(), "--rate")
	}
}
