package report_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/report"
)

func TestMain(m *testing.M) {
	// The API client keeps its idle connections in the default transport.
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		http.DefaultTransport.(*http.Transport).CloseIdleConnections() //nolint:forcetypeassert // it is
	}))
}

// prometheus answers the queries that hold a word with a value, and others with an
// empty vector.
type prometheus struct {
	t       *testing.T
	values  map[string]string
	rules   string
	queries []string
}

func (p *prometheus) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	data := `{}`
	switch r.URL.Path {
	case "/api/v1/status/buildinfo":
	case "/api/v1/rules":
		data = p.rules
	case "/api/v1/query":
		query := r.FormValue("query")
		p.queries = append(p.queries, query)
		data = `{"resultType": "vector", "result": []}`
		for word, value := range p.values {
			if strings.Contains(query, word) {
				data = fmt.Sprintf(`{"resultType": "vector", "result": [{"metric": {}, "value": [1, %q]}]}`, value)
			}
		}
	default:
		p.t.Errorf("unexpected %s", r.URL.Path)
	}
	_, _ = fmt.Fprintf(w, `{"status": "success", "data": %s}`, data)
}

const (
	quiet  = `{"groups": [{"name": "millrace.rules", "rules": [{"type": "alerting", "name": "HighLatency", "query": "x > 2", "alerts": []}]}]}`
	firing = `{"groups": [{"name": "any", "rules": [{"type": "alerting", "name": "HighLatency", "query": "inference_latency_seconds > 2",
		"alerts": [{"state": "firing", "activeAt": "2026-01-01T00:00:00Z", "value": "3", "labels": {}, "annotations": {}}]}]}]}`
	others = `{"groups": [{"name": "node", "rules": [{"type": "alerting", "name": "DiskFull", "query": "node_x > 2", "alerts": []}]}]}`
)

func healthy() map[string]string {
	return map[string]string{
		"__name__": "2", "min_over_time": "1", "histogram_quantile": "0.2", "avg_over_time": "12", "inference_errors_total": "0.001",
		"sum(inference_queue_len": "3", "oldest_record": "0",
	}
}

func bounds() report.Bounds {
	return report.Bounds{
		P95: time.Second, PerPod: 8, Errors: 0.01, Lag: 20, Age: 30 * time.Second, LoadP95: time.Second, LoadFails: 0.01,
	}
}

func measured(t *testing.T, p *prometheus, change func(*report.Config)) *report.Report {
	t.Helper()
	p.t = t
	srv := httptest.NewServer(p)
	t.Cleanup(srv.Close)
	cfg := report.Config{Prometheus: srv.URL, End: time.Unix(1000, 0), Window: 10 * time.Minute, Bounds: bounds()}
	if change != nil {
		change(&cfg)
	}
	r, err := report.Make(t.Context(), cfg)
	require.NoError(t, err)
	return r
}

func failed(r *report.Report) []string {
	var ids []string
	for _, c := range r.Claims {
		if !c.Holds {
			ids = append(ids, c.ID)
		}
	}
	return ids
}

func TestAHealthyPoolIsGo(t *testing.T) {
	p := &prometheus{values: healthy(), rules: quiet}
	r := measured(t, p, func(c *report.Config) { c.Selector = `namespace="ml"` })
	require.True(t, r.Go, r.String())
	require.Len(t, r.Claims, 8)
	require.Contains(t, r.String(), "\nGO\n")
	for _, q := range p.queries {
		require.Contains(t, q, `namespace="ml"`)
		require.Equal(t, strings.Count(q, "{"), strings.Count(q, `{namespace="ml"}`)+strings.Count(q, `,namespace="ml"}`), q)
	}
	require.Contains(t, strings.Join(p.queries, "\n"), "[600s]")
}

func TestWhatIsOutOfBoundsOrAbsentIsNoGo(t *testing.T) {
	for name, tt := range map[string]struct {
		word, value string // "" removes it
		want        string
	}{
		"slow":             {"histogram_quantile", "1.01", "p95"},
		"nothing answered": {"histogram_quantile", "NaN", "p95"},
		"no latency":       {"histogram_quantile", "", "p95"},
		"idle":             {"avg_over_time", "7.9", "throughput"},
		"no requests":      {"avg_over_time", "", "throughput"},
		"errors":           {"inference_errors_total", "0.011", "errors"},
		"errors absent":    {"inference_errors_total", "", "errors"},
		"long queue":       {"sum(inference_queue_len", "20.5", "lag"},
		"old":              {"oldest_record", "31", "age"},
		"not scraped":      {"min_over_time", "0", "targets"},
		"no target":        {"min_over_time", "", "targets"},
		"one histogram":    {"__name__", "1", "histograms"},
	} {
		t.Run(name, func(t *testing.T) {
			p := &prometheus{values: healthy(), rules: quiet}
			if p.values[tt.word] = tt.value; tt.value == "" {
				delete(p.values, tt.word)
			}
			r := measured(t, p, nil)
			require.False(t, r.Go)
			require.Equal(t, []string{tt.want}, failed(r), r.String())
			require.Contains(t, r.String(), "\nNO-GO\n")
			if tt.value == "" || tt.value == "NaN" {
				require.Contains(t, r.String(), "no data")
			}
		})
	}
}

func TestAlertsAreBelievedOnlyWhenThereAreRules(t *testing.T) {
	for rules, says := range map[string]string{firing: "firing: HighLatency", others: "no alert rule of the pool is loaded", `{"groups": []}`: "no alert rule"} {
		r := measured(t, &prometheus{values: healthy(), rules: rules}, nil)
		require.Equal(t, []string{"alerts"}, failed(r))
		require.Contains(t, r.String(), says)
	}
	r := measured(t, &prometheus{values: healthy(), rules: others}, func(c *report.Config) { c.Bounds.NoAlerts = true })
	require.True(t, r.Go)
}

func TestScalingIsDemandedWhereItIsAskedFor(t *testing.T) {
	demand := func(c *report.Config) { c.Bounds.Scaled = true }
	require.Equal(t, []string{"scaling"}, failed(measured(t, &prometheus{values: healthy(), rules: quiet}, demand)))
	values := healthy()
	values["changes("] = "2"
	require.True(t, measured(t, &prometheus{values: values, rules: quiet}, demand).Go)
}

func TestALoadTestSaysWhenAndHow(t *testing.T) {
	read := func(text string) *report.LoadRun {
		l, err := report.ReadLoad(strings.NewReader(text))
		require.NoError(t, err)
		return l
	}
	good := read(`{"started": "2026-01-01T00:00:00Z", "elapsed_seconds": 60, "requests": 1000, "failures": 1, "latency_ms": {"p95": 250}}`)
	p := &prometheus{values: healthy(), rules: quiet}
	r := measured(t, p, func(c *report.Config) { c.Load = good })
	require.True(t, r.Go, r.String())
	require.Equal(t, "2026-01-01T00:01:30Z", r.End.Format(time.RFC3339), "scrapes come a little later")
	require.Contains(t, strings.Join(p.queries, "\n"), "[90s]")
	require.Contains(t, strings.Join(p.queries, "\n"), ") / 60 / avg_over_time(")

	for name, text := range map[string]string{
		"slow":  `{"started": "2026-01-01T00:00:00Z", "elapsed_seconds": 60, "requests": 1000, "failures": 1, "latency_ms": {"p95": 1001}}`,
		"fails": `{"started": "2026-01-01T00:00:00Z", "elapsed_seconds": 60, "requests": 1000, "failures": 11, "latency_ms": {"p95": 1}}`,
		"empty": `{"started": "2026-01-01T00:00:00Z", "elapsed_seconds": 60}`,
	} {
		t.Run(name, func(t *testing.T) {
			require.False(t, measured(t, &prometheus{values: healthy(), rules: quiet}, func(c *report.Config) { c.Load = read(text) }).Go)
		})
	}
	for _, text := range []string{"", "{}", `{"started": "2026-01-01T00:00:00Z"}`} {
		_, err := report.ReadLoad(strings.NewReader(text))
		require.ErrorContains(t, err, "not the JSON of a load test")
	}
}

func TestTwoReportsAreCompared(t *testing.T) {
	before := measured(t, &prometheus{values: healthy(), rules: quiet}, nil)
	values := healthy()
	values["histogram_quantile"], values["avg_over_time"] = "0.3", "24"
	delete(values, "oldest_record")
	now := measured(t, &prometheus{values: values, rules: quiet}, nil)
	text, err := json.Marshal(before)
	require.NoError(t, err)
	read, err := report.Read(strings.NewReader(string(text)))
	require.NoError(t, err)
	table := report.Compare(read, now)
	require.Regexp(t, `answered in time +0.2 s +0.3 s +x 1.50, worse +go`, table)
	require.Regexp(t, `each worker answers what it has to +12 a second +24 a second +x 2.00 +go`, table)
	require.Regexp(t, `left behind at the end +0 s +- +- +go before, NO-GO now`, table)
	require.Contains(t, now.Markdown(), "# Validation: NO-GO")

	for _, text := range []string{"", "{}"} {
		_, err := report.Read(strings.NewReader(text))
		require.ErrorContains(t, err, "not a report")
	}
}

func TestWithoutPrometheusThereIsNoReport(t *testing.T) {
	srv := httptest.NewServer(nil)
	srv.Close()
	_, err := report.Make(t.Context(), report.Config{Prometheus: srv.URL, End: time.Now(), Window: time.Hour, Bounds: bounds()})
	require.ErrorContains(t, err, "prometheus at")
	_, err = report.Make(t.Context(), report.Config{Selector: "{a}"})
	for _, flag := range []string{"--prometheus", "--last", "--selector", "--p95", "--load-p95"} {
		require.ErrorContains(t, err, flag)
	}
}
