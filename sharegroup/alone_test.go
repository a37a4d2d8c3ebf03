package sharegroup

import (
	"slices"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A record that ends its workers is found: those beside it are answered, and it
// is given up.
func TestARecordThatEndsWorkers(t *testing.T) {
	virtual(t, 2, func(b *bench) {
		b.fill(0, 60)
		answered, crashes := map[string]int{}, 0
		cfg := config()
		// With several, a fetch that waits at the crash is a delivery too.
		cfg.Lanes = 1
		for b.lag() > 0 {
			require.Less(t, crashes, 10)
			answers, dead := b.crash(cfg, "17")
			for _, a := range answers {
				answered[a.value+" "+a.status]++
			}
			if dead {
				crashes++
			}
		}
		require.Equal(t, 4, crashes)
		require.Equal(t, 1, answered["17 MODEL_FAILED"])
		require.Len(t, answered, 60, "all others are predicted")
	})
}

// crash runs a worker that ends at a record, and returns what it has answered
// and whether it came to that.
func (b *bench) crash(cfg Config, at string) ([]published, bool) {
	b.t.Helper()
	var dead atomic.Bool
	p := &pool{}
	begun := make(chan *worker, 1)
	p.answer = func(r *kgo.Record) string {
		if string(r.Value) == at {
			dead.Store(true)
			w := <-begun
			begun <- w
			w.wire.Cut()
		}
		if dead.Load() {
			return ""
		}
		return "ok"
	}
	w := b.start(cfg, p)
	begun <- w
	b.until("crash or end", func() bool { return dead.Load() || b.lag() == 0 })
	w.stop()
	require.NoError(b.t, <-w.ended)
	return p.published.all(), dead.Load()
}

// The last deliveries run alone, in opposite orders.
func TestOrderOfTheLastDeliveries(t *testing.T) {
	virtual(t, 1, func(b *bench) {
		b.fill(0, 3)
		w := b.start(config(), &pool{answer: func(*kgo.Record) string { return "UNAVAILABLE" }})
		b.until("answered", func() bool { return b.lag() == 0 })
		w.halt(t)
		orders := map[int32][]int64{}
		for _, r := range w.pool.ran() {
			orders[r.count] = append(orders[r.count], r.offset)
			require.Equal(t, r.count >= 3, r.beside == 0)
		}
		require.Equal(t, []int64{0, 1, 2}, orders[3])
		require.Equal(t, []int64{2, 1, 0}, orders[4])
		require.InDelta(t, 6, w.value("millrace_queue_isolated_records_total"), 0)
		require.True(t, slices.IsSorted(orders[1]))
	})
}
