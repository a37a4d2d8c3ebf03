package consumer

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/poison"
	"github.com/millrace/millrace/internal/wire"
)

// guardLoop lets through what guards keep back, until ctx ends.
func (c *Consumer) guardLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.guardNow:
		}
		for c.release(ctx) {
		}
	}
}

func (c *Consumer) wakeGuard() {
	select {
	case c.guardNow <- struct{}{}:
	default:
	}
}

// hand gives records to the pool, or keeps them back for the guard.
func (c *Consumer) hand(l *lease, recs []*kgo.Record) {
	parked, closed := l.park(recs, c.quarantine.Load())
	switch {
	case parked:
		c.budget.park(len(recs))
		c.wakeGuard()
	case closed:
		c.giveUp(l, recs)
	default:
		c.submitNow(l, recs)
	}
}

func (c *Consumer) submitNow(l *lease, recs []*kgo.Record) {
	c.Pool.Submit(l.ctx, recs, func(r *kgo.Record, err error) { c.done(l, r, err) })
}

// giveUp settles records that no pool has.
func (c *Consumer) giveUp(l *lease, recs []*kgo.Record) {
	for _, r := range recs {
		l.finish(r.Offset, false)
		c.budget.release(r)
	}
}

// closeLease ends a lease: what waits is given back, and a pause must not
// outlive it.
func (c *Consumer) closeLease(l *lease, cause error) {
	waiting := l.close(cause)
	c.budget.park(-len(waiting))
	c.giveUp(l, waiting)
	c.hold(l)
	c.wakeGuard()
}

// release lets through what may go now. It returns false when nothing may.
func (c *Consumer) release(ctx context.Context) bool {
	leases := c.held()
	slices.SortFunc(leases, func(a, b *lease) int { return cmp.Compare(a.partition, b.partition) })
	suspects := false
	for _, l := range leases {
		l.progress()
		suspects = suspects || l.suspects()
	}
	if suspects {
		// Before the budget is asked: what is handed over from now on waits.
		c.quarantine.Store(true)
		p, ok := c.suspect(leases)
		if !ok || p.mark && !c.writeAhead(ctx, true, p.lease, c.alone) {
			return false
		}
		if p.alone {
			c.alone = p.lease
		}
		c.let(p)
		return true
	}
	// Another end must not be charged to who was alone before.
	if c.alone != nil && !c.writeAhead(ctx, true, c.alone) {
		return false
	}
	c.alone = nil
	c.quarantine.Store(false)
	return c.releaseAll(ctx, leases)
}

// suspect is the next record under suspicion that may go.
func (c *Consumer) suspect(leases []*lease) (pass, bool) {
	quiet := c.budget.quiet()
	for _, l := range leases {
		p, ok := l.nextSuspect(c.cfg.MaxAttempts-poison.CrowdEnds, quiet)
		if p.wait > 0 {
			time.AfterFunc(p.wait, c.wakeGuard)
			return pass{}, false
		}
		if ok {
			return p, true
		}
	}
	return pass{}, false
}

// releaseAll lets through what waits while no record is under suspicion.
func (c *Consumer) releaseAll(ctx context.Context, leases []*lease) bool {
	var passes []pass
	var marked []*lease
	for _, l := range leases {
		if p, ok := l.next(2 * c.cfg.MaxRecords); ok {
			passes = append(passes, p)
			if p.mark {
				marked = append(marked, l)
			}
		}
	}
	if !c.writeAhead(ctx, false, marked...) {
		return false
	}
	for _, p := range passes {
		c.let(p)
	}
	return len(passes) > 0
}

// writeAhead commits the marks of what is about to be worked on. Work goes on
// without them when the broker does not take them for long, unless they must
// be there: a record that is alone, unmarked, would end workers without end,
// and one that was, marked, would answer for others.
func (c *Consumer) writeAhead(ctx context.Context, must bool, marked ...*lease) bool {
	live := func(l *lease) bool { return l != nil && l.ctx.Err() == nil }
	marked = slices.DeleteFunc(marked, func(l *lease) bool { return !live(l) })
	if len(marked) == 0 {
		return true
	}
	began := time.Now()
	for !c.commitWithin(ctx, marked) {
		if ctx.Err() != nil {
			return false
		}
		if !slices.ContainsFunc(marked, live) || !must && time.Since(began) > commitBound {
			return true
		}
		pause(ctx, 100*time.Millisecond)
	}
	return true
}

// let hands over what a pass lets through. Where the guard is off, it goes on
// until nothing waits, so that what comes meanwhile keeps its place.
func (c *Consumer) let(p pass) {
	for {
		recs := p.lease.take(p.n, c.answered.Load())
		if len(recs) == 0 {
			return
		}
		c.budget.park(-len(recs))
		c.hold(p.lease)
		if p.guilty {
			c.condemn(p.lease, recs[0])
		}
		if p.alone {
			c.Metrics.IsolatedRuns.Inc()
		}
		c.submitNow(p.lease, recs)
		if p.n > 0 {
			return
		}
	}
}

// condemn has a record answered without being run.
func (c *Consumer) condemn(l *lease, r *kgo.Record) {
	l.mu.Lock()
	d, solo := l.guard.Condemned(), l.guard.Solo
	l.mu.Unlock()
	c.Metrics.PoisonRecords.Inc()
	c.Log.Error("the record is passed over: workers ended while they worked on it",
		"topic", r.Topic, "partition", r.Partition, "offset", r.Offset, "attempts", d.Attempts, "alone", solo)
	wire.Deliver(r, d)
}
