package producer

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/kafka"
	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/metrics"
)

func benchAnswer(h ...kgo.RecordHeader) *wire.Answer {
	req := &kgo.Record{Topic: "inference.requests", Partition: 4, Offset: 7, Value: make([]byte, 200), Headers: h}
	return &wire.Answer{
		Request: req, Status: "ok", ModelName: "forecaster", ModelVersion: "3",
		ContentType: "application/json", Value: make([]byte, 150),
	}
}

// BenchmarkRecord builds the record of an answer, without and with what a
// gateway's request makes it echo.
func BenchmarkRecord(b *testing.B) {
	for name, h := range map[string][]kgo.RecordHeader{
		"plain": nil,
		"reply": {header(wire.CorrelationID, "0123456789abcdef"), header(wire.TraceParent, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")},
	} {
		b.Run(name, func(b *testing.B) {
			pub := &publication{Producer: &Producer{}, ctx: b.Context(), answer: benchAnswer(h...)}
			b.ReportAllocs()
			for b.Loop() {
				pub.begun = false
				pub.record(target{topic: "inference.results", partition: -1})
			}
		})
	}
}

// BenchmarkPublish is an answer's way to the acknowledgement of a broker that
// throws it away.
func BenchmarkPublish(b *testing.B) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(12, "results"), kfake.BlackholeProduce())
	require.NoError(b, err)
	defer cluster.Close()
	p, err := New(Config{MaxBuffered: 4096, BatchMaxBytes: 1000012, Compression: "none", CloseTimeout: time.Minute}, Deps{
		Logger: slog.New(slog.DiscardHandler), Metrics: metrics.NewProducer(prometheus.NewRegistry()),
		Topics: kafka.Topics{Results: "results"}, Opts: []kgo.Opt{kgo.SeedBrokers(cluster.ListenAddrs()...)},
	})
	require.NoError(b, err)
	answers := make([]*wire.Answer, 1024)
	for i := range answers {
		answers[i] = benchAnswer()
		answers[i].Request.Partition = int32(i % 12)
	}
	var left sync.WaitGroup
	ctx := context.Background()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		left.Add(1)
		p.Publish(ctx, answers[i%len(answers)], func(string, error) { left.Done() })
	}
	left.Wait()
	require.NoError(b, p.Close())
}
