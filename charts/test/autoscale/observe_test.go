//go:build autoscale

package autoscale

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// none is a number that Prometheus does not have: it is away, or nothing was asked.
const none = "–"

// row is what is seen of the pool at a time.
type row struct {
	lag            string // of the group, as the gateway tells it every 10 s
	p95            string // of the wait over a minute, as Prometheus has it
	desired, ready int64
	failed         int64 // requests
}

// observer writes down how a scenario goes.
type observer struct {
	*lab

	began time.Time
	load  *load // nil while there is none
	last  row
	told  time.Time
}

func (l *lab) observe(t *testing.T, title string) *observer {
	t.Helper()
	o := &observer{lab: l, began: time.Now()}
	o.write(t, fmt.Sprintf("\n### %s\n\n| s | lag | p95, s | desired | ready | failed | |\n|---|---|---|---|---|---|---|", title))
	return o
}

func (o *observer) write(t *testing.T, line string) {
	t.Helper()
	t.Log(line)
	_, err := fmt.Fprintln(o.record, line)
	require.NoError(t, err)
}

// elapsed is the scenario's time.
func (o *observer) elapsed() time.Duration { return time.Since(o.began) }

// note is a row with what has happened.
func (o *observer) note(t *testing.T, says string) {
	t.Helper()
	o.tell(t, o.look(t), says)
}

func (o *observer) tell(t *testing.T, r row, says string) {
	t.Helper()
	o.last, o.told = r, time.Now()
	o.write(t, fmt.Sprintf("| %.0f | %s | %s | %d | %d | %d | %s |", o.elapsed().Seconds(), r.lag, r.p95, r.desired, r.ready, r.failed, says))
}

// await waits until the pool is as wanted, and no longer than the limit.
func (o *observer) await(t *testing.T, limit time.Duration, says string, ok func(row) bool) {
	t.Helper()
	end := time.Now().Add(limit)
	for tick := time.NewTicker(500 * time.Millisecond); ; <-tick.C {
		r := o.look(t)
		if ok(r) {
			tick.Stop()
			o.tell(t, r, says)
			return
		}
		o.see(t, r)
		require.False(t, time.Now().After(end), "not within %v: %s; it is %+v", limit, says, r)
	}
}

// holds watches that the pool stays as wanted for a time.
func (o *observer) holds(t *testing.T, d time.Duration, says string, ok func(row) bool) {
	t.Helper()
	end := time.Now().Add(d)
	for tick := time.NewTicker(500 * time.Millisecond); ; <-tick.C {
		r := o.look(t)
		require.True(t, ok(r), "not for %v: %s; it is %+v", d, says, r)
		if time.Now().After(end) {
			tick.Stop()
			o.tell(t, r, says)
			return
		}
		o.see(t, r)
	}
}

// see writes a row when the size has changed, and every ten seconds.
func (o *observer) see(t *testing.T, r row) {
	t.Helper()
	if r.desired != o.last.desired || r.ready != o.last.ready || time.Since(o.told) > 10*time.Second {
		o.tell(t, r, "")
	}
}

func (o *observer) look(t *testing.T) row {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	r := row{
		lag: o.lag(ctx),
		p95: ask(ctx, `histogram_quantile(0.95, sum by (le) (rate(inference_queue_latency_bucket[1m])))`),
	}
	if d := o.get(ctx, "apps/v1", "Deployment", "millrace-worker"); d != nil {
		r.desired, _, _ = unstructured.NestedInt64(d.Object, "spec", "replicas")
		r.ready, _, _ = unstructured.NestedInt64(d.Object, "status", "readyReplicas")
	}
	if o.load != nil {
		r.failed = o.load.failures.Load()
	}
	return r
}

// lag is asked of the gateway itself, so that it is known without Prometheus.
func (l *lab) lag(ctx context.Context) string {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+l.address(ctx)+"/metrics", http.NoBody)
	if err != nil {
		return none
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return none
	}
	defer func() { _ = resp.Body.Close() }()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), "} "); ok && strings.HasPrefix(name, "millrace_group_lag_records{") {
			return value
		}
	}
	return none
}

// ask is Prometheus' answer to a query, in hundredths.
func ask(ctx context.Context, query string) string {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+prometheus+"/api/v1/query?query="+url.QueryEscape(query), http.NoBody)
	if err != nil {
		return none
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return none
	}
	defer func() { _ = resp.Body.Close() }()
	var said struct {
		Data struct{ Result []struct{ Value [2]any } }
	}
	if err := json.NewDecoder(resp.Body).Decode(&said); err != nil || len(said.Data.Result) != 1 {
		return none
	}
	text, _ := said.Data.Result[0].Value[1].(string)
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || v != v { // NaN: nothing was asked
		return none
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}
