package consumer

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/checkpoint"
	"github.com/millrace/millrace/internal/wire"
)

// A record that kills is found, run MAX_ATTEMPTS times, and passed over; all
// others are answered, and none of them is blamed.
func TestPoisonIsFoundAndPassedOver(t *testing.T) {
	for _, tt := range []struct {
		name       string
		partitions int32
		poison     []int
		attempts   int
	}{
		{"at the head", 1, []int{0}, 5},
		{"at the end", 1, []int{399}, 5},
		{"in one of four partitions", 4, []int{201}, 5},
		{"two in a row", 1, []int{150, 151}, 5},
		{"in two partitions at once", 4, []int{100, 101}, 5},
		{"three attempts", 2, []int{77}, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			virtual(t, tt.partitions, func(b *bench) {
				cfg := config()
				cfg.MaxAttempts = tt.attempts
				poison := map[string]bool{}
				for _, i := range tt.poison {
					poison[fmt.Sprint("poison ", i)] = true
				}
				b.send(tt.partitions, 400, func(i int) bool { return poison[fmt.Sprint("poison ", i)] })
				f := newFleet(b, cfg)
				f.serve(len(poison)*tt.attempts + 1)
				require.Len(t, f.verdicts, len(poison), "nobody else is blamed")
				for v := range poison {
					require.Equal(t, wire.ModelFailed, f.verdicts[v].Code)
					require.Equal(t, tt.attempts, f.verdicts[v].Attempts)
					require.LessOrEqual(t, f.runs[v], tt.attempts+len(poison)-1, "in company it may be run when another kills")
					require.Equal(t, 1, f.together[v], "at last it was alone")
				}
				got := b.answers()
				require.Len(t, got, 400)
				last := f.members[len(f.members)-1]
				n, _ := last.value(t, "millrace_poison_records_total")
				require.Positive(t, n)
				f.bury()
				for partition := range tt.partitions {
					cp, _ := b.checkpoint(partition)
					require.False(t, cp.Open)
				}
			})
		})
	}
}

// A record that never returns ends its workers by the watchdog.
func TestHangIsFoundAndPassedOver(t *testing.T) {
	virtual(t, 2, func(b *bench) {
		b.send(2, 200, func(i int) bool { return i == 60 })
		f := newFleet(b, config())
		f.hangs = true
		f.serve(6)
		require.Equal(t, 5, f.verdicts["poison 60"].Attempts)
		require.Len(t, f.verdicts, 1)
		require.Len(t, b.answers(), 200)
		f.bury()
	})
}

// Workers that are killed for no fault of a record condemn none, however often
// and at whatever moment.
func TestKilledWorkersBlameNobody(t *testing.T) {
	for seed, life := range map[uint64]int{0: 60, 1: 60, 2: 60, 3: 300, 4: 2000, 5: 6000} {
		t.Run(strconv.Itoa(life), func(t *testing.T) {
			virtual(t, 3, func(b *bench) {
				rng := rand.New(rand.NewPCG(seed, 1))
				b.send(3, 3000, func(int) bool { return false })
				f := newFleet(b, config())
				for range 12 {
					p, m := f.spawn()
					b.until("joined", m.Ready)
					time.Sleep(time.Duration(rng.IntN(life)) * time.Millisecond)
					p.kill(m)
				}
				f.serve(1)
				require.Empty(t, f.verdicts)
				require.Len(t, b.answers(), 3000)
				f.bury()
			})
		})
	}
}

// A stop and a rebalance are clean ends, even with records in flight.
func TestCleanEndsAreNoAttempts(t *testing.T) {
	virtual(t, 1, func(b *bench) {
		b.fill(0, 10)
		cfg := config()
		cfg.DrainTimeout, cfg.RevokeDrain = time.Second, time.Second
		for range 8 {
			p := &holding{back: true}
			m := b.start(cfg, p)
			b.until("in flight", func() bool { return p.held() == 10 })
			cp, _ := b.checkpoint(0)
			require.True(t, cp.Open)
			m.halt(t)
			cp, _ = b.checkpoint(0)
			require.False(t, cp.Open)
			require.True(t, m.is(t, 0, "millrace_unclean_ends_total"))
		}
		p := &holding{}
		m := b.start(cfg, p)
		b.until("in flight", func() bool { return p.held() == 10 })
		m.revoked(b.ctx, m.cl, map[string][]int32{in: {0}})
		cp, _ := b.checkpoint(0)
		require.False(t, cp.Open)
		require.Zero(t, cp.Crowd)
		p.answer(10, nil)
		m.halt(t)
	})
}

// Who loses a partition and has it back, with nobody at it meanwhile, has not
// ended: not even with a record alone, nor when it is lost again before that is
// run again.
func TestALostSessionOfOnesOwnIsNoAttempt(t *testing.T) {
	virtual(t, 1, func(b *bench) {
		b.fill(0, 6)
		b.commit(0, checkpoint.Checkpoint{Offset: 2, Epoch: -1, Marks: checkpoint.Marks{Open: true, Crowd: 1, Suspect: unknown, Until: 4}})
		p := &holding{}
		m := b.start(config(), p)
		for i := range 8 {
			b.until("alone", func() bool { return p.held() == 1 })
			b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Count: 1, Err: kerr.UnknownMemberID})
			b.until("lost", func() bool { return m.is(t, float64(i+1), "millrace_rebalances_total", "lost") })
			b.until("back, and said to be at rest", func() bool { cp, _ := b.checkpoint(0); return m.Ready() && !cp.Open })
			if i%2 == 1 {
				p.answer(1, nil) // late
			}
		}
		for b.committed()[0] < 6 {
			p.answerIf(func(*kgo.Record) bool { return true })
			time.Sleep(time.Second)
		}
		require.True(t, m.is(t, 1, "millrace_unclean_ends_total"), "that before")
		require.True(t, m.is(t, 0, "millrace_poison_records_total"))
		m.halt(t)
	})
}

// Whose search ended before it had anything to do says that it is at work when
// something comes.
func TestWhoWasAcquittedIdleSaysThatItBegins(t *testing.T) {
	virtual(t, 1, func(b *bench) {
		b.fill(0, 5)
		b.commit(0, checkpoint.Checkpoint{Offset: 5, Epoch: -1, Marks: checkpoint.Marks{Open: true, Crowd: 1, Suspect: unknown, Until: 7}})
		p := &holding{}
		m := b.start(config(), p)
		b.until("acquitted", func() bool { _, text := b.checkpoint(0); return text == "" })
		b.fill(5, 3)
		b.until("in flight", func() bool { return p.held() == 3 })
		cp, _ := b.checkpoint(0)
		require.True(t, cp.Open)
		p.answer(3, nil)
		m.halt(t)
	})
}

// While one partition's records are under suspicion, nothing else runs; it all
// goes on in its order afterwards.
func TestQuarantine(t *testing.T) {
	virtual(t, 2, func(b *bench) {
		b.send(2, 40, func(int) bool { return false })
		b.commit(0, checkpoint.Checkpoint{Offset: 2, Epoch: -1, Marks: checkpoint.Marks{Open: true, Crowd: 1, Suspect: unknown, Until: 4}})
		p := &holding{}
		m := b.start(config(), p)
		b.until("the other's records are in flight, or the first suspect", func() bool { return p.held() > 0 })
		for p.held() > 1 { // what was handed over before the suspects came
			p.answer(1, nil)
		}
		for _, offset := range []int64{2, 3, 4} {
			b.until("alone", func() bool {
				p.mu.Lock()
				defer p.mu.Unlock()
				return len(p.recs) == 1 && p.recs[0].Offset == offset && p.recs[0].Partition == 0
			})
			time.Sleep(20 * time.Second)
			require.Equal(t, 1, p.held())
			got, _ := b.checkpoint(0)
			require.Equal(t, checkpoint.Marks{Open: true, Alone: true, Crowd: 2, Suspect: offset, Until: 4}, got.Marks)
			if offset == 4 { // the mark comes off before anything else runs
				fault := b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.GroupAuthorizationFailed, Count: -1})
				p.answer(1, nil)
				time.Sleep(20 * time.Second)
				require.Zero(t, p.held())
				fault.Remove()
				break
			}
			p.answer(1, nil)
		}
		b.until("the rest", func() bool { return p.held() >= 15 })
		require.True(t, m.is(t, 3, "millrace_isolated_records_total"))
		got, _ := b.checkpoint(0)
		require.False(t, got.Alone)
		last := map[int32]int64{}
		p.mu.Lock()
		for _, r := range p.recs {
			require.Greater(t, r.Offset, last[r.Partition]-1)
			last[r.Partition] = r.Offset + 1
		}
		p.mu.Unlock()
		for !b.all() {
			p.answerIf(func(*kgo.Record) bool { return true })
			time.Sleep(time.Second)
		}
		m.halt(t)
	})
}

func TestBlockedPartitionIsTold(t *testing.T) {
	virtual(t, 1, func(b *bench) {
		b.fill(0, 10)
		p := &holding{}
		m := b.start(config(), p)
		b.until("in flight", func() bool { return p.held() == 10 })
		p.answerIf(func(r *kgo.Record) bool { return r.Offset != 0 })
		time.Sleep(20 * time.Second)
		require.True(t, m.is(t, 0, "millrace_blocked_partitions"))
		time.Sleep(20 * time.Second)
		require.True(t, m.is(t, 1, "millrace_blocked_partitions"))
		require.True(t, m.is(t, 1, "millrace_partition_blocks_total"))
		time.Sleep(20 * time.Second)
		require.True(t, m.is(t, 1, "millrace_partition_blocks_total"), "told once")
		p.answer(1, nil)
		b.until("moves", func() bool { return m.is(t, 0, "millrace_blocked_partitions") })
		m.halt(t)
	})
}
