package test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// triggersOf are the triggers of a chart by their names.
func triggersOf(t *testing.T, values string) map[string]object {
	t.Helper()
	r := rendered(t, values)
	list, _ := r.objects["ScaledObject/millrace-worker"].at("spec", "triggers").([]any)
	triggers := make(map[string]object)
	for _, e := range list {
		o := object(e.(map[string]any))
		triggers[fmt.Sprint(o["name"])] = o
	}
	return triggers
}

func number(t *testing.T, v any) float64 {
	t.Helper()
	n, err := strconv.ParseFloat(fmt.Sprint(v), 64)
	require.NoError(t, err)
	return n
}

// targetsOf reads the numbers from what is rendered.
func targetsOf(t *testing.T, values string) targets {
	t.Helper()
	scaled := rendered(t, values).objects["ScaledObject/millrace-worker"]
	triggers := triggersOf(t, values)
	require.Equal(t, "AverageValue", triggers["lag"]["metricType"])
	require.Equal(t, "Value", triggers["latency"]["metricType"])
	require.Equal(t, "Utilization", triggers["cpu"]["metricType"])
	out := targets{
		least: int(number(t, scaled.at("spec", "minReplicaCount"))), most: int(number(t, scaled.at("spec", "maxReplicaCount"))),
		latency: number(t, triggers["latency"].at("metadata", "threshold")), cpu: number(t, triggers["cpu"].at("metadata", "value")),
	}
	if triggers["lag"]["type"] == "kafka" {
		out.partitions, out.lag = 12, number(t, triggers["lag"].at("metadata", "lagThreshold"))
	} else {
		out.lag = number(t, triggers["lag"].at("metadata", "threshold"))
	}
	return out
}

// The defaults are those of the design.
func TestDefaults(t *testing.T) {
	require.Equal(t, targets{least: 3, most: 10, partitions: 12, lag: 20, latency: 1.5, cpu: 70}, targetsOf(t, ""))
	scaled := rendered(t, "").objects["ScaledObject/millrace-worker"]
	require.InDelta(t, 15, scaled.at("spec", "pollingInterval"), 0)
	require.InDelta(t, 300, scaled.at("spec", "cooldownPeriod"), 0)
	require.InDelta(t, 60, scaled.at("spec", "advanced", "horizontalPodAutoscalerConfig", "behavior", "scaleUp", "stabilizationWindowSeconds"), 0)
	require.InDelta(t, 300, scaled.at("spec", "advanced", "horizontalPodAutoscalerConfig", "behavior", "scaleDown", "stabilizationWindowSeconds"), 0)
	require.Equal(t, map[string]any{"failureThreshold": 3.0, "replicas": 3.0, "behavior": "currentReplicasIfHigher"}, scaled.at("spec", "fallback"))
}

// desiredRows are the rows of the table in docs/scaling.md.
func desiredRows() []struct {
	replicas int
	reading  reading
	want     int
	by       string
	why      string
} {
	return []struct {
		replicas int
		reading  reading
		want     int
		by       string
		why      string
	}{
		{3, reading{0, 0, 5}, 3, "least", "idle"},
		{3, reading{60, 1.5, 70}, 3, "least", "each at its target"},
		{3, reading{66, 1.65, 77}, 3, "least", "within the tolerance of 10 %"},
		{3, reading{70, 0.9, 40}, 4, "lag", ""},
		{3, reading{160, 0.9, 40}, 8, "lag", "8 × 20"},
		{3, reading{1000, 0.9, 40}, 10, "most", "50 would be asked for"},
		{3, reading{10, 1.7, 40}, 4, "latency", ""},
		{3, reading{10, 4, 40}, 8, "latency", "3 × 4 / 1.5"},
		{5, reading{10, 1.9, 40}, 7, "latency", "the more there are, the more are added"},
		{3, reading{10, 0.2, 180}, 8, "CPU", "3 × 180 / 70"},
		{4, reading{100, 3, 100}, 8, "latency", "the trigger that asks for most"},
		{8, reading{100, 0.6, 30}, 5, "lag", "down"},
		{8, reading{0, 0, 5}, 3, "least", "down to the fewest"},
	}
}

func TestDesired(t *testing.T) {
	scaler := targetsOf(t, "")
	for _, r := range desiredRows() {
		n, by := scaler.desired(r.replicas, r.reading)
		require.Equal(t, r.want, n, "%+v", r)
		require.Equal(t, r.by, by, "%+v", r)
	}
	// Why the trigger on latency is a Value: an average would need 4.5 s to leave three
	// pods.
	require.Equal(t, 3, averageValue(3, 4.4, 1.5))
	require.Equal(t, 9, scaled(3, 4.4/1.5))

	// KEDA's Kafka scaler asks for no more than there are partitions; a queue has no such
	// bound.
	few := targets{least: 1, most: 100, partitions: 12, lag: 20, latency: 1.5, cpu: 70}
	n, _ := few.desired(3, reading{lag: 1000})
	require.Equal(t, 12, n)
	queue := targetsOf(t, matrix()["queue"])
	n, _ = queue.desired(3, reading{lag: 900})
	require.Equal(t, 45, n)
}

// behaviorOf reads a direction from what is rendered.
func behaviorOf(t *testing.T, direction string) behavior {
	t.Helper()
	scaled := rendered(t, "").objects["ScaledObject/millrace-worker"]
	o := object(scaled.at("spec", "advanced", "horizontalPodAutoscalerConfig", "behavior", direction).(map[string]any))
	seconds := func(v any) time.Duration { return time.Duration(number(t, v)) * time.Second }
	out := behavior{window: seconds(o["stabilizationWindowSeconds"])}
	policies, _ := o["policies"].([]any)
	for i := range policies {
		out.policies = append(out.policies, policy{
			percent: o.at("policies", i, "type") == "Percent", value: int(number(t, o.at("policies", i, "value"))), period: seconds(o.at("policies", i, "periodSeconds")),
		})
	}
	return out
}

// hpaPeriod is how often Kubernetes' controller looks.
const hpaPeriod = 15 * time.Second

func always(n, times int) []int { return slices.Repeat([]int{n}, times) }

func TestCourse(t *testing.T) {
	up, down := behaviorOf(t, "scaleUp"), behaviorOf(t, "scaleDown")
	at := func(seconds, size int) sized { return sized{time.Duration(seconds) * time.Second, size} }
	require.Equal(t, []sized{at(0, 3), at(45, 7), at(60, 8)}, course(3, up, down, hpaPeriod, always(8, 20)))
	require.Equal(t, []sized{at(0, 3), at(45, 7), at(60, 10)}, course(3, up, down, hpaPeriod, always(10, 20)))
	require.Equal(t, []sized{at(0, 3)}, course(3, up, down, hpaPeriod, slices.Concat(always(8, 3), always(3, 20))), "a peak that is over is not followed")
	require.Equal(t, []sized{at(0, 8), at(285, 4), at(345, 3)}, course(8, up, down, hpaPeriod, always(3, 40)))
	require.Equal(t, []sized{at(0, 8), at(585, 4), at(645, 3)}, course(8, up, down, hpaPeriod, slices.Concat(always(3, 19), always(8, 1), always(3, 60))), "demand that comes back keeps them")
	require.Equal(t, []sized{at(0, 1), at(45, 5), at(60, 10)}, course(1, up, down, hpaPeriod, always(10, 20)), "woken")
}

// The document's tables are made of the same arithmetic.
func TestDocumentHasTheTables(t *testing.T) {
	scaler := targetsOf(t, "")
	var b strings.Builder
	b.WriteString("| replicas | lag, all | wait, p95 | CPU | desired | by | |\n|---|---|---|---|---|---|---|\n")
	for _, r := range desiredRows() {
		n, by := scaler.desired(r.replicas, r.reading)
		fmt.Fprintf(&b, "| %d | %g | %g s | %g %% | **%d** | %s | %s |\n", r.replicas, r.reading.lag, r.reading.latency, r.reading.cpu, n, by, r.why)
	}
	holdSection(t, "desired", b.String())

	up, down := behaviorOf(t, "scaleUp"), behaviorOf(t, "scaleDown")
	b.Reset()
	b.WriteString("| from | asked for, from then on | becomes |\n|---|---|---|\n")
	for _, c := range []struct{ from, to int }{{3, 8}, {3, 10}, {1, 10}, {8, 3}, {10, 3}} {
		var steps []string
		for _, s := range course(c.from, up, down, hpaPeriod, always(c.to, 60))[1:] {
			steps = append(steps, fmt.Sprintf("%d after %.0f s", s.size, s.at.Seconds()))
		}
		fmt.Fprintf(&b, "| %d | %d | %s |\n", c.from, c.to, strings.Join(steps, ", "))
	}
	holdSection(t, "course", b.String())
}

// holdSection holds a part of docs/scaling.md equal, or writes it.
func holdSection(t *testing.T, name, want string) {
	t.Helper()
	const path = "../../docs/scaling.md"
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	begin, end := "<!-- "+name+": written by `make docs`, held by a test -->\n", "<!-- end of "+name+" -->"
	head, rest, found := strings.Cut(string(text), begin)
	require.True(t, found, name)
	have, tail, found := strings.Cut(rest, end)
	require.True(t, found, name)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(head+begin+want+end+tail), 0o644))
		return
	}
	require.Equal(t, want, have, "run `make docs`")
}

// The queries of all triggers name series that the code exports, of this pool.
func TestQueriesNameWhatIsExported(t *testing.T) {
	text, err := os.ReadFile("../../docs/metrics.md") // written from the code
	require.NoError(t, err)
	var known []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|").FindAllStringSubmatch(string(text), -1) {
		known = append(known, m[1])
	}
	require.Greater(t, len(known), 50)
	series := regexp.MustCompile(`\b(inference|millrace)_[a-z_]+`)
	seen := make(map[string]bool)
	for name, values := range matrix() {
		if strings.Contains(values, "KEDA") || strings.Contains(values, "keda: {enabled: false}") {
			continue
		}
		for _, trigger := range triggersOf(t, values) {
			query, ok := trigger.at("metadata", "query").(string)
			if !ok {
				continue
			}
			found := series.FindAllString(query, -1)
			require.NotEmpty(t, found, query)
			for _, s := range found {
				require.Contains(t, known, strings.TrimSuffix(s, "_bucket"), "%s: nobody exports %s", name, s)
				require.Contains(t, query, s+"{", "%s: whose?", name)
			}
			seen[query] = true
		}
	}
	require.Greater(t, len(seen), 4)

	// For the integration tests, which ask a real Prometheus that scrapes a real pool.
	holdFile(t, "testdata/queries.txt", strings.Join(slices.Sorted(maps.Keys(seen)), "\n")+"\n")
}

func TestQueries(t *testing.T) {
	query := func(values, trigger string) any { return triggersOf(t, values)[trigger].at("metadata", "query") }
	require.Equal(t, `(histogram_quantile(0.95, sum by (le) (rate(inference_queue_latency_bucket{namespace="ml"}[1m]))) >= 0) or vector(0)`, query("", "latency"))
	require.Equal(t, `(histogram_quantile(0.95, sum by (le) (rate(inference_queue_latency_bucket{namespace="ml",job="millrace-worker"}[2m]))) >= 0) or vector(0)`,
		query("metrics: {operator: {enabled: true}}\nkeda: {latency: {window: 2m}}", "latency"))
	require.Contains(t, query(matrix()["Prometheus with a token"], "latency"), `{team="a"}`)
	require.Equal(t, `sum(max by (topic) (millrace_group_lag_records{namespace="ml",group="pool"}))`,
		query("config: {MILLRACE_DELIVERY: queue, MILLRACE_GROUP: pool}", "lag"))
	require.Equal(t, `sum(inference_queue_len{namespace="ml"})`, query(matrix()["queue without gateways"], "lag"))
	require.Equal(t, `sum(inference_queue_len{namespace="ml",job="millrace-worker"})`, query(matrix()["lag by the workers"], "lag"))
	require.Nil(t, query("", "lag"))
}

func TestTriggersFollowTheSettings(t *testing.T) {
	lag := triggersOf(t, `
config: {MILLRACE_KAFKA_BROKERS: [a:1, b:2], MILLRACE_GROUP: pool, MILLRACE_TOPIC_REQUESTS: asked, MILLRACE_AUTO_OFFSET_RESET: latest}
keda: {minReplicas: 0, lag: {threshold: 50, activation: 7}}`)["lag"]
	require.Equal(t, map[string]any{
		"bootstrapServers": "a:1,b:2", "consumerGroup": "pool", "topic": "asked", "lagThreshold": "50", "activationLagThreshold": "7",
		"offsetResetPolicy": "latest", "excludePersistentLag": "false",
	}, lag["metadata"])
	several := triggersOf(t, matrix()["several topics"])
	require.Equal(t, `sum(max by (topic) (millrace_group_lag_records{namespace="ml",group="millrace"}))`, several["lag"].at("metadata", "query"))
	for name, topic := range map[string]string{"lag-0": "inference.requests", "lag-1": "urgent", "lag-2": "slow"} {
		require.Equal(t, topic, several[name].at("metadata", "topic"))
	}
	require.Len(t, several, 6)
	secured := triggersOf(t, matrix()["SCRAM over mutual TLS"])["lag"]
	require.Equal(t, "scram_sha512", secured.at("metadata", "sasl"))
	require.Equal(t, "enable", secured.at("metadata", "tls"))
	require.Equal(t, "millrace-kafka", secured.at("authenticationRef", "name"))
	require.Empty(t, rendered(t, "").of("TriggerAuthentication"))
	require.Equal(t, "StatefulSet", rendered(t, matrix()["exactly once"]).objects["ScaledObject/millrace-worker"].at("spec", "scaleTargetRef", "kind"))
}

// The triggers as a file, for the tests in scalers, which give them to KEDA's own code.
func TestDocumentOfTriggers(t *testing.T) {
	all := make(map[string]map[string]object)
	for name, values := range map[string]string{
		"defaults": "", "short": "keda: {latency: {window: 10s}}", "queue": matrix()["queue"], "workers": matrix()["lag by the workers"], "several": matrix()["several topics"],
	} {
		all[name] = triggersOf(t, values)
	}
	want, err := json.MarshalIndent(all, "", "  ")
	require.NoError(t, err)
	holdFile(t, "scalers/testdata/triggers.json", string(want)+"\n")
}

// holdFile holds a file that others read equal, or writes it.
func holdFile(t *testing.T, path, want string) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(want), 0o644))
		return
	}
	have, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, want, string(have), "run `make docs`")
}
