package transaction

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/wire"
)

func TestAnAbortedTransactionIsPublishedAgain(t *testing.T) {
	virtual(t, 2, func(b *bench) {
		m := b.start(config(), &pool{})
		b.until("ready", m.Ready)
		h := b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: out, Err: kerr.TopicAuthorizationFailed, Count: 3})
		b.fill(0, 100)
		b.until("committed", func() bool { return b.committed() == 100 })
		require.Equal(t, 3, h.Hits())
		aborted := m.value(t, "millrace_transactions_total", "aborted")
		require.Positive(t, aborted)
		require.InDelta(t, 1, m.value(t, "millrace_transactions_total", "committed"), 0)
		require.InDelta(t, 100*aborted, m.value(t, "millrace_answers_republished_total"), 0)
		require.InDelta(t, 100, m.value(t, "millrace_published_records_total", "result"), 0, "what was aborted was not published")
		require.Equal(t, int64(100), m.pool.inferred.Load())
		require.Equal(t, int64(100), m.pool.counted.Load())
		m.halt(t)
		b.requireOnce(100)
	})
}

func TestDeadLettersAreInTheTransaction(t *testing.T) {
	virtual(t, 2, func(b *bench) {
		m := b.start(config(), &pool{refuse: true})
		b.fill(0, 10)
		b.until("begun", func() bool { return b.committed() == 10 })
		h := b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.TransactionAbortable, Count: 1})
		b.fill(10, 10)
		b.until("committed", func() bool { return b.committed() == 20 })
		require.Equal(t, 1, h.Hits())
		require.InDelta(t, 20, m.value(t, "millrace_dead_letters_total", "INVALID_INPUT"), 0)
		m.halt(t)
		b.requireOnce(20)
		require.Len(t, b.read(dead), 20)
	})
}

// A transaction that takes longer than a rebalance may wait is aborted, and
// what it had inferred of the partitions that stay is not inferred again.
func TestARebalanceDoesNotWaitForever(t *testing.T) {
	actual(t, 4, func(b *bench) {
		cfg := quick()
		cfg.Lanes, cfg.RevokeDrain = 1, 300*time.Millisecond
		p := &pool{hold: true}
		m := b.start(cfg, p)
		b.until("ready", m.Ready)
		b.fill(0, 40)
		b.until("in flight", func() bool { return p.waiting() == 40 })
		cfg.ID = "x"
		next := b.start(cfg, &pool{})
		b.until("moved", func() bool { return len(m.lanes[0].all()[in]) == 2 }) // their leases have ended by then
		p.release()
		b.until("committed", func() bool { return b.committed() == 40 })
		require.Positive(t, m.value(t, "millrace_answers_republished_total"))
		require.Equal(t, int64(20), p.inferred.Load(), "those of the partitions that stayed, once")
		m.halt(t)
		next.halt(t)
		b.requireOnce(40)
	})
}

// A rebalance waits for a transaction that is about to end.
func TestARebalanceWaitsForTheCommit(t *testing.T) {
	actual(t, 4, func(b *bench) {
		cfg := quick()
		cfg.Lanes = 1
		p := &pool{hold: true}
		m := b.start(cfg, p)
		b.until("ready", m.Ready)
		b.fill(0, 40)
		b.until("in flight", func() bool { return p.waiting() == 40 })
		cfg.ID = "x"
		next := b.start(cfg, &pool{})
		time.Sleep(300 * time.Millisecond)
		require.Zero(t, m.value(t, "millrace_rebalances_total", "revoked"))
		p.release()
		b.until("moved", func() bool { return m.value(t, "millrace_rebalances_total", "revoked") == 1 })
		require.Equal(t, int64(40), b.committed())
		require.Zero(t, m.value(t, "millrace_transactions_total", "aborted"))
		m.halt(t)
		next.halt(t)
		require.Zero(t, next.pool.inferred.Load())
		b.requireOnce(40)
	})
}

func TestControlRecordsCountAsNoLag(t *testing.T) {
	virtual(t, 1, func(b *bench) {
		tx, err := kgo.NewClient(append(b.opts(), kgo.TransactionalID("requester"), kgo.DefaultProduceTopic(in))...)
		require.NoError(t, err)
		defer tx.Close()
		m := b.start(config(), &pool{})
		for _, end := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort} {
			require.NoError(t, tx.BeginTransaction())
			require.NoError(t, tx.ProduceSync(b.ctx, kgo.StringRecord("a")).FirstErr())
			require.NoError(t, tx.EndTransaction(b.ctx, end))
		}
		b.until("committed", func() bool { return b.committed() == 4 })
		time.Sleep(10 * time.Second)
		require.Zero(t, m.value(t, "inference_queue_len"))
		require.Equal(t, int64(1), m.pool.inferred.Load(), "neither control records nor what was aborted")
		m.halt(t)
	})
}

// Who begins at the end goes back to where that was when its first transaction
// is aborted.
func TestAnAbortBeforeTheFirstCommit(t *testing.T) {
	for reset, want := range map[string]int{"earliest": 110, resetLatest: 10} {
		t.Run(reset, func(t *testing.T) {
			virtual(t, 2, func(b *bench) {
				b.fill(0, 100)
				h := b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: out, Err: kerr.TopicAuthorizationFailed, Count: 2})
				cfg := config()
				cfg.OffsetReset = reset
				m := b.start(cfg, &pool{})
				b.until("ready", m.Ready)
				time.Sleep(time.Second)
				b.fill(100, 10)
				b.until("answered", func() bool { return m.pool.counted.Load() == int64(want) })
				require.Equal(t, 2, h.Hits())
				m.halt(t)
				b.requireOnce(want)
			})
		})
	}
}

func TestLag(t *testing.T) {
	virtual(t, 1, func(b *bench) {
		p := &pool{hold: true}
		cfg := config()
		m := b.start(cfg, p)
		b.fill(0, 10)
		b.until("in flight", func() bool { return p.waiting() == 10 })
		time.Sleep(time.Second) // the transaction gathers no more
		b.fill(10, 20)
		time.Sleep(30 * time.Second)
		require.InDelta(t, 30, m.value(t, "inference_queue_len"), 0)
		require.InDelta(t, 30, m.value(t, "millrace_partition_lag_records", "0", in), 0)
		require.InDelta(t, 30, m.value(t, "millrace_partition_lag_seconds", "0", in), 2)
		require.InDelta(t, 30, m.value(t, "millrace_oldest_record_age_seconds"), 2)
		require.InDelta(t, 10, m.value(t, "millrace_in_flight_records"), 0)
		require.Positive(t, m.value(t, "millrace_in_flight_bytes"))
		p.release()
		b.until("committed", func() bool { return b.committed() == 30 })
		time.Sleep(time.Second)
		require.Zero(t, m.value(t, "inference_queue_len"))
		require.Zero(t, m.value(t, "millrace_oldest_record_age_seconds"))
		m.halt(t)
	})
}

func TestPaceFollowsTheModel(t *testing.T) {
	cfg := config()
	cfg.Records = 2048
	l := newLane(&Intake{cfg: cfg.Config, member: cfg.Member}, 0)
	require.Equal(t, 256, l.limit)
	for range 5 {
		l.pace(true, 10*time.Millisecond)
	}
	require.Equal(t, 2048, l.limit)
	l.pace(false, 10*time.Millisecond)
	require.Equal(t, 2048, l.limit)
	for range 20 {
		l.pace(true, 10*time.Second)
	}
	require.Equal(t, 1, l.limit)
	l.pace(true, 10*time.Millisecond)
	require.Equal(t, 2, l.limit)
}

// kept is an entry that notes its end.
func kept(offset int64, ends map[int64]error, headers ...kgo.RecordHeader) entry {
	r := &kgo.Record{Topic: in, Offset: offset, Value: []byte("v"), Timestamp: time.Unix(1, 0), Headers: headers}
	return entry{
		answer: &wire.Answer{Request: r, Status: "ok", ModelVersion: "7"}, status: "ok",
		acked: func(_ string, err error) { ends[offset] = err },
	}
}

func TestMemo(t *testing.T) {
	again := func(offset int64) *kgo.Record {
		return &kgo.Record{Topic: in, Offset: offset, Value: []byte("v"), Timestamp: time.Unix(1, 0)}
	}
	ends := make(map[int64]error)
	m := newMemo(4)
	m.put([]entry{kept(0, ends), kept(1, ends), kept(2, ends), kept(3, ends), kept(4, ends)})
	require.Equal(t, map[int64]error{4: ErrLost}, ends, "no more than it may hold")
	r := again(0)
	e, ok := m.take(r)
	require.True(t, ok)
	require.Same(t, r, e.answer.Request)
	require.Equal(t, "7", e.answer.ModelVersion, "the version that made it")
	_, ok = m.take(r)
	require.False(t, ok, "once")
	other := again(1)
	other.Value = []byte("w")
	_, ok = m.take(other)
	require.False(t, ok, "the log was written anew")
	require.ErrorIs(t, ends[1], ErrLost)
	late := again(2)
	late.Headers = []kgo.RecordHeader{{Key: wire.ExpiryTime, Value: []byte("1999-01-01T00:00:00Z")}}
	_, ok = m.take(late)
	require.False(t, ok, "past its deadline")
	m.keep(func(partition, int64) bool { return false }, ErrRevoked)
	require.ErrorIs(t, ends[3], ErrRevoked)
	require.True(t, m.empty())
	require.NotContains(t, ends, int64(0))
}

func TestALateAnswerIsNotPublished(t *testing.T) {
	c := newCycle(nil)
	r := &kgo.Record{}
	c.expect(partition{}, []*kgo.Record{r})
	require.Same(t, c, cycleOf(r))
	c.close()
	var got error
	c.answer(&wire.Answer{Request: r}, func(_ string, err error) { got = err; c.done(r, err) })
	require.ErrorIs(t, got, ErrStopped)
	require.Equal(t, 2, c.waiting(), "the cycle is over")
}

// A commit that is refused costs an abort. Only one whose end is not known costs
// the lane its place in the group: more would make rebalances feed themselves.
func TestWhatARefusedCommitCosts(t *testing.T) {
	for name, c := range map[string]struct {
		key        kmsg.Key
		err        *kerr.Error
		reconnects float64
		result     string
	}{
		"of an older generation": {kmsg.TxnOffsetCommit, kerr.IllegalGeneration, 0, "aborted"},
		"to be aborted":          {kmsg.EndTxn, kerr.TransactionAbortable, 0, "aborted"},
		"not known":              {kmsg.EndTxn, kerr.UnknownServerError, 1, "unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, 2, func(b *bench) {
				m := b.start(config(), &pool{})
				b.fill(0, 10)
				b.until("begun", func() bool { return b.committed() == 10 })
				h := b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{c.key}, Err: c.err, Count: 1})
				b.fill(10, 90)
				b.until("committed", func() bool { return b.committed() == 100 })
				require.Equal(t, 1, h.Hits())
				b.until("counted", func() bool { return m.value(t, "millrace_transactions_total", "committed") > 1 })
				require.InDelta(t, c.reconnects, m.value(t, "millrace_transaction_reconnects_total"), 0)
				require.InDelta(t, 1, m.value(t, "millrace_transactions_total", c.result), 0)
				require.InDelta(t, 90, m.value(t, "millrace_answers_republished_total"), 0)
				m.halt(t)
				b.requireOnce(100)
			})
		})
	}
}

// The session tells of one revocation in a transaction and swallows a second: the
// lease of what that took ends all the same.
func TestASwallowedRevocationEndsTheLease(t *testing.T) {
	virtual(t, 2, func(b *bench) {
		m := b.start(config(), &pool{})
		b.fill(0, 10)
		b.until("committed", func() bool { return b.committed() == 10 })
		l := m.lanes[0]
		l.mu.Lock()
		ghost := l.open(partition{in, 7}) // which the client does not have
		ghost.committed = 3
		l.mu.Unlock()
		cfg := config()
		cfg.ID = "x"
		other := b.start(cfg, &pool{})
		b.until("joined", other.Ready)
		b.until("ended", func() bool { return ghost.lease.Err() != nil })
		require.ErrorIs(t, context.Cause(ghost.lease), ErrRevoked)
		b.until("all kept", func() bool { return len(l.all()[in])+len(other.lanes[0].all()[in]) == 2 })
		other.halt(t)
		m.halt(t)
		b.requireOnce(10)
	})
}
