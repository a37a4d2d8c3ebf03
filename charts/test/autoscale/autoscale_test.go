//go:build autoscale

package autoscale

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// How long the model takes for a request: too slow for the users at any size, and
// fast enough for them at any.
const (
	slow = 250 * time.Millisecond
	fast = 10 * time.Millisecond
)

const (
	least = 3
	most  = 8
)

func size(n int64) func(row) bool { return func(r row) bool { return r.desired == n && r.ready == n } }

func TestAutoscale(t *testing.T) {
	l := newLab(t)
	l.apply(t, "testdata/pool.json", nil)
	for _, trigger := range []string{"lag", "latency"} {
		t.Run(trigger, func(t *testing.T) {
			o := l.grow(t, trigger, fmt.Sprintf("Three to eight and back, by %s alone", trigger))
			l.model.takes(fast)
			o.note(t, "the model takes 10 ms")
			o.shrink(t)
		})
	}
	t.Run("outage", func(t *testing.T) {
		o := l.grow(t, "both", "Prometheus stopped")
		l.stopPrometheus()
		l.model.takes(fast)
		o.note(t, "Prometheus stopped; the model takes 10 ms")
		o.holds(t, 2*time.Minute, "two minutes later: as many", size(most))
		require.Equal(t, "True", l.condition(t.Context(), "keda.sh/v1alpha1", "ScaledObject", "millrace-worker", "Fallback"))
		l.prometheus(t)
		o.note(t, "Prometheus is back")
		o.shrink(t)
	})
	t.Run("asleep", l.sleepAndWake)
}

// grow has a pool of three be too slow for the users, and waits until it is of eight.
func (l *lab) grow(t *testing.T, values, title string) *observer {
	t.Helper()
	l.model.takes(slow)
	l.apply(t, "testdata/"+values+".json", nil)
	o := l.observe(t, title)
	o.await(t, 4*time.Minute, "three, idle; 300 users begin, and the model takes 250 ms", func(r row) bool {
		return r.desired == least && r.ready == least && r.p95 == none // for a minute
	})
	o.load = l.load(t)
	begun := o.elapsed()
	o.await(t, 2*time.Minute, "eight", size(most))
	t.Logf("from three to eight in %.0f s", (o.elapsed() - begun).Seconds())
	return o
}

// shrink waits until the pool is of three again, and holds that no request has failed.
func (o *observer) shrink(t *testing.T) {
	t.Helper()
	o.await(t, 5*time.Minute, "three", size(least))
	o.holds(t, 15*time.Second, "the users go", size(least))
	r := o.load.end(t)
	o.load = nil
	o.write(t, fmt.Sprintf("\n%d users, %d requests in %.0f s, %d failed.", users, r.Requests, r.Elapsed, r.Failures))
	require.Greater(t, r.Requests, int64(users))
	require.Zero(t, r.Failures, "%v", r.Reasons)
}

// sleepAndWake has the pool go, a request wake it, and be answered.
func (l *lab) sleepAndWake(t *testing.T) {
	l.model.takes(fast)
	l.apply(t, "testdata/asleep.json", nil)
	o := l.observe(t, "To zero and back")
	o.await(t, 5*time.Minute, "none; a request comes", size(0))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+l.gateway(t)+"/predict", strings.NewReader(
		`{"inputs": {"window": [[`+strings.TrimSuffix(strings.Repeat("70,", 48), ",")+`]]}}`))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	type reply struct {
		status int
		body   string
		err    error
	}
	answered := make(chan reply, 1)
	begun := time.Now()
	go func() {
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			answered <- reply{err: err}
			return
		}
		text, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		answered <- reply{resp.StatusCode, string(text), err}
	}()
	o.await(t, 2*time.Minute, "one", size(1))
	r := <-answered
	require.NoError(t, r.err)
	require.Equal(t, http.StatusOK, r.status, r.body)
	o.note(t, fmt.Sprintf("it was answered after %.0f s", time.Since(begun).Seconds()))
	o.await(t, 5*time.Minute, "none", size(0))
}
