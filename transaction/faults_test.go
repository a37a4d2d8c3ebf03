package transaction

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// faults are errors that may come to each Kafka request that the code makes.
func faults() map[kmsg.Key][]*kerr.Error {
	coordinator := []*kerr.Error{kerr.CoordinatorNotAvailable, kerr.CoordinatorLoadInProgress, kerr.NotCoordinator}
	member := []*kerr.Error{kerr.IllegalGeneration, kerr.UnknownMemberID, kerr.RebalanceInProgress}
	with := func(lists ...[]*kerr.Error) (all []*kerr.Error) {
		for _, l := range lists {
			all = append(all, l...)
		}
		return all
	}
	return map[kmsg.Key][]*kerr.Error{
		kmsg.FindCoordinator: {kerr.CoordinatorNotAvailable},
		kmsg.InitProducerID:  with(coordinator, []*kerr.Error{kerr.ConcurrentTransactions}),
		kmsg.Produce: {
			kerr.NotLeaderForPartition, kerr.NotEnoughReplicas, kerr.NotEnoughReplicasAfterAppend, kerr.RequestTimedOut, kerr.KafkaStorageError,
			kerr.ConcurrentTransactions, kerr.TransactionAbortable, kerr.TopicAuthorizationFailed, kerr.InvalidTxnState, kerr.InvalidProducerEpoch,
			kerr.OutOfOrderSequenceNumber, kerr.UnknownServerError,
		},
		kmsg.AddPartitionsToTxn: with(coordinator, []*kerr.Error{kerr.ConcurrentTransactions, kerr.UnknownServerError, kerr.InvalidProducerEpoch}),
		kmsg.AddOffsetsToTxn:    with(coordinator, []*kerr.Error{kerr.ConcurrentTransactions, kerr.UnknownServerError, kerr.InvalidProducerEpoch}),
		kmsg.TxnOffsetCommit: with(coordinator, member, []*kerr.Error{
			kerr.ConcurrentTransactions, kerr.TransactionAbortable, kerr.UnknownServerError, kerr.GroupAuthorizationFailed, kerr.InvalidProducerEpoch,
		}),
		kmsg.EndTxn: with(coordinator, []*kerr.Error{
			kerr.ConcurrentTransactions, kerr.TransactionAbortable, kerr.UnknownServerError, kerr.RequestTimedOut, kerr.ProducerFenced,
			kerr.InvalidProducerEpoch, kerr.InvalidTxnState, kerr.InvalidProducerIDMapping,
		}),
		kmsg.OffsetFetch: with(coordinator, []*kerr.Error{kerr.UnstableOffsetCommit}),
		kmsg.Heartbeat:   with(coordinator, member),
		kmsg.JoinGroup:   with(coordinator, []*kerr.Error{kerr.UnknownMemberID}),
		kmsg.SyncGroup:   with(coordinator, member),
		kmsg.ListOffsets: {kerr.NotLeaderForPartition, kerr.UnknownServerError},
		kmsg.Fetch:       {kerr.NotLeaderForPartition, kerr.UnknownServerError, kerr.TopicAuthorizationFailed},
		kmsg.Metadata:    {kerr.LeaderNotAvailable},
	}
}

// TestFaultsLoseAndDoubleNothing has every request refused in every way, a few
// times and often, by a broker that knows KIP-890 and by one that does not.
func TestFaultsLoseAndDoubleNothing(t *testing.T) {
	for _, old := range []bool{false, true} {
		for key, errs := range faults() {
			for _, e := range errs {
				for _, count := range []int{2, 40} {
					added := key == kmsg.AddPartitionsToTxn || key == kmsg.AddOffsetsToTxn
					if !old && added || old && !added && key != kmsg.EndTxn && key != kmsg.Produce && key != kmsg.TxnOffsetCommit {
						continue // not made, or no different
					}
					t.Run(fmt.Sprintf("old=%v/%s/%s/%d", old, key.Name(), e.Message, count), func(t *testing.T) {
						virtual(t, 2, func(b *bench) { faulty(b, old, key, e, count) })
					})
				}
			}
		}
	}
}

func faulty(b *bench, old bool, key kmsg.Key, e *kerr.Error, count int) {
	t := b.t
	var opts []kgo.Opt
	if old {
		opts = append(opts, kgo.MaxVersions(kversion.V3_8_0()))
	}
	cfg := config()
	cfg.Own = true
	atStart := key == kmsg.FindCoordinator || key == kmsg.InitProducerID || key == kmsg.JoinGroup || key == kmsg.SyncGroup || key == kmsg.OffsetFetch
	fault := kfake.Fault{Keys: []kmsg.Key{key}, Err: e, Count: count}
	var h *kfake.FaultHandle
	b.fill(0, 100)
	if atStart {
		h = b.cluster.Fault(fault)
	}
	m := b.start(cfg, &pool{}, opts...)
	if !atStart {
		b.until("begun", func() bool { return m.pool.counted.Load() == 100 })
		// Only the worker's: what the test itself asks must not use them up.
		h = b.cluster.Fault(fault)
	}
	done := make(chan struct{})
	go func() { // the fault may hit this producer too
		defer close(done)
		for i := range 20 {
			for b.client.ProduceSync(b.ctx, request(100+i)).FirstErr() != nil {
				time.Sleep(100 * time.Millisecond)
			}
			time.Sleep(300 * time.Millisecond)
		}
	}()
	<-done
	b.until("answered", func() bool { return m.pool.inferred.Load() >= 120 })
	time.Sleep(time.Minute)
	h.Remove()
	require.Positive(t, h.Hits())
	b.until("committed", func() bool { return b.committed() == 120 })
	m.halt(t)
	b.requireOnce(120)
	if m.value(t, "millrace_rebalances_total", "lost") == 0 { // whose partitions are lost keeps nothing of them
		require.Equal(t, int64(120), m.pool.inferred.Load(), "nothing is inferred twice")
	}
}
