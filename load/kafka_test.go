package load_test

import (
	"context"
	"encoding/binary"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/load"
)

func TestStraightToKafka(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		vn := &kfake.VirtualNetwork{}
		cluster := kfake.MustCluster(kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(vn.Listen), kfake.SeedTopics(3, "requests", "replies"))
		defer cluster.Close()
		opts := []kgo.Opt{kgo.SeedBrokers("127.0.0.1:9092"), kgo.Dialer(vn.DialContext), kgo.DisableClientMetrics()}
		ended := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		go func() { defer close(ended); answer(ctx, t, opts) }()
		defer func() { cancel(); <-ended }()

		target, err := load.NewKafka(t.Context(), load.KafkaConfig{
			Requests: "requests", Replies: "replies", ContentType: "application/json", Model: "m", Opts: opts,
		})
		require.NoError(t, err)
		cfg := load.Config{Target: target, Body: number, Users: 4, Duration: 20 * time.Second, Timeout: 2 * time.Second, Think: time.Second}
		r, err := load.Run(t.Context(), cfg, io.Discard)
		require.NoError(t, err)
		require.NoError(t, target.Close())
		require.Greater(t, r.Requests, int64(20))
		require.Equal(t, map[string]int64{"INVALID_INPUT": 1, "timeout": 1}, r.Reasons)
		require.Equal(t, "m", r.Versions[0].Model)
		require.Equal(t, "host", r.Replicas[0].Replica)
	})
}

// answer is a worker: it refuses request 3 and forgets request 5.
func answer(ctx context.Context, t *testing.T, opts []kgo.Opt) {
	t.Helper()
	client, err := kgo.NewClient(append(opts, kgo.ConsumeTopics("requests"), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0),
		kgo.FetchMaxWait(100*time.Millisecond))...) // the first fetch may leave partitions out until its end
	if err != nil {
		t.Error(err)
		return
	}
	defer client.Close()
	for ctx.Err() == nil {
		client.PollFetches(ctx).EachRecord(func(req *kgo.Record) {
			header := func(key string) []byte { v, _ := wire.Header(req, key); return v }
			if string(header(wire.ContentType)) != "application/json" || string(header(wire.Model)) != "m" || len(header(wire.ExpiryTime)) == 0 {
				t.Errorf("headers %v", req.Headers)
			}
			status := "ok"
			switch string(req.Value) {
			case "3":
				status = "INVALID_INPUT"
			case "5":
				return
			}
			client.Produce(ctx, &kgo.Record{
				Topic: string(header(wire.ReplyTopic)), Partition: int32(binary.BigEndian.Uint32(header(wire.ReplyPartition))),
				Headers: []kgo.RecordHeader{
					{Key: wire.CorrelationID, Value: header(wire.CorrelationID)},
					{Key: wire.Status, Value: []byte(status)},
					{Key: wire.ModelName, Value: []byte("m")},
					{Key: wire.ModelVersion, Value: []byte("1")},
					{Key: wire.Worker, Value: []byte("host")},
				},
			}, nil)
		})
	}
}

func TestTopicsThatAreMissingAreNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		vn := &kfake.VirtualNetwork{}
		cluster := kfake.MustCluster(kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(vn.Listen), kfake.SeedTopics(3, "requests"))
		defer cluster.Close()
		_, err := load.NewKafka(t.Context(), load.KafkaConfig{
			Requests: "requests", Replies: "replies",
			Opts: []kgo.Opt{kgo.SeedBrokers("127.0.0.1:9092"), kgo.Dialer(vn.DialContext), kgo.DisableClientMetrics()},
		})
		require.ErrorContains(t, err, "replies")
	})
}
