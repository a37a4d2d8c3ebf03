package transaction

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/metrics"
)

func TestAnswersAndCommitsAll(t *testing.T) {
	for _, protocol := range []string{"classic", protocolConsumer} {
		t.Run(protocol, func(t *testing.T) {
			virtual(t, 4, func(b *bench) {
				b.fill(0, 2000) // before the pool exists
				cfg := config()
				cfg.Protocol = protocol
				m := b.start(cfg, &pool{delay: func() time.Duration { return time.Millisecond }})
				b.until("committed", func() bool { return b.committed() == 2000 })
				b.until("lag 0", func() bool { return m.value(t, "inference_queue_len") == 0 })
				b.until("ready", m.Ready)
				require.InDelta(t, 2000, m.value(t, "millrace_consumed_records_total"), 0)
				require.InDelta(t, 2000, m.value(t, "millrace_published_records_total", "result"), 0)
				require.Equal(t, int64(2000), m.pool.counted.Load())
				committed := m.value(t, "millrace_transactions_total", "committed")
				require.Positive(t, committed)
				require.InDelta(t, committed, m.value(t, "millrace_transaction_seconds"), 0)
				require.InDelta(t, committed, m.value(t, "millrace_transaction_records"), 0)
				require.Zero(t, m.value(t, "millrace_transactions_total", "aborted"))
				m.halt(t)
				b.requireOnce(2000)
				require.Equal(t, int64(2000), b.committed())
				require.False(t, m.Ready())
				require.Empty(t, b.cluster.GroupInfo("g").Members)
				n, err := m.reg.Gather()
				require.NoError(t, err)
				for _, f := range n {
					require.NotEqual(t, "millrace_partition_lag_records", f.GetName(), "series of a partition that is not held")
				}
			})
		})
	}
}

func TestRebalancesLoseAndDoubleNothing(t *testing.T) {
	for _, protocol := range []string{"classic", protocolConsumer} {
		t.Run(protocol, func(t *testing.T) {
			actual(t, 12, func(b *bench) {
				const n = 10000
				rng := rand.New(rand.NewPCG(3, 4))
				slow := func() *pool {
					seed := rng.Uint64()
					own := rand.New(rand.NewPCG(seed, 4))
					return &pool{delay: func() time.Duration { return time.Duration(own.IntN(20)) * time.Millisecond }}
				}
				filled := make(chan struct{})
				go func() {
					defer close(filled)
					for i := range n / 100 {
						b.fill(i*100, 100)
						time.Sleep(10 * time.Millisecond)
					}
				}()
				var members []*member
				joins, leaves := 0, 0
				unclean, late := 0.0, 0.0
				halt := func(m *member) {
					m.halt(t)
					unclean += m.value(t, "millrace_unclean_ends_total")
					late += m.value(t, "millrace_rebalances_total", metrics.RebalanceRevokedLate)
				}
				for joins < 8 || leaves < 6 {
					if joins < 8 {
						cfg := quick()
						cfg.ID, cfg.Protocol = "w"+string(rune('a'+joins)), protocol
						members = append(members, b.start(cfg, slow()))
						joins++
					}
					time.Sleep(150 * time.Millisecond)
					if len(members) > 2 && leaves < 6 {
						halt(members[0])
						members, leaves = members[1:], leaves+1
					}
				}
				<-filled
				b.until("all committed", func() bool { time.Sleep(100 * time.Millisecond); return b.committed() == n })
				for _, m := range members {
					halt(m)
				}
				require.LessOrEqual(t, unclean, 12*late, "all have said how they ended, but for what was revoked within a transaction")
				b.requireOnce(n)
			})
		})
	}
}
