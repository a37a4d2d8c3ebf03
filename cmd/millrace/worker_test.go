package main

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/model"
)

// kafka is a broker without topics, at a port of its own.
func newKafka(t *testing.T, port string) *kfake.Cluster {
	t.Helper()
	n, err := strconv.Atoi(port)
	require.NoError(t, err)
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(n), kfake.GroupMinSessionTimeout(50*time.Millisecond))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func createAll(t *testing.T, c *kfake.Cluster, partitions int32) {
	t.Helper()
	for _, topic := range []string{requests, results, dead, "inference.replies", "inference.cancellations", "inference.predictions", "inference.cards", "inference.models"} {
		require.NoError(t, c.CreateTopic(topic, partitions, nil))
	}
}

func TestWorkerWaitsForTheBrokerAndForItsTopics(t *testing.T) {
	port := freePort(t)
	p := start(t, home(t), "worker", "--model", bundledRef, "--brokers", "127.0.0.1:"+port)
	probes := p.probes(t)
	p.find(t, `level=WARN msg="waiting for kafka" error="no broker answers`)
	require.Equal(t, http.StatusOK, get(t, probes+"/healthz").code, "a broker that is away is no reason to restart")
	eventually(t, func() bool {
		r := get(t, probes+"/readyz")
		return r.code == http.StatusServiceUnavailable && r.body == `{"reason":"kafka: this worker has not joined its group, or the broker does not answer","status":"unavailable"}`+"\n"
	}, "the reason")

	c := newKafka(t, port)
	require.NoError(t, c.CreateTopic(requests, 2, nil))
	p.find(t, `level=WARN msg="waiting for kafka" error="topics are missing: dlq.inference.requests, inference.results`)
	require.Equal(t, http.StatusServiceUnavailable, get(t, probes+"/readyz").code)

	require.NoError(t, c.CreateTopic(results, 2, nil))
	require.NoError(t, c.CreateTopic(dead, 2, nil))
	ready(t, probes)
	require.Zero(t, p.stop(t), p.err.String())
}

func TestGatewayWaitsForTheBroker(t *testing.T) {
	port := freePort(t)
	p := start(t, home(t), "gateway", "--brokers", "127.0.0.1:"+port)
	web := p.gateway(t)
	require.Equal(t, http.StatusOK, get(t, web+"/healthz").code)
	require.Equal(t, http.StatusServiceUnavailable, get(t, web+"/readyz").code)
	require.Equal(t, http.StatusServiceUnavailable, send(t.Context(), http.MethodPost, web+"/predict", window(0)).code)
	createAll(t, newKafka(t, port), 2)
	ready(t, web)
	require.Zero(t, p.stop(t), p.err.String())
}

// No request is taken in while there is no model to answer it with.
func TestWorkerWaitsForTheRegistry(t *testing.T) {
	c := newKafka(t, freePort(t))
	createAll(t, c, 1)
	reg := newFakeRegistry(t)
	p := start(t, home(t, "MLFLOW_TRACKING_URI="+reg.URL, "MILLRACE_MODEL_POLL=50ms", "MILLRACE_MODEL_RETRY_MIN=50ms"),
		"worker", "--model", "models:/sums@champion", "--brokers", c.ListenAddrs()[0])
	probes := p.probes(t)
	p.find(t, `level=WARN msg="waiting for the model" reference=models:/sums@champion error="resolve`)
	require.Equal(t, http.StatusOK, get(t, probes+"/healthz").code)
	require.Contains(t, get(t, probes+"/readyz").body, "model models:/sums@champion is waiting: resolve")
	require.Contains(t, get(t, probes+"/models").body, `"state":"waiting"`)
	require.Nil(t, c.GroupInfo("millrace"), "the group has not been joined")

	got := tool(t.Context(), append(reg.env(t), "MLFLOW_TRACKING_URI="+reg.URL), "", "model", "register", versioned(t, 1, ""), "--name", "sums", "--alias", "champion")
	require.Zero(t, got.code, got.err)
	ready(t, probes)
	require.Contains(t, get(t, probes+"/models").body, `"state":"serving","name":"sums","version":"1"`)
	require.Zero(t, p.stop(t), p.err.String())
}

// A stop while things are waited for is as quick and as clean as any.
func TestWorkerStopsWhileItWaits(t *testing.T) {
	p := start(t, home(t), "worker", "--model", "no-such-folder", "--brokers", "127.0.0.1:"+freePort(t))
	p.find(t, `waiting for the model`)
	require.Zero(t, p.stop(t), p.err.String())
}

// Work that stands still fails the liveness probe, and ends the process with an
// error: only a restart helps.
func TestWorkerThatStallsEndsWith1(t *testing.T) {
	c := newKafka(t, freePort(t))
	createAll(t, c, 1)
	p := start(t, home(t, "MILLRACE_WATCHDOG_TIMEOUT=300ms", "MILLRACE_COMMIT_INTERVAL=50ms", "MILLRACE_REVOKE_DRAIN_TIMEOUT=1s", "MILLRACE_PRODUCER_CLOSE_TIMEOUT=100ms"),
		"worker", "--model", bundledRef, "--brokers", c.ListenAddrs()[0])
	probes := p.probes(t)
	ready(t, probes)
	hold(c, results)
	produce(t, c, requests, window(0))
	eventually(t, func() bool { return get(t, probes+"/healthz").code == http.StatusServiceUnavailable }, "not live any more")
	require.Contains(t, get(t, probes+"/metrics").body, "\nmillrace_watchdog_trips_total 1\n")
	require.Equal(t, exitFailed, p.wait(t))
	require.Contains(t, p.err.String(), "millrace: consumer: work in flight makes no progress")
}

// A pool that serves several models answers with the one that a request names,
// by its own name or by the one it was given.
func TestWorkerServesSeveralModels(t *testing.T) {
	c := newKafka(t, freePort(t))
	createAll(t, c, 1)
	broker := c.ListenAddrs()[0]
	p := start(t, home(t, "MILLRACE_MODEL=one="+versioned(t, 1, "")+", two="+versioned(t, 2, ""), "MILLRACE_LOG_FORMAT=json"), "worker", "--brokers", broker)
	p.find(t, `"msg":"model is serving"[^\n]*"reference":"[^"]+"[^\n]*\n(.|\n)*"msg":"partitions assigned"`)
	cl := client(t, broker)
	for named, version := range map[string]string{"": "1", "one": "1", "two": "2", "three": ""} {
		r := &kgo.Record{Topic: requests, Key: []byte("for " + named), Value: []byte(`{"inputs": [[1, 2, 3, 4]]}`)}
		if named != "" {
			r.Headers = []kgo.RecordHeader{{Key: wire.Model, Value: []byte(named)}}
		}
		require.NoError(t, cl.ProduceSync(t.Context(), r).FirstErr())
		got := first(t, broker, results, func(a *kgo.Record) bool { return string(a.Key) == "for "+named })
		if version == "" {
			require.Equal(t, string(model.NotFound), header(got, wire.Status))
			continue
		}
		require.Equal(t, string(model.OK), header(got, wire.Status), string(got.Value))
		require.Regexp(t, `10(\.0)?, ?`+version+`(\.0)?\]`, string(got.Value), "the row's sum, and what tells the models apart")
	}
	require.Zero(t, p.stop(t))
	for line := range strings.Lines(p.err.String()) {
		require.True(t, json.Valid([]byte(line)), line)
	}
}

func TestVersion(t *testing.T) {
	got := tool(t.Context(), []string{"MILLRACE_ONNXRUNTIME_LIB=/nowhere/lib.so"}, "", "version")
	require.Zero(t, got.code)
	require.Regexp(t, `^millrace dev\ncommit .+\ngo1\..+\nONNX Runtime: .*make onnxruntime.*/nowhere/lib.so does not exist`, got.out)
	require.Regexp(t, `ONNX Runtime: /.+/bin/libonnxruntime\.`, tool(t.Context(), nil, "", "version").out)
}

// hold makes the broker take nothing for a topic, until it is removed.
func hold(c *kfake.Cluster, topic string) *kfake.FaultHandle {
	return c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: kerr.NotLeaderForPartition, Count: -1})
}
