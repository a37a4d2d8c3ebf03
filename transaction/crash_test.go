package transaction

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// crashWithin starts a worker and cuts it off in the middle of a transaction,
// with answers written and nothing committed.
func crashWithin(b *bench, cfg setting) *member {
	b.t.Helper()
	m := b.start(cfg, &pool{})
	open := make(chan struct{})
	var once bool
	b.cluster.ControlKey(int16(kmsg.TxnOffsetCommit), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if req.(*kmsg.TxnOffsetCommitRequest).Topics[0].Partitions[0].Offset == 0 {
			return nil, nil, false // it is said that work begins
		}
		if !once {
			once = true
			close(open)
		}
		return nil, errors.New("the worker is gone"), true
	})
	b.fill(0, 100)
	<-open
	m.wire.Cut()
	return m
}

func TestCrashWithinATransaction(t *testing.T) {
	for name, c := range map[string]struct {
		id     string
		within time.Duration // until results after the crash can be read
	}{
		"the id outlives it": {"w", time.Second},
		"another id":         {"x", 12 * time.Second}, // the transaction's time-out
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, 2, func(b *bench) {
				cfg := config()
				dead := crashWithin(b, cfg)
				require.Zero(t, dead.pool.counted.Load(), "nothing counts that is not committed")
				cfg.ID = c.id
				m := b.start(cfg, &pool{})
				// The group waits for the dead member's session; then offsets
				// are stable, or become so with the transaction's end.
				began := time.Now()
				b.until("committed", func() bool { return b.committed() == 100 })
				b.until("readable", b.stable)
				require.Less(t, time.Since(began), cfg.SessionTimeout+c.within)
				m.halt(t)
				dead.stop()
				require.NoError(t, <-dead.ended)
				b.requireOnce(100)
			})
		})
	}
}

func TestAnotherWorkerHasTheID(t *testing.T) {
	for name, own := range map[string]bool{"an id that was given": false, "an id that nobody else can have": true} {
		t.Run(name, func(t *testing.T) {
			virtual(t, 2, func(b *bench) {
				cfg := config()
				cfg.Own = own
				m := b.start(cfg, &pool{})
				b.fill(0, 10)
				b.until("committed", func() bool { return b.committed() == 10 })
				other, err := kgo.NewClient(append(b.opts(), kgo.TransactionalID("w-0"))...)
				require.NoError(t, err)
				defer other.Close()
				_, _, err = other.ProducerID(b.ctx)
				require.NoError(t, err)
				b.fill(10, 10)
				if own {
					b.until("committed", func() bool { return b.committed() == 20 })
					require.InDelta(t, 1, m.value(t, "millrace_transaction_reconnects_total"), 0)
					m.halt(t)
					b.requireOnce(20)
					return
				}
				err = <-m.ended
				require.ErrorIs(t, err, ErrFenced)
				require.ErrorContains(t, err, "MILLRACE_TRANSACTIONAL_ID")
				require.ErrorContains(t, err, "w-0")
				b.requireOnce(10)
			})
		})
	}
}

func TestBrokerAway(t *testing.T) {
	for name, away := range map[string]time.Duration{"for a moment": 3 * time.Second, "past every time-out": 5 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			virtual(t, 2, func(b *bench) {
				m := b.start(config(), &pool{})
				for i := range 20 {
					b.fill(i*50, 50)
					if i%5 == 2 {
						m.wire.Cut()
						time.Sleep(away)
						m.wire.Mend()
					}
					time.Sleep(5 * time.Millisecond)
				}
				b.until("committed", func() bool { return b.committed() == 1000 })
				m.halt(t)
				b.requireOnce(1000)
				require.LessOrEqual(t, m.pool.counted.Load(), int64(1000), "none is counted twice")
			})
		})
	}
}

// The broker takes a commit, and its word for that never comes.
func TestACommitThatIsNotConfirmed(t *testing.T) {
	virtual(t, 2, func(b *bench) {
		m := b.start(config(), &pool{})
		b.fill(0, 100)
		b.until("committed", func() bool { return b.committed() == 100 })
		h := b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Observe: true, Count: -1, When: func(req kmsg.Request) bool {
			if req.(*kmsg.EndTxnRequest).Commit {
				go m.wire.Cut()
			}
			return true
		}})
		for i := range 5 {
			b.fill(100+i*20, 20)
			time.Sleep(time.Second)
			m.wire.Mend()
			time.Sleep(time.Second)
		}
		h.Remove()
		require.Positive(t, h.Hits())
		synctest.Wait()
		m.wire.Mend() // a commit after the last mend has cut again
		b.until("committed", func() bool { return b.committed() == 200 })
		m.halt(t)
		b.requireOnce(200)
	})
}

func TestStopCommitsWhatIsInFlight(t *testing.T) {
	virtual(t, 2, func(b *bench) {
		p := &pool{hold: true}
		m := b.start(config(), p)
		b.fill(0, 10)
		b.until("in flight", func() bool { return p.waiting() == 10 })
		m.stop()
		time.Sleep(15 * time.Second)
		p.release()
		require.NoError(t, <-m.ended)
		require.Equal(t, int64(10), b.committed())
		b.requireOnce(10)
	})
}

func TestStopGivesBackPastItsLimit(t *testing.T) {
	virtual(t, 2, func(b *bench) {
		p := &pool{hold: true}
		m := b.start(config(), p)
		b.fill(0, 10)
		b.until("in flight", func() bool { return p.waiting() == 10 })
		began := time.Now()
		m.stop()
		require.NoError(t, <-m.ended)
		require.InDelta(t, 30, time.Since(began).Seconds(), 1, "the drain's limit, and that of what runs")
		p.release() // late: given back
		require.Zero(t, b.committed())
		b.requireOnce(0)
		require.Empty(t, b.cluster.GroupInfo("g").Members)
		next := b.start(config(), &pool{})
		b.until("committed", func() bool { return b.committed() == 10 })
		next.halt(t)
	})
}

// With the broker away there is nothing to wait for but the stop's limit.
func TestStopWithTheBrokerAway(t *testing.T) {
	virtual(t, 2, func(b *bench) {
		p := &pool{hold: true}
		m := b.start(config(), p)
		b.fill(0, 10)
		b.until("in flight", func() bool { return p.waiting() == 10 })
		m.wire.Cut()
		p.release()
		began := time.Now()
		m.stop()
		require.NoError(t, <-m.ended)
		require.Less(t, time.Since(began), time.Minute)
		require.Equal(t, int64(10), p.ends.Load())
	})
}

func TestWatchdog(t *testing.T) {
	virtual(t, 2, func(b *bench) {
		p := &pool{hold: true}
		m := b.start(config(), p)
		time.Sleep(10 * time.Minute) // silence is no stall
		b.fill(0, 10)
		b.until("in flight", func() bool { return p.waiting() == 10 })
		for range 9 { // slow but moving
			time.Sleep(80 * time.Second)
			p.answer(1)
		}
		require.True(t, m.Healthy())
		require.ErrorIs(t, <-m.ended, ErrStalled)
		require.False(t, m.Healthy())
		require.InDelta(t, 1, m.value(t, "millrace_watchdog_trips_total"), 0)
		p.release()
		require.Zero(t, b.committed())
	})
}

func TestStaticMemberLeavesForGood(t *testing.T) {
	for _, protocol := range []string{"classic", protocolConsumer} {
		t.Run(protocol, func(t *testing.T) {
			virtual(t, 1, func(b *bench) {
				cfg := config()
				cfg.InstanceID, cfg.Protocol = "worker-0", protocol
				m := b.start(cfg, &pool{})
				b.until("ready", m.Ready)
				m.halt(t)
				require.Empty(t, b.cluster.GroupInfo("g").Members)
			})
		})
	}
}
