package gateway_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/gateway"
)

func TestTheGroupsLagIsSeenWithoutAWorker(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		client, err := kgo.NewClient(append(w.kafka(), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
		require.NoError(t, err)
		defer client.Close()
		for i := range 40 {
			rec := &kgo.Record{Topic: requests, Partition: int32(i % 4), Value: []byte("{}")}
			require.NoError(t, client.ProduceSync(t.Context(), rec).FirstErr())
		}
		// A partition whose start has moved, and nothing committed on it.
		require.NoError(t, w.cluster.DeleteRecords(requests, 3, 4))
		g := w.ready(config())
		lag := func() float64 { return testutil.ToFloat64(g.m.GroupLag.WithLabelValues("millrace", requests)) }
		time.Sleep(time.Second) // virtual: the first reading is done
		require.InDelta(t, 36, lag(), 0)

		var commit kadm.Offsets
		commit.AddOffset(requests, 0, 10, -1)
		commit.AddOffset(requests, 1, 7, -1)
		_, err = kadm.NewClient(client).CommitOffsets(t.Context(), "millrace", commit)
		require.NoError(t, err)
		time.Sleep(11 * time.Second)
		require.InDelta(t, 3+10+6, lag(), 0)

		fault := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Topic: requests, Count: -1, Err: kerr.TopicAuthorizationFailed})
		time.Sleep(11 * time.Second)
		require.Positive(t, testutil.ToFloat64(g.m.LagErrs))
		require.NotContains(t, g.get("/metrics").body, "millrace_group_lag_records{", "a value that is no longer true")
		fault.Remove()
		time.Sleep(11 * time.Second)
		require.InDelta(t, 19, lag(), 0)
	})
}

// The age of what waits is that of its first records: the rest is not read, however
// much it is.
func TestTheLagInSecondsCostsAFewFetches(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		client, err := kgo.NewClient(append(w.kafka(), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
		require.NoError(t, err)
		defer client.Close()
		for i := range 400 {
			rec := &kgo.Record{Topic: requests, Partition: int32(i % 4), Value: make([]byte, 4<<10)}
			require.NoError(t, client.ProduceSync(t.Context(), rec).FirstErr())
		}
		var fetches atomic.Int64
		w.cluster.ControlKey(kmsg.Fetch.Int16(), func(kmsg.Request) (kmsg.Response, error, bool) {
			w.cluster.KeepControl()
			fetches.Add(1)
			return nil, nil, false
		})
		time.Sleep(time.Minute)
		g := w.ready(config())
		time.Sleep(time.Second) // virtual: the first reading is done
		require.InDelta(t, 60, g.value("millrace_group_lag_seconds"), 5)
		require.Less(t, fetches.Load(), int64(40), "of 400 batches")
	})
}

// A share group commits nothing: its lag is what the broker counts, over gaps of
// what is done with, and what the log holds where the group has never been.
func TestTheLagOfAShareGroup(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		client, err := kgo.NewClient(append(w.kafka(), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
		require.NoError(t, err)
		defer client.Close()
		for i := range 40 {
			rec := &kgo.Record{Topic: requests, Partition: int32(i % 4), Value: []byte("{}")}
			require.NoError(t, client.ProduceSync(t.Context(), rec).FirstErr())
		}
		cfg := config()
		cfg.Delivery = "queue"
		g := w.ready(cfg)
		lag := func() float64 { return testutil.ToFloat64(g.m.GroupLag.WithLabelValues("millrace", requests)) }
		time.Sleep(time.Second) // virtual: the first reading is done
		require.InDelta(t, 40, lag(), 0)

		w.cluster.SetGroupConfigs("millrace", map[string]string{"share.auto.offset.reset": "earliest"})
		member, err := kgo.NewClient(append(w.kafka(), kgo.ShareGroup("millrace"), kgo.ConsumeTopics(requests))...)
		require.NoError(t, err)
		defer member.Close()
		for got := 0; got < 40; {
			member.PollFetches(t.Context()).EachRecord(func(r *kgo.Record) {
				got++
				if r.Offset == 3 { // one of each partition
					r.Ack(kgo.AckRelease)
				} else {
					r.Ack(kgo.AckAccept)
				}
			})
		}
		require.NoError(t, member.FlushAcks(t.Context()))
		time.Sleep(11 * time.Second)
		require.InDelta(t, 4, lag(), 0)
	})
}

func TestEverySettingIsChecked(t *testing.T) {
	require.NoError(t, new(config()).Validate())
	err := (&gateway.Config{ReplyPartition: -2}).Validate()
	for _, name := range []string{
		"GATEWAY_ADDR", "TOPIC_REQUESTS", "TOPIC_REPLIES", "GATEWAY_REPLY_PARTITION", "GATEWAY_TIMEOUT", "GATEWAY_PUBLISH_TIMEOUT",
		"GATEWAY_READ_TIMEOUT", "GATEWAY_DRAIN_TIMEOUT", "GATEWAY_MAX_WAITING", "GATEWAY_MAX_BODY_BYTES", "GROUP", "DELIVERY", "GROUP_LAG_INTERVAL",
	} {
		require.ErrorContains(t, err, "MILLRACE_"+name+":")
	}
	cfg := config()
	cfg.MaxTimeout = time.Second
	require.ErrorContains(t, cfg.Validate(), "MILLRACE_GATEWAY_MAX_TIMEOUT:")
	require.Equal(t, 1, strings.Count(cfg.Validate().Error(), "MILLRACE_"))
}
