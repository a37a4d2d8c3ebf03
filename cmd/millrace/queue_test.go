package main

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/model"
)

// TestQueue holds the whole path by a share group: two workers on one
// partition, answers, dead letters, and the lag that the gateway exports.
func TestQueue(t *testing.T) {
	c := newKafka(t, freePort(t))
	createAll(t, c, 1)
	broker := c.ListenAddrs()[0]
	var workers []*process
	for range 2 {
		p := start(t, home(t, "MILLRACE_DELIVERY=queue", "MILLRACE_LAG_INTERVAL=100ms"), "worker", "--model", bundledRef, "--brokers", broker)
		ready(t, p.probes(t))
		workers = append(workers, p)
	}
	gateway := start(t, home(t, "MILLRACE_DELIVERY=queue", "MILLRACE_GROUP_LAG_INTERVAL=1s"), "gateway", "--brokers", broker)
	g := gateway.gateway(t)
	ready(t, g)

	require.Equal(t, http.StatusOK, send(t.Context(), http.MethodPost, g+"/predict", window(0)).code)
	require.Equal(t, http.StatusBadRequest, send(t.Context(), http.MethodPost, g+"/predict", `{"inputs": "x"}`).code)
	produce(t, c, requests, window(1), `{"inputs": "x"}`)
	from := func(topic string, n int) (list []*kgo.Record) {
		cl := client(t, broker, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		for len(list) < n {
			list = append(list, cl.PollFetches(t.Context()).Records()...)
		}
		return list
	}
	for topic, key := range map[string]string{results: wire.DeliveryCount, dead: wire.DeadDeliveries} {
		for _, r := range from(topic, 2) {
			count, ok := wire.Header(r, key)
			require.True(t, ok, topic)
			require.Equal(t, "1", string(count), topic)
		}
	}
	eventually(t, func() bool {
		accepted, rejected := 0, 0
		for _, p := range workers {
			text := get(t, p.probes(t)+"/metrics").body
			require.NotContains(t, text, `result="error"} 1`)
			accepted += max(0, counted(text, `millrace_queue_acks_total{result="ok",type="accept"}`))
			rejected += max(0, counted(text, `millrace_queue_acks_total{result="ok",type="reject"}`))
		}
		return accepted >= 2 && rejected == 2
	}, "acknowledged")
	eventually(t, func() bool {
		return counted(get(t, g+"/metrics").body, `millrace_group_lag_records{group="millrace",topic="inference.requests"}`) == 0
	}, "no lag")
	require.Zero(t, gateway.stop(t), gateway.err.String())
	for _, p := range workers {
		require.Zero(t, p.stop(t), p.err.String())
	}
}

// A broker without share groups ends the worker, which says what it needs.
func TestQueueNeedsShareGroups(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.MaxVersions(kversion.V4_0_0()), kfake.GroupMinSessionTimeout(50*time.Millisecond))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	createAll(t, c, 1)
	p := start(t, home(t, "MILLRACE_DELIVERY=queue"), "worker", "--model", bundledRef, "--brokers", c.ListenAddrs()[0])
	require.Equal(t, exitFailed, p.wait(t))
	require.Contains(t, p.err.String(), "the brokers have no share groups")
	require.Contains(t, p.err.String(), "queue delivery needs Apache Kafka 4.2 or later")
}

// The queue knows codes by their text, for it knows no models.
func TestCodesOfTheQueue(t *testing.T) {
	require.Equal(t, wire.OK, string(model.OK))
	require.Equal(t, wire.DeadlineExceeded, string(model.DeadlineExceeded))
	require.Equal(t, wire.Unavailable, string(model.Unavailable))
	require.Equal(t, wire.Overloaded, string(model.Overloaded))
	require.Equal(t, wire.ModelFailed, string(model.Failed))
}
