package consumer

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestAnswersAndCommitsAll(t *testing.T) {
	for _, protocol := range []string{protocolClassic, protocolConsumer} {
		t.Run(protocol, func(t *testing.T) {
			virtual(t, 4, func(b *bench) {
				b.fill(0, 2000) // before the pool exists
				cfg := config()
				cfg.Protocol = protocol
				m := b.start(cfg, &answering{client: b.client})
				b.until("lag 0", func() bool { return m.is(t, 0, "inference_queue_len") && len(b.answers()) == 2000 })
				require.True(t, m.Ready())
				require.True(t, m.is(t, 2000, "millrace_consumed_records_total"))
				require.True(t, m.is(t, 1, "millrace_rebalances_total", "assigned"))
				m.halt(t)
				var sum int64
				for _, at := range b.committed() {
					sum += at
				}
				require.Equal(t, int64(2000), sum)
				require.False(t, m.Ready())
				_, ok := m.value(t, "millrace_partition_lag_records", "0", in)
				require.False(t, ok, "series of a partition that is not held")
				require.True(t, m.Drained())
			})
		})
	}
}

func TestRebalancesLoseAndDoubleNothing(t *testing.T) {
	actual(t, 12, func(b *bench) {
		const n = 10000
		pool := func() Pool {
			rng := rand.New(rand.NewPCG(3, 4))
			return &answering{client: b.client, delay: func() time.Duration { return time.Duration(rng.IntN(20)) * time.Millisecond }}
		}
		go func() {
			for i := range n / 100 {
				b.fill(i*100, 100)
				time.Sleep(10 * time.Millisecond)
			}
		}()
		var members []*member
		joins, leaves := 0, 0
		for joins < 10 || leaves < 8 {
			if joins < 10 {
				members = append(members, b.start(quick(), pool()))
				joins++
			}
			time.Sleep(150 * time.Millisecond)
			if len(members) > 2 && leaves < 8 {
				members[0].halt(t)
				members, leaves = members[1:], leaves+1
			}
		}
		b.until("all answered", func() bool { time.Sleep(100 * time.Millisecond); return len(b.answers()) == n })
		for v, k := range b.answers() {
			require.Equal(t, 1, k, "answers to %s", v)
		}
		for _, m := range members {
			m.halt(t)
		}
	})
}

func TestCrashConsumesAgainFromTheWatermark(t *testing.T) {
	virtual(t, 1, func(b *bench) {
		b.fill(0, 100)
		p := &holding{}
		m := b.start(config(), p)
		b.until("all in flight", func() bool { return p.held() == 100 })
		p.answer(40, nil)
		b.until("committed", func() bool { return b.committed()[0] == 40 })
		m.wire.Cut()
		next := &answering{client: b.client}
		m2 := b.start(config(), next)
		b.until("the rest answered", func() bool { return len(b.answers()) == 60 })
		require.Equal(t, int64(60), next.sent.Load())
		p.answer(60, nil) // the dead one's work ends late
		m.stop()
		require.NoError(t, <-m.ended)
		m2.halt(t)
		require.Equal(t, int64(100), b.committed()[0])
	})
}

func TestRevokeDrainsThenCommits(t *testing.T) {
	actual(t, 2, func(b *bench) {
		b.fill(0, 10)
		p := &holding{}
		m := b.start(quick(), p)
		b.until("in flight", func() bool { return p.held() == 10 })
		m2 := b.start(quick(), &answering{client: b.client})
		time.Sleep(300 * time.Millisecond)
		require.Empty(t, b.answers(), "the revoke waits for running records")
		p.answer(10, nil)
		b.until("balanced", func() bool { return m.is(t, 1, "millrace_rebalances_total", "revoked") })
		time.Sleep(300 * time.Millisecond)
		require.Empty(t, b.answers(), "all were answered before the move")
		require.Equal(t, map[int32]int64{0: 5, 1: 5}, b.committed())
		m.halt(t)
		m2.halt(t)
	})
}

func TestLateAnswerAfterRevokeCommitsNothing(t *testing.T) {
	virtual(t, 1, func(b *bench) {
		b.fill(0, 10)
		p := &holding{}
		m := b.start(config(), p)
		b.until("in flight", func() bool { return p.held() == 10 })
		l := m.held()[0]
		m.revoked(b.ctx, m.cl, map[string][]int32{in: {0}}) // past its bound
		require.ErrorIs(t, context.Cause(p.ctx), ErrRevoked)
		p.answer(10, nil)
		require.Equal(t, int64(10), l.tracker.watermark)
		time.Sleep(5 * time.Second)
		require.Less(t, b.committed()[0], int64(1))
		require.True(t, m.is(t, 0, "millrace_in_flight_records"))
		m.halt(t)
		require.Less(t, b.committed()[0], int64(1))
	})
}

func TestFailedCommitIsTriedAgain(t *testing.T) {
	for _, e := range []*kerr.Error{kerr.RebalanceInProgress, kerr.InvalidCommitOffsetSize, kerr.GroupAuthorizationFailed, kerr.IllegalGeneration} {
		t.Run(e.Message, func(t *testing.T) {
			virtual(t, 1, func(b *bench) {
				f := b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: e, Count: 3})
				b.fill(0, 10)
				m := b.start(config(), &answering{client: b.client})
				b.until("committed", func() bool { return b.committed()[0] == 10 })
				require.GreaterOrEqual(t, f.Hits(), 3)
				errs, _ := m.value(t, "millrace_commits_total", "error")
				require.Positive(t, errs)
				b.until("counted", func() bool { // the broker commits before the member hears of it
					oks, _ := m.value(t, "millrace_commits_total", "ok")
					return oks > 0
				})
				require.Len(t, b.answers(), 10)
				m.halt(t)
			})
		})
	}
}

func TestControlRecordsCountAsNoLag(t *testing.T) {
	virtual(t, 1, func(b *bench) {
		tx, err := kgo.NewClient(append(b.opts(), kgo.TransactionalID("tx"), kgo.DefaultProduceTopic(in))...)
		require.NoError(t, err)
		defer tx.Close()
		p := &answering{client: b.client}
		m := b.start(config(), p)
		for _, end := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort} {
			require.NoError(t, tx.BeginTransaction())
			require.NoError(t, tx.ProduceSync(b.ctx, kgo.StringRecord("a")).FirstErr())
			require.NoError(t, tx.EndTransaction(b.ctx, end))
		}
		b.until("lag 0", func() bool { return b.committed()[0] == 4 })
		time.Sleep(10 * time.Second)
		require.True(t, m.is(t, 0, "inference_queue_len"))
		require.Equal(t, int64(1), p.sent.Load(), "neither control records nor what was aborted")
		m.halt(t)
	})
}

func TestBudgetBoundsWhatIsInFlight(t *testing.T) {
	virtual(t, 1, func(b *bench) {
		cfg := config()
		cfg.MaxRecords, cfg.MaxBytes = 8, 100
		p := &holding{}
		m := b.start(cfg, p)
		b.fill(0, 100)
		b.until("full", func() bool { return p.held() == 8 })
		time.Sleep(30 * time.Second) // well past the session
		require.Equal(t, 8, p.held())
		require.True(t, m.is(t, 8, "millrace_in_flight_records"))
		bytes, _ := m.value(t, "millrace_in_flight_bytes")
		require.Positive(t, bytes)
		require.True(t, m.is(t, 100, "inference_queue_len"), "lag goes on while intake is held back")
		age, _ := m.value(t, "millrace_oldest_record_age_seconds")
		require.InDelta(t, 30, age, 2)
		secs, _ := m.value(t, "millrace_partition_lag_seconds", "0", in)
		require.InDelta(t, 30, secs, 2)
		big := make([]byte, 5000)
		require.NoError(t, b.client.ProduceSync(b.ctx, &kgo.Record{Topic: in, Value: big}).FirstErr())
		for n := 0; n < 100; n += 4 {
			b.until("four", func() bool { return p.held() >= 4 })
			p.answer(4, nil)
		}
		b.until("the big one alone", func() bool { return p.held() == 1 })
		p.answer(1, nil)
		b.until("committed", func() bool { return b.committed()[0] == 101 })
		m.halt(t)
	})
}

func TestWatchdog(t *testing.T) {
	virtual(t, 1, func(b *bench) {
		p := &holding{}
		m := b.start(config(), p)
		time.Sleep(10 * time.Minute) // silence is no stall
		b.fill(0, 10)
		b.until("in flight", func() bool { return p.held() == 10 })
		for range 9 { // slow but moving
			time.Sleep(100 * time.Second)
			p.answer(1, nil)
		}
		require.True(t, m.Healthy())
		require.ErrorIs(t, <-m.ended, ErrStalled)
		require.False(t, m.Healthy())
		require.True(t, m.is(t, 1, "millrace_watchdog_trips_total"))
		p.answer(1, nil)
		require.Equal(t, int64(9), b.committed()[0])
	})
}

func TestStopDrains(t *testing.T) {
	virtual(t, 1, func(b *bench) {
		b.fill(0, 10)
		p := &holding{}
		m := b.start(config(), p)
		b.until("in flight", func() bool { return p.held() == 10 })
		m.stop()
		time.Sleep(15 * time.Second)
		p.answer(10, nil)
		require.NoError(t, <-m.ended)
		require.Equal(t, int64(10), b.committed()[0])
	})
}

func TestStopGivesBackWhatIsQueued(t *testing.T) {
	virtual(t, 1, func(b *bench) {
		b.fill(0, 10)
		p := &holding{back: true}
		m := b.start(config(), p)
		b.until("in flight", func() bool { return p.held() == 10 })
		began := time.Now()
		m.stop()
		require.NoError(t, <-m.ended)
		require.Less(t, time.Since(began), time.Second, "it has not begun: another member has it sooner")
		require.ErrorIs(t, context.Cause(p.ctx), ErrStopped)
		require.True(t, m.Drained())
	})
}

func TestStopEndsPastItsLimit(t *testing.T) {
	virtual(t, 1, func(b *bench) {
		b.fill(0, 10)
		p := &holding{}
		m := b.start(config(), p)
		b.until("in flight", func() bool { return p.held() == 10 })
		began := time.Now()
		m.stop()
		require.NoError(t, <-m.ended)
		require.InDelta(t, 20, time.Since(began).Seconds(), 2)
		require.False(t, m.Drained())
		p.answer(10, nil) // too late to be committed
		require.Less(t, b.committed()[0], int64(1))
	})
}

func TestStaticMemberLeavesForGood(t *testing.T) {
	for _, protocol := range []string{protocolClassic, protocolConsumer} {
		t.Run(protocol, func(t *testing.T) {
			virtual(t, 1, func(b *bench) {
				cfg := config()
				cfg.InstanceID, cfg.Protocol = "worker-0", protocol
				m := b.start(cfg, &answering{client: b.client})
				b.until("ready", m.Ready)
				m.halt(t)
				g := b.cluster.GroupInfo("g")
				require.Empty(t, g.Members)
			})
		})
	}
}

func TestMissingTopicIsWaitedFor(t *testing.T) {
	virtual(t, 1, func(b *bench) {
		require.NoError(t, b.cluster.DeleteTopic(in))
		m := b.start(config(), &answering{client: b.client})
		time.Sleep(time.Minute)
		require.False(t, m.Ready())
		require.NoError(t, b.cluster.CreateTopic(in, 2, nil))
		b.fill(0, 10)
		b.until("answered", func() bool { return len(b.answers()) == 10 })
		m.halt(t)
	})
}

func TestFetchErrorsAreCountedAndSurvived(t *testing.T) {
	virtual(t, 1, func(b *bench) {
		f := b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.TopicAuthorizationFailed, Count: 5})
		m := b.start(config(), &answering{client: b.client})
		b.fill(0, 10)
		b.until("answered", func() bool { return len(b.answers()) == 10 })
		require.GreaterOrEqual(t, f.Hits(), 5)
		n, _ := m.value(t, "millrace_fetch_errors_total")
		require.Positive(t, n)
		m.halt(t)
	})
}
