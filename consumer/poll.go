package consumer

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// intake is what one poll brought for one lease.
type intake struct {
	lease *lease
	recs  []*kgo.Record
}

// pollLoop takes records in until ctx ends.
func (c *Consumer) pollLoop(ctx context.Context) {
	for {
		free := c.budget.waitFree(ctx)
		if free == 0 {
			return
		}
		fetches := c.cl.PollRecords(ctx, min(free, pollMax))
		taken := c.register(fetches)
		c.cl.AllowRebalance()
		if ctx.Err() != nil || fetches.IsClientClosed() {
			return
		}
		failed := c.fetchErrs.Note(fetches, c.Log, c.Metrics.FetchErrors.Inc)
		for _, in := range taken {
			c.submit(ctx, in)
		}
		if failed && len(taken) == 0 {
			pause(ctx, 100*time.Millisecond)
		}
	}
}

// register tracks what was polled, while no rebalance can take the leases.
func (c *Consumer) register(fetches kgo.Fetches) []intake {
	var taken []intake
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		if len(p.Records) == 0 {
			return
		}
		l := c.lease(partition{p.Topic, p.Partition})
		if l == nil {
			return // not ours: it will be consumed by who holds it
		}
		if first := p.Records[0].Offset; !l.fits(first) {
			if l = c.renew(l, first); l == nil {
				return
			}
		}
		stable := p.LastStableOffset
		if stable < 0 {
			stable = p.HighWatermark
		}
		recs, restored := l.register(p.Records, stable)
		c.Metrics.Consumed.Add(float64(len(recs)))
		c.Metrics.Restored.Add(float64(restored))
		if len(recs) > 0 {
			taken = append(taken, intake{l, recs})
		}
		c.hold(l)
	})
	return taken
}

// submit hands records to the pool as the budget allows. What the lease or ctx
// outlives stays unresolved, and is consumed again.
func (c *Consumer) submit(ctx context.Context, in intake) {
	for len(in.recs) > 0 {
		n := c.budget.take(ctx, in.lease.ctx, in.recs)
		if n == 0 {
			return
		}
		part := in.recs[:n:n]
		in.recs = in.recs[n:]
		if !in.lease.begin(n, c.answered.Load()) {
			for _, r := range part {
				c.budget.release(r)
			}
			return
		}
		c.hand(in.lease, part)
	}
}

// done is what the pool calls. A record that is not answered while its lease
// lives is not allowed to hold the watermark for ever: it is submitted again.
func (c *Consumer) done(l *lease, r *kgo.Record, err error) {
	if err != nil && l.ctx.Err() == nil {
		c.retry <- failed{lease: l, rec: r, err: err}
		return
	}
	if err == nil {
		c.answered.Add(1)
	}
	waited := l.finish(r.Offset, err == nil)
	c.budget.release(r)
	if waited || c.quarantine.Load() {
		c.hold(l)
		c.wakeGuard()
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
