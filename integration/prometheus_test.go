//go:build integration

package integration

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// startPrometheus scrapes the addresses twice a second, under rules of its own, and
// returns its URL.
func startPrometheus(t *testing.T, rules string, targets ...string) string {
	t.Helper()
	dir, addr := t.TempDir(), freeAddr(t)
	conf := []byte("global: {scrape_interval: 500ms, evaluation_interval: 500ms}\nrule_files: [rules.yml]\nscrape_configs:\n")
	for i, target := range targets {
		conf = fmt.Appendf(conf, "- {job_name: millrace-%d, static_configs: [{targets: ['%s']}]}\n", i, target)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "prometheus.yml"), conf, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "rules.yml"), []byte(rules), 0o600))
	p := start(t, "prometheus", environ(t), filepath.Join(fetched(t, "fetch-prometheus.sh"), "prometheus"),
		"--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+addr)
	p.ready(t, time.Minute, func(ctx context.Context) error {
		_, err := get(ctx, "http://"+addr+"/-/ready")
		return err
	})
	return "http://" + addr
}

// TestReport holds that `millrace report` says GO of a pool that works, by a load
// test and a real Prometheus, and NO-GO of the same when nothing is scraped.
func TestReport(t *testing.T) {
	b := newBroker(t)
	b.topics(t)
	w := startWorker(t, "worker", b, "MILLRACE_MODEL=bundled")
	gateway := startGateway(t, b)
	rules := "groups: [{name: millrace, rules: [{alert: HighLatency, expr: 'histogram_quantile(0.95, sum by (le) (rate(inference_latency_seconds_bucket[1m]))) > 2'}]}]\n"
	prometheus := startPrometheus(t, rules, w.addr, strings.TrimPrefix(gateway, "http://"))
	run := filepath.Join(t.TempDir(), "load.json")
	time.Sleep(2 * time.Second) // a counter's increase needs scrapes before it
	millrace(t, environ(t), nil, "load", "--url", gateway+"/predict", "--rate", "50", "--duration", "15s", "--json", run)

	report := func(at string, args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), binary(t), append([]string{"report", "--prometheus", at, "--load", run}, args...)...)
		cmd.Env = environ(t)
		out, err := cmd.Output()
		return string(out), err
	}
	var out string
	require.Eventually(t, func() bool { // the scrapes come after the load
		var err error
		out, err = report(prometheus)
		return err == nil
	}, time.Minute, 2*time.Second, "%s", out)
	require.Contains(t, out, "\nGO\n")
	require.NotContains(t, out, "no data")

	out, err := report(prometheus, "--p95", "1us")
	require.Error(t, err)
	require.Regexp(t, `NO-GO +95 of 100 requests are answered in time`, out)
	out, err = report(startPrometheus(t, "groups: []\n"))
	require.Error(t, err)
	require.GreaterOrEqual(t, strings.Count(out, "no data"), 7, out)
}

// TestRules has promtool check the rules and fire each alert.
func TestRules(t *testing.T) {
	promtool := filepath.Join(fetched(t, "fetch-prometheus.sh"), "promtool")
	dir := t.TempDir() // promtool looks for rules beside their tests
	files, err := filepath.Glob(filepath.Join(root(t), "charts", "millrace", "rules", "*.yaml"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range append(files, filepath.Join(root(t), "integration", "testdata", "rules", "alerts.yml")) {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, filepath.Base(file)), text, 0o600))
	}
	cmd := exec.CommandContext(t.Context(), promtool, append([]string{"check", "rules"}, files...)...)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	cmd = exec.CommandContext(t.Context(), promtool, "check", "config", filepath.Join(root(t), "compose", "prometheus.yml"))
	out, err = cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	cmd = exec.CommandContext(t.Context(), promtool, "test", "rules", "alerts.yml")
	cmd.Dir = dir
	out, err = cmd.CombinedOutput()
	require.NoError(t, err, string(out))
}
