//go:build integration

package integration

import (
	"context"
	"net/http"
	"path"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/model/remote/remotetest"
)

// TestOverload holds that a real Prometheus with the chart's own rules fires
// HighLatency and QueueBacklog when a worker is asked for four times what it
// can do, and lets go of the backlog when it is over. It takes as long as the
// rules wait.
func TestOverload(t *testing.T) {
	b := newBroker(t)
	b.topics(t)
	endpoint := remotetest.New(t, remotetest.Options{})
	w := startWorker(t, "worker", b, "MILLRACE_MODEL="+endpoint.Ref(), "MILLRACE_EXECUTORS=1", "MILLRACE_MAX_BATCH=1", "MILLRACE_LAG_INTERVAL=500ms")
	prometheus := startPrometheus(t, rulesOf(t), w.addr)
	firing := func(alert string) bool {
		return hasData(t, prometheus, `ALERTS{alertname="`+alert+`",alertstate="firing"}`)
	}
	require.Eventually(t, func() bool { return hasData(t, prometheus, "millrace:workers") }, 30*time.Second, time.Second)

	endpoint.Break(func(_ http.ResponseWriter, r *http.Request) bool {
		if path.Base(r.URL.Path) == "infer" {
			time.Sleep(200 * time.Millisecond)
		}
		return false
	})
	ctx, stop := context.WithCancel(t.Context())
	sent := make(chan struct{})
	producer := b.client(t)
	go func() {
		defer close(sent)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			producer.Produce(ctx, &kgo.Record{Topic: requests, Value: []byte(`{"inputs": [[1, 2, 3, 4]]}`)}, nil)
			<-tick.C
		}
	}()
	defer func() { stop(); <-sent }()
	began := time.Now()
	for _, alert := range []string{"HighLatency", "QueueBacklog"} {
		require.Eventually(t, func() bool { return firing(alert) }, 5*time.Minute, time.Second, alert)
		t.Logf("%s fires after %.0f s", alert, time.Since(began).Seconds())
	}
	for _, alert := range []string{"HighErrorRate", "ConsumerStalled", "TargetDown", "DeadLetters"} {
		require.False(t, firing(alert), alert)
	}

	stop()
	endpoint.Break(nil)
	require.Eventually(t, func() bool { return !firing("QueueBacklog") }, time.Minute, time.Second)
	b.requireNoLag(t, "millrace")
}
