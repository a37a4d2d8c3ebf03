package consumer

import (
	"context"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/checkpoint"
	"github.com/millrace/millrace/metrics"
)

// assigned opens a lease for each partition.
func (c *Consumer) assigned(_ context.Context, _ *kgo.Client, got map[string][]int32) {
	c.joined.Store(true)
	if len(got) == 0 {
		return
	}
	c.Metrics.Rebalances.WithLabelValues(metrics.RebalanceAssigned).Inc()
	c.Log.Info("partitions assigned", "partitions", got)
	c.mu.Lock()
	for topic, ids := range got {
		for _, id := range ids {
			c.open(partition{topic, id})
		}
	}
	c.mu.Unlock()
	c.askLag()
}

// open is called under mu.
func (c *Consumer) open(p partition) *lease {
	c.epoch++
	l := newLease(c.work, p.topic, p.id, c.epoch)
	c.leases[p] = l
	return l
}

// starting learns where each partition begins: the lag counts from there.
func (c *Consumer) starting(_ context.Context, at map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	for topic, ids := range at {
		for id, o := range ids {
			if l := c.lease(partition{topic, id}); l != nil && o.EpochOffset().Offset >= 0 {
				l.startAt(o.EpochOffset().Offset, o.EpochOffset().Epoch)
			}
		}
	}
	c.askLag()
	return at, nil
}

// renew takes up a partition whose log was cut, and maybe written anew: offsets
// may mean other records now, and work on the old ones must not resolve these.
// Where the cut is above the watermark it goes back to that, or what is between
// would be passed over: it returns no lease then, for the records come again.
func (c *Consumer) renew(old *lease, first int64) *lease {
	old.mu.Lock()
	watermark, epoch := old.tracker.watermark, old.tracker.epoch
	cp := checkpoint.Checkpoint{Offset: watermark, Epoch: epoch, Marks: old.guard.Ended(), Done: old.done()}
	old.mu.Unlock()
	c.Log.Error("the partition's log was cut: offsets go back, and records may be answered again",
		"topic", old.topic, "partition", old.partition, "watermark", watermark, "offset", first)
	c.closeLease(old, ErrReset)
	c.mu.Lock()
	l := c.open(partition{old.topic, old.partition})
	c.mu.Unlock()
	if watermark < 0 || first <= watermark {
		return l
	}
	l.restore(cp, false)
	l.startAt(watermark, epoch)
	c.cl.SetOffsets(map[string]map[int32]kgo.EpochOffset{l.topic: {l.partition: {Epoch: epoch, Offset: watermark}}})
	return nil
}

// revoked gives partitions up: what is queued comes back, what runs is waited
// for within a bound, the watermark is committed, and the leases end.
func (c *Consumer) revoked(ctx context.Context, _ *kgo.Client, gone map[string][]int32) {
	leases := c.of(gone)
	if len(leases) == 0 {
		return
	}
	c.Metrics.Rebalances.WithLabelValues(metrics.RebalanceRevoked).Inc()
	for _, l := range leases {
		c.closeLease(l, ErrRevoked)
	}
	// Bounded on its own, not by the client's context: while this call
	// blocks, the client cannot see that the session has ended.
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.patience())
	defer cancel()
	left := 0
	for _, l := range leases {
		if !l.waitIdle(drain) {
			left++
		}
	}
	if left > 0 {
		c.Log.Warn("partitions revoked with records running; they will be answered again", "partitions", left)
	}
	c.commitLast(ctx, leases)
	c.drop(leases)
	c.Log.Info("partitions revoked", "partitions", gone)
}

// patience is how long a revoke waits for running records: not again when a
// stop has waited for them.
func (c *Consumer) patience() time.Duration {
	if c.waited.Load() {
		return 0
	}
	return c.cfg.revokeDrain()
}

// lost ends leases that another member may hold by now: nothing is committed.
func (c *Consumer) lost(_ context.Context, _ *kgo.Client, gone map[string][]int32) {
	c.joined.Store(false)
	leases := c.of(gone)
	if len(leases) == 0 {
		return
	}
	c.Metrics.Rebalances.WithLabelValues(metrics.RebalanceLost).Inc()
	c.Log.Warn("partitions lost: the group had taken this member for dead", "partitions", gone)
	for _, l := range leases {
		c.closeLease(l, ErrLost)
	}
	// After a commit under way, which the broker refuses: one that collected
	// these offsets must not start under the next generation.
	timer := time.NewTimer(commitBound)
	defer timer.Stop()
	select {
	case c.commits <- struct{}{}:
		defer func() { <-c.commits }()
	case <-timer.C:
	}
	c.drop(leases)
}

func (c *Consumer) of(ps map[string][]int32) []*lease {
	c.mu.Lock()
	defer c.mu.Unlock()
	var ls []*lease
	for topic, ids := range ps {
		for _, id := range ids {
			if l := c.leases[partition{topic, id}]; l != nil {
				ls = append(ls, l)
			}
		}
	}
	return ls
}

// drop forgets leases and their series: a held one alone has a lag.
func (c *Consumer) drop(leases []*lease) {
	c.mu.Lock()
	for _, l := range leases {
		p := partition{l.topic, l.partition}
		if c.leases[p] == l {
			delete(c.leases, p)
			c.forget(p)
			c.adrift = append(c.adrift, l)
			l.leave(&c.left)
		}
	}
	c.mu.Unlock()
	c.exportLag()
}

// running are the leases that have ended while executors work on their records.
// An executor that is stuck stays so whoever has the partition by now, and only
// the watchdog frees it.
func (c *Consumer) running() []*lease {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.adrift = slices.DeleteFunc(c.adrift, (*lease).isIdle)
	return slices.Clone(c.adrift)
}
