package sharegroup

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/kafka"
)

// The members' shares add up to the group's lag, of which each holds a part.
func TestShares(t *testing.T) {
	virtual(t, 3, func(b *bench) {
		filled := time.Now() // records are dated when they are handed over, whenever the broker takes them
		b.fill(0, 300)
		hold := func(*kgo.Record) string { return "" }
		var workers []*worker
		for _, lanes := range []int{1, 3} {
			cfg := config()
			cfg.Lanes, cfg.Records = lanes, 8
			workers = append(workers, b.start(cfg, &pool{answer: hold}))
		}
		b.until("held", func() bool { return workers[0].pool.holding() == 8 && workers[1].pool.holding() == 24 })
		time.Sleep(30 * time.Second) // less than the watchdog's
		require.Equal(t, int64(300), b.lag())
		require.InDelta(t, 75, testutil.ToFloat64(workers[0].Metrics.QueueLen), 0)
		require.InDelta(t, 225, testutil.ToFloat64(workers[1].Metrics.QueueLen), 0)
		require.Positive(t, testutil.ToFloat64(workers[0].Metrics.LagRecords.WithLabelValues(in, "0")))
		age := time.Since(filled).Seconds()
		for _, w := range workers {
			require.InDelta(t, age, testutil.ToFloat64(w.Metrics.OldestRecord), 6)
			w.pool.release(func(*kgo.Record) error { return nil })
			w.halt(t)
			require.Zero(t, testutil.CollectAndCount(w.Metrics.LagRecords))
		}
	})
}

func TestShare(t *testing.T) {
	require.Zero(t, share(0, 0))
	require.Zero(t, share(0, 4))
	require.InDelta(t, 1, share(4, 4), 0)
	require.InDelta(t, 1, share(4, 3), 0, "not all are listed yet")
	require.InDelta(t, .25, share(1, 4), 0)
}

// What the group has never fetched is counted from the log.
func TestLagOfUnfetchedPartitions(t *testing.T) {
	virtual(t, 3, func(b *bench) {
		b.fill(0, 30)
		require.NoError(t, b.cluster.DeleteRecords(in, 1, 4))
		require.Equal(t, int64(26), b.lag(), "no group at all")
		latest, err := kafka.ShareLag(b.ctx, b.admin, "g", in, true)
		require.NoError(t, err)
		require.Equal(t, map[int32]int64{0: 0, 1: 0, 2: 0}, latest)
		w := b.start(config(), &pool{})
		b.until("answered", func() bool { return b.lag() == 0 })
		b.fill(0, 3)
		w.halt(t)
		for key, want := range map[kmsg.Key]string{
			kmsg.DescribeShareGroupOffsets: "share group", kmsg.ListOffsets: "offsets of in",
		} {
			h := b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{key}, Err: kerr.UnknownServerError, Count: -1})
			_, err := kafka.ShareLag(b.ctx, b.admin, "g", in, false)
			require.ErrorContains(t, err, want)
			h.Remove()
		}
	})
}

// A lag that cannot be read makes the worker not ready.
func TestLagThatCannotBeRead(t *testing.T) {
	virtual(t, 1, func(b *bench) {
		w := b.start(config(), &pool{})
		b.until("ready", w.Ready)
		h := b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Err: kerr.TopicAuthorizationFailed, Count: -1})
		time.Sleep(6 * time.Second)
		require.False(t, w.Ready())
		require.Contains(t, w.log.String(), "the group's lag cannot be read")
		h.Remove()
		b.until("ready", w.Ready)
		w.halt(t)
	})
}
