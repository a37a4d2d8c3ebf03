package scalers

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/kedacore/keda/v2/pkg/scalers"
	"github.com/kedacore/keda/v2/pkg/scalers/scalersconfig"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	autoscaling "k8s.io/api/autoscaling/v2"
)

// trigger is one of a rendered ScaledObject.
type trigger struct {
	Type       string
	MetricType autoscaling.MetricTargetType
	Metadata   map[string]string
}

// rendered is a trigger of the chart, by the case and the name. replace puts what is
// here in the place of the cluster's addresses.
func rendered(t *testing.T, values, name string, replace map[string]string) trigger {
	t.Helper()
	text, err := os.ReadFile("testdata/triggers.json") // written by charts/test
	require.NoError(t, err)
	var all map[string]map[string]trigger
	require.NoError(t, json.Unmarshal(text, &all))
	out, ok := all[values][name]
	require.True(t, ok, "%s: %s", values, name)
	for parameter, value := range replace {
		require.Contains(t, out.Metadata, parameter)
		out.Metadata[parameter] = value
	}
	return out
}

// scaler is KEDA's own for a trigger.
func scaler(t *testing.T, tr trigger) scalers.Scaler {
	t.Helper()
	config := &scalersconfig.ScalerConfig{
		TriggerType: tr.Type, MetricType: tr.MetricType, TriggerMetadata: tr.Metadata, GlobalHTTPTimeout: 3 * time.Second,
		AuthParams: map[string]string{}, ResolvedEnv: map[string]string{},
	}
	var s scalers.Scaler
	err := errors.New("no such scaler")
	switch tr.Type {
	case "kafka":
		s, err = scalers.NewKafkaScaler(t.Context(), config)
	case "prometheus":
		s, err = scalers.NewPrometheusScaler(config)
	}
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	return s
}

// reading is what KEDA gives to the HPA, and whether it holds the pool awake.
type reading struct {
	value  float64
	active bool
	err    error
}

func read(t *testing.T, s scalers.Scaler) reading {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	values, active, err := s.GetMetricsAndActivity(ctx, s.GetMetricSpecForScaling(ctx)[0].External.Metric.Name)
	if err != nil {
		return reading{err: err}
	}
	return reading{value: values[0].Value.AsApproximateFloat64(), active: active}
}

func target(t *testing.T, s scalers.Scaler) autoscaling.MetricTarget {
	t.Helper()
	return s.GetMetricSpecForScaling(t.Context())[0].External.Target
}

func TestLagAtKafka(t *testing.T) {
	for name, broker := range map[string]func(*testing.T) (string, *kgo.Client){"kfake": broker, "Apache Kafka": apache} {
		t.Run(name, func(t *testing.T) {
			addr, cl := broker(t)
			s := scaler(t, rendered(t, "defaults", "lag", map[string]string{"bootstrapServers": addr}))
			require.Equal(t, autoscaling.AverageValueMetricType, target(t, s).Type)
			require.InDelta(t, 20, target(t, s).AverageValue.AsApproximateFloat64(), 0)

			if name == "kfake" { // which refuses to tell of a group that it does not know
				commit(t, cl, 0)
			}
			require.Eventually(t, func() bool { return read(t, s) == reading{} }, 30*time.Second, 200*time.Millisecond, "a topic without requests, once it has leaders")
			ask(t, cl, 160, 0)
			require.Equal(t, reading{value: 160, active: true}, read(t, s), "of a group that nobody has seen all is to be done: eight workers")
			commit(t, cl, 10)
			require.Equal(t, reading{value: 160 - 12*10, active: true}, read(t, s))
			ask(t, cl, 12*1000, 0)
			require.Equal(t, reading{value: 12 * 20, active: true}, read(t, s), "no more than a worker a partition")
			require.Equal(t, read(t, s), read(t, s), "lag that stays counts")

			urgent := scaler(t, rendered(t, "several", "lag-1", map[string]string{"bootstrapServers": addr}))
			require.Equal(t, reading{}, read(t, urgent))
			require.NoError(t, cl.ProduceSync(t.Context(), &kgo.Record{Topic: "urgent"}).FirstErr())
			require.Equal(t, reading{value: 1, active: true}, read(t, urgent), "another topic wakes the pool as well")
		})
	}
}

// The whole of what a worker and a gateway show of themselves, by way of Prometheus.
func TestThroughPrometheus(t *testing.T) {
	addr, cl := broker(t)
	worker, gateway := freeAddr(t), freeAddr(t)
	millrace(t, "worker", worker, "MILLRACE_KAFKA_BROKERS="+addr, "MILLRACE_ADMIN_ADDR="+worker, "MILLRACE_LAG_INTERVAL=200ms")
	stopGateway := millrace(t, "gateway", gateway, "MILLRACE_KAFKA_BROKERS="+addr, "MILLRACE_GATEWAY_ADDR="+gateway, "MILLRACE_GATEWAY_GRPC_ADDR=none", "MILLRACE_GROUP_LAG_INTERVAL=1s")
	server, stopServer := prometheus(t, worker, gateway)
	at := map[string]string{"serverAddress": server}
	latency, short := scaler(t, rendered(t, "defaults", "latency", at)), scaler(t, rendered(t, "short", "latency", at))
	lags := map[string]scalers.Scaler{"gateways": scaler(t, rendered(t, "queue", "lag", at)), "workers": scaler(t, rendered(t, "workers", "lag", at))}
	becomes := func(s scalers.Scaler, ok func(reading) bool, says string) {
		t.Helper()
		var last reading
		defer func() { t.Logf("%s: %+v", says, last) }()
		require.Eventually(t, func() bool { last = read(t, s); return ok(last) }, time.Minute, 500*time.Millisecond, says)
	}
	require.Equal(t, autoscaling.ValueMetricType, target(t, latency).Type)
	require.InDelta(t, 1.5, target(t, latency).Value.AsApproximateFloat64(), 0)

	idle := func(r reading) bool { return r == reading{} }
	becomes(latency, idle, "an idle pool has no latency, and that is 0")
	for name, s := range lags {
		becomes(s, idle, "no lag, by the "+name)
	}

	// Requests that have waited for three seconds.
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	for ctx.Err() == nil {
		ask(t, cl, 20, 3*time.Second)
		<-time.NewTimer(200 * time.Millisecond).C
	}
	high := func(r reading) bool { return r.value > 2 && r.value <= 5 && r.active }
	becomes(latency, high, "the wait is seen")
	becomes(short, idle, "what is over is forgotten")

	stopGateway()
	lost := func(r reading) bool { return r.err != nil }
	becomes(lags["gateways"], lost, "a lag that nobody tells is not 0")
	stopServer()
	for _, s := range []scalers.Scaler{latency, lags["workers"]} {
		becomes(s, lost, "without Prometheus nothing is known: KEDA falls back")
	}
}

// The gateways know of requests that no worker is there for: a queue can be woken.
func TestGatewaysSeeTheLagOfASleepingPool(t *testing.T) {
	addr, cl := broker(t)
	gateway := freeAddr(t)
	millrace(t, "gateway", gateway, "MILLRACE_KAFKA_BROKERS="+addr, "MILLRACE_GATEWAY_ADDR="+gateway, "MILLRACE_GATEWAY_GRPC_ADDR=none", "MILLRACE_GROUP_LAG_INTERVAL=1s")
	server, _ := prometheus(t, "127.0.0.1:1", gateway)
	s := scaler(t, rendered(t, "queue", "lag", map[string]string{"serverAddress": server}))
	ask(t, cl, 100, 0)
	require.Eventually(t, func() bool { return read(t, s) == reading{value: 100, active: true} }, time.Minute, 500*time.Millisecond)
	latency := scaler(t, rendered(t, "defaults", "latency", map[string]string{"serverAddress": server}))
	require.Equal(t, reading{}, read(t, latency), "no worker, no wait: it does not keep the pool asleep by an error")
}
