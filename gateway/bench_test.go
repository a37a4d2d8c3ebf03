package gateway_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/gateway"
	"github.com/millrace/millrace/internal/alarm"
	"github.com/millrace/millrace/metrics"
)

// BenchmarkRoundTrip is from an HTTP request to its response, over a broker on
// loopback and a worker that echoes, all in this process.
func BenchmarkRoundTrip(b *testing.B) {
	cluster := kfake.MustCluster(kfake.NumBrokers(1), kfake.DataDir(b.TempDir()), kfake.SeedTopics(4, requests, replies))
	defer cluster.Close()
	kafka := []kgo.Opt{kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.DisableClientMetrics()}
	ctx, cancel := context.WithCancel(b.Context())
	client, err := kgo.NewClient(append(kafka, workerOpts()...)...)
	require.NoError(b, err)
	defer client.Close()
	ended := make(chan struct{}, 2)
	go func() { answerAll(ctx, client, echo); ended <- struct{}{} }()

	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	require.NoError(b, err)
	reg := prometheus.NewRegistry()
	g, err := gateway.New(config(), gateway.Deps{
		Log: slog.New(slog.DiscardHandler), Metrics: metrics.NewGateway(reg), Predictions: metrics.NewPredictions(reg), Series: reg, Kafka: kafka, Listener: l,
		Alarm: alarm.New,
	})
	require.NoError(b, err)
	go func() { _ = g.Run(ctx); ended <- struct{}{} }()
	defer func() { cancel(); <-ended; <-ended }()

	transport := &http.Transport{MaxIdleConnsPerHost: 1000}
	defer transport.CloseIdleConnections()
	caller := &http.Client{Transport: transport}
	url := "http://" + l.Addr().String()
	ready := time.NewTicker(10 * time.Millisecond)
	defer ready.Stop()
	for range ready.C {
		if call(ctx, caller, http.MethodGet, url+"/readyz") == http.StatusOK {
			break
		}
	}
	b.Run("one", func(b *testing.B) {
		for b.Loop() {
			require.Equal(b, http.StatusOK, call(ctx, caller, http.MethodPost, url+"/predict"))
		}
	})
	b.Run("many", func(b *testing.B) {
		b.SetParallelism(50)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if status := call(ctx, caller, http.MethodPost, url+"/predict"); status != http.StatusOK {
					b.Errorf("status %d", status)
				}
			}
		})
	})
}

// call returns the status, 0 when there was no response.
func call(ctx context.Context, c *http.Client, method, url string) int {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader([]byte(`{"instances":[[1,2,3]]}`)))
	if err != nil {
		return 0
	}
	res, err := c.Do(req)
	if err != nil {
		return 0
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode
}
