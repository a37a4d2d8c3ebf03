package test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// group is a group of Prometheus' rules.
type group struct {
	Name  string
	Rules []map[string]any
}

// groupsOf are the rules that a chart renders.
func groupsOf(t *testing.T, values string) []group {
	t.Helper()
	text, err := json.Marshal(rendered(t, values).objects["PrometheusRule/millrace"].at("spec", "groups"))
	require.NoError(t, err)
	var groups []group
	require.NoError(t, json.Unmarshal(text, &groups))
	return groups
}

// The rules are those that promtool has tested.
func TestRulesAreTheFiles(t *testing.T) {
	var want []group
	for _, file := range []string{"millrace", "keda", "cost"} {
		text, err := os.ReadFile(filepath.Join(chart, "rules", file+".yaml"))
		require.NoError(t, err)
		var content struct{ Groups []group }
		require.NoError(t, yaml.Unmarshal(text, &content))
		want = append(want, content.Groups...)
	}
	files, err := filepath.Glob(chart + "/rules/*.yaml")
	require.NoError(t, err)
	require.Len(t, files, 3)
	require.Equal(t, want, groupsOf(t, "rules: {enabled: true}"))
}

func TestRulesFollowTheValues(t *testing.T) {
	find := func(values, name string) map[string]any {
		for _, g := range groupsOf(t, values) {
			for _, r := range g.Rules {
				if r["alert"] == name || r["record"] == name {
					return r
				}
			}
		}
		return nil
	}
	values := matrix()["watched"]
	require.Equal(t, "vector(0.123)", find(values, "millrace:replica_hour_price")["expr"])
	require.Equal(t, "vector(1e+06)", find(values, "millrace:monthly_budget")["expr"])
	require.Equal(t, "https://wiki.example/runbooks/HighLatency.md", find(values, "HighLatency")["annotations"].(map[string]any)["runbook_url"])

	const on = "rules: {enabled: true}\n"
	require.NotNil(t, find(on, "SeriesAbsent"))
	require.Nil(t, find(on+"keda: {minReplicas: 0}", "SeriesAbsent"), "a pool that sleeps exports nothing")
	require.NotNil(t, find(on, "KedaAbsent"))
	require.Nil(t, find(on+"keda: {enabled: false}", "KedaAbsent"))
}

func TestDashboardsAreTheFiles(t *testing.T) {
	r := rendered(t, "dashboards: {enabled: true}")
	files, err := filepath.Glob(chart + "/dashboards/*.json")
	require.NoError(t, err)
	require.Len(t, r.of("ConfigMap"), len(files))
	for _, file := range files {
		want, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Less(t, len(want), 900_000, "what a ConfigMap holds")
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		have := r.objects["ConfigMap/"+name].at("data", filepath.Base(file))
		require.Equal(t, strings.TrimSpace(string(want)), strings.TrimSpace(have.(string)))
		require.Equal(t, "1", r.objects["ConfigMap/"+name].at("metadata", "labels", "grafana_dashboard"))
	}
}

// A pool that is scraped twice has twice the lag.
func TestPodsAreScrapedOnce(t *testing.T) {
	for _, operator := range []bool{false, true} {
		values := ""
		if operator {
			values = "metrics: {operator: {enabled: true}}"
		}
		r := rendered(t, values)
		for _, id := range []string{"Deployment/millrace-worker", "Deployment/millrace-gateway"} {
			annotations, _ := r.objects[id].at("spec", "template", "metadata", "annotations").(map[string]any)
			require.NotEqual(t, operator, annotations["prometheus.io/scrape"] == "true", id)
		}
		require.Equal(t, operator, len(r.of("PodMonitor")) == 1 && len(r.of("ServiceMonitor")) == 1)
	}
}

// The alerts and the dashboards tell pools by the jobs that the monitors give.
func TestJobsAreCalledAfterThePool(t *testing.T) {
	r := rendered(t, "metrics: {operator: {enabled: true}}")
	require.Equal(t, "millrace-worker", r.objects["PodMonitor/millrace-worker"].at("spec", "podMetricsEndpoints", 0, "relabelings", 0, "replacement"))
	require.Equal(t, "millrace-gateway", r.objects["ServiceMonitor/millrace-gateway"].at("spec", "endpoints", 0, "relabelings", 0, "replacement"))
}

func TestTheLoadTestAsksTheGateway(t *testing.T) {
	r := rendered(t, matrix()["a load test"])
	args, _ := podOf(r.objects["Deployment/millrace-locust"]).at("containers", 0, "args").([]any)
	require.Equal(t, "http://millrace-gateway:8000", args[len(args)-1])
	require.Contains(t, r.objects["ConfigMap/millrace-locust"].at("data", "locustfile.py"), "class Caller(HttpUser):")
	text, err := os.ReadFile(chart + "/files/locustfile.py")
	require.NoError(t, err)
	env := envOf(r, "Deployment/millrace-locust")
	for _, name := range []string{"MODEL", "THINK", "TOKEN"} {
		require.Contains(t, env, name)
		require.True(t, slices.Contains(strings.FieldsFunc(string(text), func(c rune) bool { return c == '"' }), name), "it reads %s", name)
	}
	require.Equal(t, "0.5", env["THINK"])
}
