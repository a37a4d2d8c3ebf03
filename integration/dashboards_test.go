//go:build integration

package integration

import (
	"context"
	"encoding/json"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestDashboards holds that every query of every panel, and of the scaler's triggers,
// returns data of a pool that works: one worker of each delivery that keeps an order,
// the first with another version beside and as a shadow, a gateway, and a real
// Prometheus with the rules. Panels of KEDA's and of kube-state-metrics' series are
// left out: these are not here.
func TestDashboards(t *testing.T) {
	b := newBroker(t)
	b.topics(t)
	other := filepath.Join(t.TempDir(), "other")
	require.NoError(t, os.CopyFS(other, os.DirFS(filepath.Join(root(t), "bundled", "forecaster"))))
	require.NoError(t, os.WriteFile(filepath.Join(other, "README.md"), []byte("another version"), 0o600))
	first := startWorker(t, "worker", b, "MILLRACE_MODEL=bundled", "MILLRACE_LAG_INTERVAL=500ms",
		"MILLRACE_SPLIT="+other+"=50", "MILLRACE_SHADOW="+other, "MILLRACE_TOPIC_SHADOW=none")
	second := startWorker(t, "transactions", b, "MILLRACE_MODEL=bundled", "MILLRACE_DELIVERY=exactly-once", "MILLRACE_GROUP=second", "MILLRACE_LAG_INTERVAL=500ms")
	gateway := startGateway(t, b, "MILLRACE_GROUP_LAG_INTERVAL=1s")
	rules := rulesOf(t)
	prometheus := startPrometheus(t, rules, first.addr, second.addr, strings.TrimPrefix(gateway, "http://"))

	// Good and bad requests for as long as it takes.
	ctx, stop := context.WithCancel(t.Context())
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		body := `{"inputs": {"window": [[` + strings.TrimSuffix(strings.Repeat("70,", 48), ",") + `]]}}`
		cl, err := kgo.NewClient(kgo.SeedBrokers(b.plain))
		if err != nil {
			t.Error(err)
			return
		}
		defer cl.Close()
		for i := 0; ctx.Err() == nil; i++ {
			_, _ = post(ctx, gateway+"/predict", []byte(body)) // what becomes of it is counted elsewhere
			if i%5 == 0 {
				cl.Produce(ctx, &kgo.Record{Topic: requests, Value: []byte("no JSON")}, nil)
			}
		}
	}()
	defer func() { stop(); <-asked }()

	queries := panelQueries(t)
	require.Greater(t, len(queries), 40)
	var missing []string
	defer func() {
		if t.Failed() {
			t.Logf("no data for:\n%s", strings.Join(missing, "\n"))
		}
	}()
	require.Eventually(t, func() bool {
		missing = nil
		for panel, list := range queries {
			for _, q := range list {
				if !hasData(t, prometheus, q) {
					missing = append(missing, panel+": "+q)
				}
			}
		}
		return len(missing) == 0
	}, 60*time.Second, 5*time.Second)
}

// rulesOf are the chart's rules as one file.
func rulesOf(t *testing.T) string {
	t.Helper()
	var out strings.Builder
	out.WriteString("groups:\n")
	for _, name := range []string{"millrace", "cost"} {
		text, err := os.ReadFile(filepath.Join(root(t), "charts", "millrace", "rules", name+".yaml"))
		require.NoError(t, err)
		_, groups, found := strings.Cut(string(text), "groups:\n")
		require.True(t, found)
		out.WriteString(groups)
	}
	return out.String()
}

// panelQueries reads the dashboards as Grafana would, with everything chosen.
func panelQueries(t *testing.T) map[string][]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root(t), "charts", "millrace", "dashboards", "*.json"))
	require.NoError(t, err)
	queries := make(map[string][]string)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		var page struct {
			Title  string
			Panels []struct {
				Title   string
				Targets []struct{ Expr string }
			}
		}
		require.NoError(t, json.Unmarshal(text, &page))
		for _, p := range page.Panels {
			for _, target := range p.Targets {
				if strings.Contains(target.Expr, "kube_") || strings.Contains(target.Expr, "keda_") {
					continue
				}
				q := strings.NewReplacer("$job", ".*", "$instance", ".*", "$__rate_interval", "10s").Replace(target.Expr)
				name := page.Title + ": " + p.Title
				queries[name] = append(queries[name], q)
			}
		}
	}
	queries["the scaler's triggers"] = triggerQueries(t)
	return queries
}

// triggerQueries are those of the chart's triggers, in this Prometheus, which knows no
// namespaces and has other jobs.
func triggerQueries(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root(t), "charts", "test", "testdata", "queries.txt"))
	require.NoError(t, err)
	here := strings.NewReplacer(`namespace="ml"`, `job=~"millrace.*"`, `,job="millrace-worker"`, "", `,job="millrace-gateway"`, "", `team="a"`, `job=~".*"`, `group="pool"`, `group="millrace"`)
	var queries []string
	for line := range strings.Lines(string(text)) {
		q := strings.TrimSpace(here.Replace(line))
		// The guard always gives a number: what it guards has to.
		queries = append(queries, strings.TrimSuffix(q, " or vector(0)"))
	}
	require.Greater(t, len(queries), 4)
	return queries
}

// hasData says whether a query gives at least one number.
func hasData(t *testing.T, prometheus, query string) bool {
	t.Helper()
	text, err := get(t.Context(), prometheus+"/api/v1/query?"+url.Values{"query": {query}}.Encode())
	if err != nil {
		return false
	}
	var answer struct {
		Data struct {
			Result []struct{ Value [2]any }
		}
	}
	require.NoError(t, json.Unmarshal(text, &answer), string(text))
	for _, r := range answer.Data.Result {
		word, _ := r.Value[1].(string)
		if v, err := strconv.ParseFloat(word, 64); err == nil && !math.IsNaN(v) {
			return true
		}
	}
	return false
}
