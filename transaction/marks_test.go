package transaction

import (
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

// commit writes what an earlier lease would have.
func (b *bench) commit(id int32, cp checkpoint.Checkpoint) {
	b.t.Helper()
	var os kadm.Offsets
	os.Add(kadm.Offset{Topic: in, Partition: id, At: cp.Offset, LeaderEpoch: cp.Epoch, Metadata: cp.Encode(checkpoint.Max)})
	require.NoError(b.t, b.admin.CommitAllOffsets(b.ctx, "g", os))
}

// What begins is said once a lease, by a transaction of its own; what goes on
// is said by the commits of answers.
func TestSayingWhatBeginsCostsOneTransaction(t *testing.T) {
	virtual(t, 3, func(b *bench) {
		commits := b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.TxnOffsetCommit}, Count: -1, Observe: true})
		plain := b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Count: -1, Observe: true})
		m := b.start(config(), &pool{})
		for i := range 5 {
			b.fill(i*20, 20)
			b.until("committed", func() bool { return b.committed() == int64(i+1)*20 })
			cp := b.checkpoint(0)
			require.Equal(t, checkpoint.Marks{Open: true, Suspect: unknown, Until: unknown}, cp.Marks)
			time.Sleep(time.Second)
		}
		require.InDelta(t, float64(commits.Hits()-1), m.value(t, "millrace_transactions_total", "committed"), 0)
		require.Zero(t, plain.Hits())
		m.halt(t)
		require.Equal(t, 1, plain.Hits(), "that the leases have ended")
		for id := range int32(3) {
			require.Equal(t, checkpoint.Unmarked(), b.checkpoint(id).Marks)
		}
	})
}

// A stop is a clean end, even with records in flight.
func TestCleanEndsAreNoAttempts(t *testing.T) {
	virtual(t, 1, func(b *bench) {
		b.fill(0, 10)
		cfg := config()
		cfg.DrainTimeout, cfg.RevokeDrain = time.Second, time.Second
		for range 8 {
			p := &pool{hold: true}
			m := b.start(cfg, p)
			b.until("in flight", func() bool { return p.waiting() == 10 })
			require.True(t, b.checkpoint(0).Open)
			m.stop()
			require.NoError(t, <-m.ended)
			require.Equal(t, checkpoint.Unmarked(), b.checkpoint(0).Marks)
			require.Zero(t, m.value(t, "millrace_unclean_ends_total"))
			p.release()
		}
		m := b.start(cfg, &pool{})
		b.until("committed", func() bool { return b.committed() == 10 })
		m.halt(t)
		b.requireOnce(10)
	})
}

// The watchdog leaves only those partitions open whose records stand still.
func TestWatchdogBlamesWhatStands(t *testing.T) {
	virtual(t, 2, func(b *bench) {
		p := &pool{}
		m := b.start(config(), p)
		b.fill(0, 10)
		b.until("begun", func() bool { return b.committed() == 10 })
		p.mu.Lock()
		p.hold = true
		p.mu.Unlock()
		b.fill(10, 10)
		b.until("in flight", func() bool { return p.waiting() == 10 })
		p.answerIf(func(r *kgo.Record) bool { return r.Partition == 0 })
		require.ErrorIs(t, <-m.ended, ErrStalled)
		require.False(t, b.checkpoint(0).Open)
		require.True(t, b.checkpoint(1).Open)
		p.release()
	})
}

// Records under suspicion are run one by one, each named before; the answer of
// one names the next.
func TestSuspectsFollowOnEachOther(t *testing.T) {
	virtual(t, 2, func(b *bench) {
		b.fill(0, 40)
		b.commit(0, checkpoint.Checkpoint{Offset: 2, Epoch: -1, Marks: checkpoint.Marks{Open: true, Crowd: 2, Suspect: unknown, Until: 9}})
		commits := b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.TxnOffsetCommit}, Count: -1, Observe: true})
		p := &pool{hold: true}
		m := b.start(config(), p)
		for offset := int64(2); offset <= 9; offset++ {
			b.until("alone", func() bool { return p.waiting() == 1 })
			time.Sleep(500 * time.Millisecond)
			require.Equal(t, offset, p.recs[0].Offset)
			require.Equal(t, 1, p.waiting())
			require.Equal(t, checkpoint.Marks{Open: true, Alone: true, Crowd: 3, Suspect: offset, Until: 9}, b.checkpoint(0).Marks)
			p.answer(1)
		}
		b.until("the rest", func() bool { return p.waiting() > 1 })
		require.Equal(t, 1+8+1, commits.Hits(), "the first, those of the answers, and what begins in the other partition")
		require.False(t, b.checkpoint(0).Alone)
		p.release()
		b.until("committed", func() bool { return b.committed() == 40 })
		require.InDelta(t, 8, m.value(t, "millrace_isolated_records_total"), 0)
		m.halt(t)
		b.requireOnce(38)
	})
}

// A commit whose end the broker does not tell is no end of a worker: not even
// that of a record which is alone.
func TestAnUnknownCommitIsNoAttempt(t *testing.T) {
	virtual(t, 1, func(b *bench) {
		b.fill(0, 6)
		b.commit(0, checkpoint.Checkpoint{Offset: 2, Epoch: -1, Marks: checkpoint.Marks{Open: true, Crowd: 2, Suspect: unknown, Until: 4}})
		h := b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Count: 12, Err: kerr.UnknownServerError})
		m := b.start(config(), &pool{})
		b.until("committed", func() bool { return b.committed() == 6 })
		require.Equal(t, 12, h.Hits())
		require.InDelta(t, 1, m.value(t, "millrace_unclean_ends_total"), 0, "but that before")
		require.GreaterOrEqual(t, m.value(t, "millrace_isolated_records_total"), 3.0)
		require.Zero(t, m.value(t, "millrace_poison_records_total"))
		m.halt(t)
		b.requireOnce(4)
		require.Equal(t, checkpoint.Unmarked(), b.checkpoint(0).Marks)
	})
}

// Who loses a partition and has it back, with nobody at it meanwhile, has not
// ended: not even with a record alone, nor when it is lost again before that is
// run again.
func TestALostSessionOfOnesOwnIsNoAttempt(t *testing.T) {
	virtual(t, 1, func(b *bench) {
		b.fill(0, 6)
		b.commit(0, checkpoint.Checkpoint{Offset: 2, Epoch: -1, Marks: checkpoint.Marks{Open: true, Alone: true, Crowd: 3, Solo: 1, Suspect: 2, Until: 4}})
		p := &pool{hold: true}
		cfg := config()
		cfg.MaxAttempts = 7
		m := b.start(cfg, p)
		for i := range 4 {
			b.until("alone", func() bool { return p.waiting() == 1 })
			for j := range 2 {
				b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Count: 1, Err: kerr.UnknownMemberID})
				b.until("lost", func() bool { return m.value(t, "millrace_rebalances_total", "lost") == float64(2*i+j+1) })
				p.answer(p.waiting()) // late
			}
		}
		p.release()
		b.until("committed", func() bool { return b.committed() == 6 })
		require.InDelta(t, 1, m.value(t, "millrace_unclean_ends_total"), 0, "but that before")
		require.Zero(t, m.value(t, "millrace_poison_records_total"))
		m.halt(t)
		b.requireOnce(4)
	})
}

// What was answered at least once, before the mode was changed, stays so.
func TestGoesOnWhereAtLeastOnceWas(t *testing.T) {
	virtual(t, 1, func(b *bench) {
		b.fill(0, 20)
		done := checkpoint.Set{{First: 5, Last: 7, Epoch: 0}, {First: 9, Last: 9, Epoch: 0}, {First: 11, Last: 30, Epoch: 7}}
		b.commit(0, checkpoint.Checkpoint{Offset: 4, Epoch: 0, Marks: checkpoint.Unmarked(), Done: done})
		// An abort comes to them again.
		b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: out, Err: kerr.TopicAuthorizationFailed, Count: 1})
		p := &pool{hold: true}
		m := b.start(config(), p)
		b.until("in flight", func() bool { return p.waiting() == 12 })
		require.Equal(t, checkpoint.Set{{First: 5, Last: 7, Epoch: 0}, {First: 9, Last: 9, Epoch: 0}, {First: 11, Last: 30, Epoch: 7}}, b.checkpoint(0).Done)
		p.release()
		b.until("committed", func() bool { return b.committed() == 20 })
		m.halt(t)
		b.requireOnce(12) // not those of another leader epoch: the log was cut there
		require.InDelta(t, 8, m.value(t, "millrace_restored_records_total"), 0, "4 in each of two transactions")
	})
}

// A broker that takes little metadata with a commit gets little, or none.
func TestBrokerThatTakesLittleMetadata(t *testing.T) {
	for name, most := range map[string]int{"some": 60, "none": 0} {
		t.Run(name, func(t *testing.T) {
			virtual(t, 1, func(b *bench) {
				b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.TxnOffsetCommit}, Count: -1, Err: kerr.OffsetMetadataTooLarge, When: func(req kmsg.Request) bool {
					text := req.(*kmsg.TxnOffsetCommitRequest).Topics[0].Partitions[0].Metadata
					return text != nil && len(*text) > most
				}})
				b.fill(0, 200)
				var done checkpoint.Set
				for i := range int64(60) {
					done = append(done, checkpoint.Span{First: 3 * i, Last: 3 * i, Epoch: 0})
				}
				b.commit(0, checkpoint.Checkpoint{Offset: 0, Epoch: 0, Marks: checkpoint.Unmarked(), Done: done})
				m := b.start(config(), &pool{})
				b.until("committed", func() bool { return b.committed() == 200 })
				require.Equal(t, most > 0, b.checkpoint(0).Open)
				m.halt(t)
			})
		})
	}
}
