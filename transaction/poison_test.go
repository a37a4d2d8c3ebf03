package transaction

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/internal/wire"
)

// A record that kills is found, run MAX_ATTEMPTS times, and passed over; all
// others are answered once, and none of them is blamed.
func TestPoisonIsFoundAndPassedOver(t *testing.T) {
	for _, tt := range []struct {
		name       string
		partitions int32
		poison     []int
		attempts   int
		protocol   string
	}{
		{"at the head", 1, []int{0}, 5, "classic"},
		{"at the end", 1, []int{399}, 5, "classic"},
		{"in one of four partitions", 4, []int{201}, 5, "classic"},
		{"two in a row", 1, []int{150, 151}, 5, "classic"},
		{"in two partitions at once", 4, []int{100, 101}, 5, "classic"},
		{"three attempts", 2, []int{77}, 3, "classic"},
		{"in a group that the broker keeps", 2, []int{77}, 5, protocolConsumer},
	} {
		t.Run(tt.name, func(t *testing.T) {
			virtual(t, tt.partitions, func(b *bench) {
				cfg := config()
				cfg.MaxAttempts, cfg.Protocol = tt.attempts, tt.protocol
				poison := map[int]bool{}
				for _, i := range tt.poison {
					poison[i] = true
				}
				b.send(tt.partitions, 400, func(i int) bool { return poison[i] })
				f := newFleet(b, cfg)
				last := f.serve(400, len(poison)*tt.attempts+1)
				require.Len(t, f.verdicts, len(poison), "nobody else is blamed")
				for i := range poison {
					v := fmt.Sprint("poison ", i)
					require.Equal(t, wire.ModelFailed, f.verdicts[v].Code)
					require.Equal(t, tt.attempts, f.verdicts[v].Attempts)
					require.LessOrEqual(t, f.runs[v], tt.attempts+len(poison)-1, "in company it may be run when another kills")
					require.Equal(t, 1, f.together[v], "at last it was alone")
				}
				require.Positive(t, last.value(t, "millrace_poison_records_total"))
				f.bury()
				b.until("readable", b.stable)
				b.requireOnce(400)
				letters := b.read(dead)
				require.Len(t, letters, len(poison))
				for _, r := range letters {
					n, _ := wire.Header(r, wire.DeadDeliveries)
					require.Equal(t, strconv.Itoa(tt.attempts), string(n))
				}
				for id := range tt.partitions {
					require.False(t, b.checkpoint(id).Open)
				}
			})
		})
	}
}

// A suspect of one lane runs with nothing of the others in the pool.
func TestLanesLeaveASuspectAlone(t *testing.T) {
	actual(t, 4, func(b *bench) {
		cfg := quick()
		cfg.MaxAttempts, cfg.SessionTimeout, cfg.RebalanceTimeout = 3, time.Second, 3*time.Second
		cfg.DrainTimeout, cfg.RevokeDrain = 100*time.Millisecond, 100*time.Millisecond
		b.send(4, 400, func(i int) bool { return i == 101 })
		f := newFleet(b, cfg)
		f.calm = true
		last := f.serve(400, 4)
		require.Equal(t, 3, f.verdicts["poison 101"].Attempts)
		require.Len(t, f.verdicts, 1)
		require.Equal(t, 1, f.together["poison 101"])
		require.Positive(t, last.value(t, "millrace_isolated_records_total"))
		f.bury()
		b.until("readable", b.stable)
		b.requireOnce(400)
	})
}

// A record that never returns ends its workers by the watchdog.
func TestHangIsFoundAndPassedOver(t *testing.T) {
	virtual(t, 2, func(b *bench) {
		b.send(2, 200, func(i int) bool { return i == 60 })
		f := newFleet(b, config())
		f.hangs = true
		f.serve(200, 6)
		require.Equal(t, 5, f.verdicts["poison 60"].Attempts)
		require.Len(t, f.verdicts, 1)
		f.bury()
		b.requireOnce(200)
	})
}

// Workers that are killed for no fault of a record condemn none, however often
// and at whatever moment.
func TestKilledWorkersBlameNobody(t *testing.T) {
	for seed, life := range map[uint64]int{0: 60, 1: 60, 2: 60, 3: 300, 4: 2000, 5: 6000} {
		t.Run(strconv.Itoa(int(seed)), func(t *testing.T) {
			virtual(t, 3, func(b *bench) {
				rng := rand.New(rand.NewPCG(seed, 1))
				b.send(3, 3000, func(int) bool { return false })
				f := newFleet(b, config())
				for range 12 {
					p := f.spawn()
					b.until("joined", p.Ready)
					time.Sleep(time.Duration(rng.IntN(life)) * time.Millisecond)
					p.kill()
				}
				f.serve(3000, 1)
				require.Empty(t, f.verdicts)
				f.bury()
				b.until("readable", b.stable)
				b.requireOnce(3000)
			})
		})
	}
}
