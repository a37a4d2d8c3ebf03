package consumer

import (
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/millrace/millrace/internal/kafka"
)

// faults are the requests that a worker makes, with the errors that a broker
// may answer each with and that must pass unnoticed.
func faults() map[kmsg.Key][]*kerr.Error {
	moved := []*kerr.Error{kerr.CoordinatorLoadInProgress, kerr.NotCoordinator, kerr.CoordinatorNotAvailable}
	with := func(base []*kerr.Error, more ...*kerr.Error) []*kerr.Error {
		return append(slices.Clip(base), more...)
	}
	return map[kmsg.Key][]*kerr.Error{
		kmsg.ApiVersions:            {kerr.UnsupportedVersion},
		kmsg.SASLHandshake:          {kerr.CoordinatorLoadInProgress, kerr.UnknownServerError},
		kmsg.SASLAuthenticate:       {kerr.SaslAuthenticationFailed, kerr.UnknownServerError},
		kmsg.Metadata:               {kerr.LeaderNotAvailable, kerr.UnknownTopicOrPartition, kerr.ReplicaNotAvailable},
		kmsg.FindCoordinator:        {kerr.CoordinatorNotAvailable, kerr.CoordinatorLoadInProgress},
		kmsg.CreateTopics:           {kerr.NotController, kerr.RequestTimedOut, kerr.ThrottlingQuotaExceeded},
		kmsg.InitProducerID:         with(moved, kerr.ConcurrentTransactions),
		kmsg.Produce:                {kerr.NotLeaderForPartition, kerr.NotEnoughReplicas, kerr.NotEnoughReplicasAfterAppend, kerr.RequestTimedOut, kerr.CorruptMessage, kerr.KafkaStorageError, kerr.UnknownTopicOrPartition},
		kmsg.ListOffsets:            {kerr.NotLeaderForPartition, kerr.OffsetNotAvailable, kerr.LeaderNotAvailable, kerr.KafkaStorageError},
		kmsg.Fetch:                  {kerr.NotLeaderForPartition, kerr.FencedLeaderEpoch, kerr.UnknownLeaderEpoch, kerr.KafkaStorageError, kerr.UnknownTopicOrPartition, kerr.OffsetNotAvailable, kerr.UnknownServerError},
		kmsg.OffsetForLeaderEpoch:   {kerr.NotLeaderForPartition, kerr.FencedLeaderEpoch, kerr.UnknownLeaderEpoch},
		kmsg.JoinGroup:              with(moved, kerr.UnknownMemberID),
		kmsg.SyncGroup:              with(moved, kerr.RebalanceInProgress, kerr.UnknownMemberID, kerr.IllegalGeneration),
		kmsg.Heartbeat:              with(moved, kerr.RebalanceInProgress, kerr.UnknownMemberID, kerr.IllegalGeneration),
		kmsg.LeaveGroup:             moved,
		kmsg.OffsetFetch:            with(moved, kerr.UnstableOffsetCommit, kerr.StaleMemberEpoch),
		kmsg.OffsetCommit:           with(moved, kerr.RebalanceInProgress, kerr.RequestTimedOut, kerr.IllegalGeneration, kerr.UnknownTopicOrPartition, kerr.OffsetMetadataTooLarge),
		kmsg.ConsumerGroupHeartbeat: with(moved, kerr.FencedMemberEpoch, kerr.UnknownMemberID),
	}
}

// TestFaultsPassUnnoticed has each request of a worker fail for a while, at
// its start, amid its work and at its stop: every request of the topic is
// answered once, and committed.
func TestFaultsPassUnnoticed(t *testing.T) {
	var mu sync.Mutex
	seen := make(map[kmsg.Key]bool)
	for key, errs := range faults() {
		for _, e := range errs {
			t.Run(key.Name()+"/"+e.Message, func(t *testing.T) {
				brokers := []kfake.Opt{kfake.NumBrokers(3), kfake.Ports(9092, 9093, 9094)}
				if key == kmsg.InitProducerID {
					// The client waits under a mutex that its other
					// brokers' goroutines want: virtual time would stand.
					brokers = []kfake.Opt{kfake.NumBrokers(1), kfake.Ports(9092)}
				}
				auth := scram.Auth{User: "admin", Pass: "admin"}.AsSha256Mechanism()
				virtualBrokers(t, 4, auth, func(b *bench) {
					withFault(b, key, e, func(k kmsg.Key) {
						mu.Lock()
						defer mu.Unlock()
						seen[k] = true
					})
				}, append(brokers, kfake.EnableSASL())...)
			})
		}
	}
	for key := range seen {
		require.Contains(t, faults(), key, "a request that the table does not know")
	}
	for key := range faults() {
		require.Contains(t, seen, key, "no test makes this request")
	}
}

// struck is a fault that comes and goes.
type struck struct {
	*kfake.FaultHandle
	hits int
}

func (s *struck) remove() {
	s.Remove()
	s.hits += s.Hits()
}

func withFault(b *bench, key kmsg.Key, e *kerr.Error, saw func(kmsg.Key)) {
	b.cluster.Control(func(req kmsg.Request) (kmsg.Response, error, bool) {
		b.cluster.KeepControl()
		saw(kmsg.Key(req.Key()))
		return nil, nil, false
	})
	s := &struck{}
	strike := func() {
		// The top level for requests that have an error of their own, the
		// entities for the others.
		s.FaultHandle = b.cluster.Fault(
			kfake.Fault{Keys: []kmsg.Key{key}, Err: e, Count: 2, TopLevel: true},
			kfake.Fault{Keys: []kmsg.Key{key}, Err: e, Count: 2},
		)
	}
	topics := kafka.Topics{Requests: in, Results: out, Replies: "replies", DeadLetters: "dlq", Partitions: 4, Replication: 1}
	strike()
	b.until("topics", func() bool {
		return kafka.EnsureTopics(b.ctx, b.client, topics, slog.New(slog.DiscardHandler)) == nil
	})
	s.remove()
	for run := range 2 {
		b.requests(50*run, 50)
		strike()
		serveUnder(b, key, s, strike)
		s.remove()
		// The next worker begins at offsets of an older leader's time.
		b.cluster.ShufflePartitionLeaders()
	}
	require.Positive(b.t, s.hits, "the fault has struck")
	require.Len(b.t, b.read(out), 100)
	// A member that the group takes for dead loses its partitions with the work
	// on them: what ran at the time may be answered twice.
	expelled := slices.Contains([]*kerr.Error{kerr.UnknownMemberID, kerr.FencedMemberEpoch, kerr.IllegalGeneration}, e)
	for id, n := range b.read(out) {
		require.True(b.t, n == 1 || expelled, "%s is answered %d times", id, n)
	}
	require.True(b.t, b.all())
	if expelled {
		return // a member that is taken for dead cannot say that it is well
	}
	for partition := range int32(4) {
		_, text := b.checkpoint(partition)
		require.Empty(b.t, text, "a clean end")
	}
}

// serveUnder runs a worker from its start to its stop. Nothing else talks to
// the broker while the fault is there.
func serveUnder(b *bench, key kmsg.Key, s *struck, strike func()) {
	b.t.Helper()
	cfg := config()
	if key == kmsg.ConsumerGroupHeartbeat {
		cfg.Protocol = protocolConsumer
	}
	w := b.whole(cfg, true, &double{})
	b.until("all is answered", func() bool {
		return w.is(b.t, 50, "millrace_consumed_records_total") && w.is(b.t, 0, "millrace_in_flight_records")
	})
	time.Sleep(10 * time.Second) // commits
	s.remove()
	strike()
	time.Sleep(10 * time.Second) // heartbeats
	s.remove()
	strike()
	w.stop()
	require.NoError(b.t, <-w.ended)
	require.True(b.t, w.Drained())
	w.end()
}

// requests writes n of them, over the partitions.
func (b *bench) requests(from, n int) {
	b.t.Helper()
	recs := make([]*kgo.Record, n)
	for i := range recs {
		recs[i] = &kgo.Record{Topic: in, Value: fmt.Appendf(nil, `{"instances":[[%d.0]]}`, from+i)}
	}
	require.NoError(b.t, b.client.ProduceSync(b.ctx, recs...).FirstErr())
}
