package consumer

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/checkpoint"
)

func span(first, last int64, epoch int32) checkpoint.Span {
	return checkpoint.Span{First: first, Last: last, Epoch: epoch}
}

// commit writes what an earlier worker left.
func (b *bench) commit(id int32, cp checkpoint.Checkpoint) {
	b.t.Helper()
	var os kadm.Offsets
	os.Add(kadm.Offset{Topic: in, Partition: id, At: cp.Offset, LeaderEpoch: cp.Epoch, Metadata: cp.Encode(checkpoint.Max)})
	require.NoError(b.t, b.admin.CommitAllOffsets(b.ctx, "g", os))
}

// checkpoint reads what the group has committed for a partition.
func (b *bench) checkpoint(partition int32) (checkpoint.Checkpoint, string) {
	b.t.Helper()
	resp, err := b.admin.FetchOffsets(b.ctx, "g")
	require.NoError(b.t, err)
	o, ok := resp.Lookup(in, partition)
	if !ok {
		return checkpoint.Checkpoint{}, ""
	}
	cp, _ := checkpoint.Decode(o.Metadata, o.At, o.LeaderEpoch)
	return cp, o.Metadata
}

func TestCrashResumesAboveTheWatermark(t *testing.T) {
	virtual(t, 1, func(b *bench) {
		b.fill(0, 100)
		p := &holding{}
		m := b.start(config(), p)
		b.until("all in flight", func() bool { return p.held() == 100 })
		p.answerIf(func(r *kgo.Record) bool { return r.Offset != 10 && r.Offset != 50 && r.Offset < 98 })
		b.until("committed", func() bool {
			cp, _ := b.checkpoint(0)
			return cp.Offset == 10 && slices.Equal(cp.Done, checkpoint.Set{span(11, 49, 0), span(51, 97, 0)})
		})
		require.True(t, m.is(t, 4, "inference_queue_len"), "what is answered above the watermark is no lag")
		m.wire.Cut()
		next := &answering{client: b.client}
		m2 := b.start(config(), next)
		b.until("the rest answered", func() bool { return b.committed()[0] == 100 })
		require.Equal(t, map[string]int{"10": 1, "50": 1, "98": 1, "99": 1}, b.answers())
		require.True(t, m2.is(t, 4, "millrace_consumed_records_total"))
		require.True(t, m2.is(t, 86, "millrace_restored_records_total"))
		require.True(t, m2.is(t, 1, "millrace_unclean_ends_total"))
		m2.halt(t)
		_, text := b.checkpoint(0)
		require.Empty(t, text, "all is well again")
		m.stop()
		require.NoError(t, <-m.ended)
	})
}

// What was restored but not fetched yet survives a second crash.
func TestSecondCrashKeepsWhatWasNotFetched(t *testing.T) {
	virtual(t, 1, func(b *bench) {
		cfg := config()
		b.fill(0, 300)
		p := &holding{}
		m := b.start(cfg, p)
		b.until("all in flight", func() bool { return p.held() == 300 })
		p.answerIf(func(r *kgo.Record) bool { return r.Offset%2 == 1 })
		b.until("committed", func() bool { cp, _ := b.checkpoint(0); return len(cp.Done) == 150 })
		m.wire.Cut()
		cfg.MaxRecords = 10
		p2 := &holding{}
		m2 := b.start(cfg, p2)
		b.until("some in flight", func() bool { return p2.held() > 0 })
		p2.answerIf(func(r *kgo.Record) bool { return r.Offset == 0 })
		b.until("committed", func() bool {
			cp, _ := b.checkpoint(0)
			return cp.Offset == 2 && cp.Open && len(cp.Done) == 149
		})
		m2.wire.Cut()
		last := &answering{client: b.client}
		m3 := b.start(config(), last)
		b.until("all", func() bool { return b.committed()[0] == 300 })
		require.Equal(t, int64(149), last.sent.Load())
		m3.halt(t)
		for _, dead := range []*member{m, m2} {
			dead.stop()
			require.NoError(t, <-dead.ended)
		}
	})
}

func TestNothingNewIsNotCommitted(t *testing.T) {
	virtual(t, 1, func(b *bench) {
		commits := b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Count: -1, Observe: true})
		b.fill(0, 20)
		p := &holding{}
		m := b.start(config(), p)
		b.until("in flight", func() bool { return p.held() == 20 })
		time.Sleep(10 * time.Second)
		require.Equal(t, 1, commits.Hits(), "that work begins")
		p.answerIf(func(r *kgo.Record) bool { return r.Offset == 7 })
		time.Sleep(10 * time.Second)
		require.Equal(t, 2, commits.Hits(), "the set alone has changed")
		for i := range int64(10) { // many changes within a tick
			p.answerIf(func(r *kgo.Record) bool { return r.Offset == 10+i })
		}
		time.Sleep(10 * time.Second)
		require.Equal(t, 3, commits.Hits())
		p.answerIf(func(*kgo.Record) bool { return true })
		m.halt(t)
		require.Equal(t, int64(20), b.committed()[0])
	})
}

func TestForeignCommitIsTakenAsAnOffset(t *testing.T) {
	for _, text := range []string{"", "kgo-5c0ffee", "AQ", "äöü"} {
		t.Run(text, func(t *testing.T) {
			virtual(t, 1, func(b *bench) {
				b.fill(0, 10)
				var os kadm.Offsets
				os.Add(kadm.Offset{Topic: in, Partition: 0, At: 4, LeaderEpoch: -1, Metadata: text})
				require.NoError(t, b.admin.CommitAllOffsets(b.ctx, "g", os))
				p := &answering{client: b.client}
				m := b.start(config(), p)
				b.until("answered", func() bool { return b.committed()[0] == 10 })
				require.Equal(t, int64(6), p.sent.Load())
				require.True(t, m.is(t, 0, "millrace_unclean_ends_total"))
				m.halt(t)
			})
		})
	}
}

func TestRestoredSetIsOfItsLeaderEpoch(t *testing.T) {
	rec := func(offset int64, epoch int32) *kgo.Record { return &kgo.Record{Offset: offset, LeaderEpoch: epoch} }
	l := newLease(t.Context(), in, 0, 1)
	_, took := l.restore(checkpoint.Checkpoint{Offset: 5, Epoch: 3, Marks: checkpoint.Unmarked(), Done: checkpoint.Set{span(6, 8, 3), span(10, 12, 4)}}, false)
	require.True(t, took)
	l.startAt(5, 3)
	require.Equal(t, int64(6), l.answeredAhead())
	// The log was cut at 7: a new leader wrote other records there.
	got, restored := l.register([]*kgo.Record{rec(5, 3), rec(6, 3), rec(7, 4), rec(8, 4), rec(9, 4), rec(10, 4)}, 20)
	require.Equal(t, 2, restored)
	require.Equal(t, []*kgo.Record{rec(5, 3), rec(7, 4), rec(8, 4), rec(9, 4)}, got)
	require.Equal(t, int64(2), l.answeredAhead())
	_, took = l.restore(checkpoint.Checkpoint{Offset: 5, Epoch: 3, Done: checkpoint.Set{span(6, 8, 3)}}, false)
	require.False(t, took, "a lease that has begun")
	require.Equal(t, int64(20-5-2-2), l.lag().Records)
}

func TestBrokerThatTakesLittleMetadata(t *testing.T) {
	virtual(t, 1, func(b *bench) {
		b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Count: -1, Err: kerr.OffsetMetadataTooLarge, When: func(req kmsg.Request) bool {
			text := req.(*kmsg.OffsetCommitRequest).Topics[0].Partitions[0].Metadata
			return text != nil && len(*text) > 150
		}})
		b.fill(0, 500)
		p := &holding{}
		m := b.start(config(), p)
		b.until("in flight", func() bool { return p.held() == 500 })
		p.answerIf(func(r *kgo.Record) bool { return r.Offset%3 == 1 })
		b.until("a part committed", func() bool { cp, _ := b.checkpoint(0); return len(cp.Done) > 20 })
		p.answerIf(func(*kgo.Record) bool { return true })
		b.until("committed", func() bool { return b.committed()[0] == 500 })
		m.halt(t)
	})
}

// A partition whose head stands is held back before the set outgrows the
// metadata, alone, and goes on when its head is answered or it is revoked.
func TestHotPartitionIsHeldBackAlone(t *testing.T) {
	for _, end := range []string{"moves", "revoked"} {
		t.Run(end, func(t *testing.T) {
			virtual(t, 2, func(b *bench) {
				send := func(partition int32, n int) {
					cl, err := kgo.NewClient(append(b.opts(), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
					require.NoError(t, err)
					defer cl.Close()
					recs := make([]*kgo.Record, n)
					for i := range recs {
						recs[i] = &kgo.Record{Topic: in, Partition: partition, Value: []byte(strconv.Itoa(i))}
					}
					require.NoError(t, cl.ProduceSync(b.ctx, recs...).FirstErr())
				}
				cfg := config()
				cfg.MaxRecords, cfg.MaxBytes, cfg.BlockedTimeout, cfg.WatchdogTimeout = 4096, 64<<20, time.Hour, 2*time.Hour
				p := &hole{offset: 0, partition: 0}
				m := b.start(cfg, p)
				send(0, 60000)
				b.until("held", func() bool { return m.is(t, 1, "millrace_paused_partitions") })
				time.Sleep(10 * time.Second)
				l := m.lease(partition{in, 0})
				d, ok := l.toCommit()
				if !ok {
					l.changes++
					d, _ = l.toCommit()
				}
				got, ok := checkpoint.Decode(d.Encode(checkpoint.Max), d.Offset, d.Epoch)
				require.True(t, ok)
				require.Equal(t, d.Done, got.Done, "all of it is kept")
				require.Greater(t, l.tracker.n, 15000)
				require.Equal(t, []int32{0}, m.cl.PauseFetchPartitions(nil)[in])
				send(1, 10000)
				b.until("the other goes on", func() bool { return b.committed()[1] == 10000 })
				require.True(t, m.is(t, 1, "millrace_paused_partitions"))
				if end == "revoked" {
					m.revoked(b.ctx, m.cl, map[string][]int32{in: {0}})
					require.Empty(t, m.cl.PauseFetchPartitions(nil)[in])
					require.True(t, m.is(t, 0, "millrace_paused_partitions"))
				}
				p.fill()
				if end == "moves" {
					b.until("all of it", func() bool { return b.committed()[0] == 60000 })
					require.True(t, m.is(t, 0, "millrace_paused_partitions"))
					n, _ := m.value(t, "millrace_partition_pauses_total")
					require.Positive(t, n)
				}
				m.halt(t)
			})
		})
	}
}
