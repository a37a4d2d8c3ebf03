package sharegroup

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestAnswersAll(t *testing.T) {
	virtual(t, 4, func(b *bench) {
		b.fill(0, 1000) // before the group exists
		w := b.start(config(), &pool{delay: 5 * time.Millisecond})
		b.until("answered", func() bool { return len(w.pool.published.all()) == 1000 })
		b.until("acknowledged", func() bool { return b.lag() == 0 })
		b.until("ready", w.Ready) // the broker knows before the member hears of it
		b.until("counted", func() bool { return w.acks("accept", "ok") == 1000 })
		require.InDelta(t, 1000, testutil.ToFloat64(w.Metrics.Consumed), 0)
		w.halt(t)
		require.False(t, w.Ready())
		require.True(t, w.Drained())
		require.Zero(t, testutil.ToFloat64(w.Metrics.InFlightRecords))
		require.Zero(t, testutil.ToFloat64(w.Metrics.InFlightBytes))
	})
}

// Each outcome as the broker is told of it.
func TestOutcomes(t *testing.T) {
	for name, c := range map[string]struct {
		status   string
		ack      string
		attempts []int32
		final    bool
	}{
		"prediction":       {"ok", "accept", []int32{1}, false},
		"bad input":        {"INVALID_INPUT", "reject", []int32{1}, false},
		"expired":          {"DEADLINE_EXCEEDED", "accept", []int32{1}, false},
		"model fails":      {"MODEL_FAILED", "reject", []int32{1}, false},
		"may pass":         {"UNAVAILABLE", "reject", []int32{1, 2, 3, 4}, false},
		"may pass as well": {"OVERLOADED", "reject", []int32{1, 2, 3, 4}, false},
		"no model":         {"UNAVAILABLE", "reject", []int32{1}, true},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, 1, func(b *bench) {
				b.fill(0, 1)
				w := b.start(config(), &pool{answer: func(*kgo.Record) string { return c.status }, final: c.final})
				b.until("acknowledged", func() bool { return b.lag() == 0 })
				w.halt(t)
				require.InDelta(t, 1, w.acks(c.ack, "ok"), 0)
				require.InDelta(t, len(c.attempts)-1, w.acks("release", "ok"), 0)
				require.InDelta(t, len(c.attempts)-1, w.value("millrace_queue_redelivered_records_total"), 0)
				require.Equal(t, []published{{"0", c.status, len(c.attempts)}}, w.pool.published.all())
				var counts []int32
				for _, r := range w.pool.ran() {
					counts = append(counts, r.count)
				}
				require.Equal(t, c.attempts, counts)
			})
		})
	}
}

// What cannot be published goes back, with longer and longer pauses, until it
// is given up.
func TestReleaseThenGiveUp(t *testing.T) {
	virtual(t, 1, func(b *bench) {
		b.fill(0, 2)
		p := &pool{}
		p.published.err = errors.New("refused")
		w := b.start(config(), p)
		begun := time.Now()
		b.until("the last try", func() bool { return w.value("millrace_queue_exhausted_records_total") == 2 })
		require.Greater(t, time.Since(begun), 100*time.Millisecond+400*time.Millisecond+1600*time.Millisecond+5*time.Second)
		w.halt(t)
		require.GreaterOrEqual(t, w.acks("release", "ok"), 8.0)
		require.Contains(t, w.log.String(), "giving a request up")
	})
}

// A lock is held for as long as the work takes.
func TestRenews(t *testing.T) {
	virtual(t, 1, func(b *bench) {
		b.fill(0, 10)
		p := &pool{answer: func(r *kgo.Record) string {
			if string(r.Value) == "3" {
				return ""
			}
			return "ok"
		}}
		w := b.start(config(), p)
		b.until("held", func() bool { return p.holding() == 1 })
		other := b.start(config(), &pool{})
		time.Sleep(100 * time.Second)
		require.Empty(t, other.pool.ran(), "nothing is delivered twice")
		require.Equal(t, int64(1), b.lag(), "what is finished is acknowledged meanwhile")
		require.InDelta(t, 9, w.acks("accept", "ok"), 0)
		require.GreaterOrEqual(t, w.acks("renew", "ok"), 6.0)
		p.release(func(*kgo.Record) error { return nil })
		b.until("acknowledged", func() bool { return b.lag() == 0 })
		w.halt(t)
		other.halt(t)
		require.Len(t, p.published.all(), 10)
		require.Zero(t, w.acks("accept", "error"))
	})
}

func TestCrashDeliversAgain(t *testing.T) {
	virtual(t, 2, func(b *bench) {
		b.fill(0, 20)
		p := &pool{answer: func(*kgo.Record) string { return "" }}
		w := b.start(config(), p)
		b.until("held", func() bool { return p.holding() == 20 })
		w.wire.Cut()
		next := b.start(config(), &pool{})
		b.until("answered", func() bool { return b.lag() == 0 })
		for _, a := range next.pool.published.all() {
			require.GreaterOrEqual(t, a.count, 2, a.value) // more when the dead one had a fetch under way
		}
		require.Len(t, next.pool.published.all(), 20)
		require.InDelta(t, 20, next.value("millrace_queue_redelivered_records_total"), 0)
		next.halt(t)
		// The dead one's work ends late, and its acknowledgement is not taken.
		p.release(func(*kgo.Record) error { return nil })
		w.stop()
		require.NoError(t, <-w.ended)
		require.InDelta(t, 20, w.acks("accept", "error"), 0)
		require.Contains(t, w.log.String(), "acknowledgements are not taken")
	})
}

// A lock that ran out gives the record to another member; the late
// acknowledgement is refused, seen and counted.
func TestLateAcknowledgementIsSeen(t *testing.T) {
	virtual(t, 1, func(b *bench) {
		b.fill(0, 1)
		cfg := config()
		cfg.Lanes = 1
		hold := func(*kgo.Record) string { return "" }
		w := b.start(cfg, &pool{answer: hold})
		b.until("held", func() bool { return w.pool.holding() == 1 })
		take := b.refuse(kerr.InvalidRecordState) // it renews in vain
		time.Sleep(25 * time.Second)
		other := b.start(cfg, &pool{answer: hold})
		b.until("delivered to the other", func() bool { return other.pool.holding() == 1 })
		take()
		require.Positive(t, w.acks("renew", "error"))
		answer := func(*kgo.Record) error { return nil }
		w.pool.release(answer)
		b.until("seen", func() bool { return w.acks("accept", "error") == 1 })
		require.Contains(t, w.log.String(), "acknowledgements are not taken")
		require.Equal(t, int64(1), b.lag(), "it is the other's")
		other.pool.release(answer)
		b.until("answered by the other", func() bool { return b.lag() == 0 })
		w.halt(t)
		other.halt(t)
	})
}

// More lanes than partitions, on two workers: each lane gets its part.
func TestMoreLanesThanPartitions(t *testing.T) {
	virtual(t, 1, func(b *bench) {
		cfg := config()
		cfg.Records = 10
		var workers []*worker
		for range 2 {
			workers = append(workers, b.start(cfg, &pool{delay: time.Second}))
		}
		b.until("joined", func() bool { return workers[0].joined() == 2 && workers[1].joined() == 2 })
		begun := time.Now()
		b.fill(0, 400)
		b.until("answered", func() bool { return b.lag() == 0 })
		require.Less(t, time.Since(begun), 12*time.Second, "four lanes of ten a second")
		sum := 0
		for _, w := range workers {
			n := len(w.pool.published.all())
			require.Greater(t, n, 150)
			sum += n
			w.halt(t)
		}
		require.Equal(t, 400, sum)
	})
}

// A stop answers what is in the pool, and releases what has no answer.
func TestStop(t *testing.T) {
	for name, c := range map[string]struct {
		answered bool
		left     int64
		within   time.Duration
	}{
		"drains":     {true, 0, 2 * time.Second},
		"gives back": {false, 10, 21 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, 1, func(b *bench) {
				b.fill(0, 10)
				p := &pool{answer: func(*kgo.Record) string { return "" }}
				w := b.start(config(), p)
				b.until("held", func() bool { return p.holding() == 10 })
				begun := time.Now()
				w.stop()
				if c.answered {
					time.Sleep(time.Second)
					p.release(func(*kgo.Record) error { return nil })
				}
				require.NoError(t, <-w.ended)
				require.Less(t, time.Since(begun), c.within)
				require.Equal(t, c.left, b.lag())
				require.InDelta(t, c.left, w.acks("release", "ok"), 0)
				next := b.start(config(), &pool{})
				begun = time.Now()
				b.until("answered", func() bool { return b.lag() == 0 })
				require.Less(t, time.Since(begun), 5*time.Second, "released, not timed out")
				require.Len(t, next.pool.published.all(), int(c.left))
				next.halt(t)
			})
		})
	}
}

// A pool that gives nothing back, not even at the end, does not hold up a stop.
func TestStopWithRunningRecords(t *testing.T) {
	virtual(t, 1, func(b *bench) {
		b.fill(0, 3)
		p := &pool{stuck: true, answer: func(*kgo.Record) string { return "" }}
		w := b.start(config(), p)
		b.until("held", func() bool { return p.holding() == 3 })
		begun := time.Now()
		w.halt(t)
		require.Less(t, time.Since(begun), 40*time.Second)
		require.InDelta(t, 3, w.acks("release", "ok"), 0)
		require.Equal(t, int64(3), b.lag())
		require.False(t, w.Drained())
		p.release(func(*kgo.Record) error { return nil })
		require.True(t, w.Drained())
	})
}

// A broker that answers nothing any more does not hold up a stop either.
func TestStopWithASilentBroker(t *testing.T) {
	virtual(t, 1, func(b *bench) {
		b.fill(0, 3)
		var silent atomic.Bool
		dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := b.dial(ctx, network, addr)
			return deaf{c, &silent}, err
		}
		w := b.start(config(), &pool{answer: func(*kgo.Record) string { return "" }}, kgo.Dialer(dial))
		b.until("held", func() bool { return w.pool.holding() == 3 })
		silent.Store(true)
		w.pool.release(func(*kgo.Record) error { return nil })
		time.Sleep(100 * time.Millisecond)
		begun := time.Now()
		w.halt(t)
		require.Less(t, time.Since(begun), 40*time.Second, "every wait is bounded")
		require.InDelta(t, 3, w.acks("accept", "error"), 0)
	})
}

// deaf is a connection that hears nothing while silent holds.
type deaf struct {
	net.Conn
	silent *atomic.Bool
}

func (d deaf) Read(p []byte) (int, error) {
	for {
		n, err := d.Conn.Read(p)
		if err != nil || !d.silent.Load() {
			return n, err
		}
	}
}

func TestWatchdog(t *testing.T) {
	virtual(t, 1, func(b *bench) {
		b.fill(0, 3)
		p := &pool{answer: func(r *kgo.Record) string {
			if string(r.Value) == "1" {
				return ""
			}
			return "ok"
		}}
		w := b.start(config(), p)
		b.until("held", func() bool { return p.holding() == 1 })
		begun := time.Now()
		require.ErrorIs(t, <-w.ended, ErrStalled)
		require.InDelta(t, 2*time.Minute, time.Since(begun), float64(10*time.Second))
		require.False(t, w.Healthy())
		require.InDelta(t, 1, testutil.ToFloat64(w.Metrics.WatchdogTrips), 0)
		require.Equal(t, int64(1), b.lag(), "released")
		w.stop()
	})
}

// Silence is no stall.
func TestWatchdogLetsSilenceBe(t *testing.T) {
	virtual(t, 1, func(b *bench) {
		w := b.start(config(), &pool{})
		time.Sleep(10 * time.Minute)
		require.True(t, w.Healthy())
		require.True(t, w.Ready())
		w.halt(t)
	})
}
