package consumer

import (
	"context"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// The pauses before records that the pool failed are submitted again.
const (
	retryFirst = 50 * time.Millisecond
	retryMax   = 5 * time.Second
)

// failed is a record that the pool gave back with an error while its lease
// lives.
type failed struct {
	lease *lease
	rec   *kgo.Record
	err   error
}

// retryLoop submits failed records again, those of a lease together and in
// offset order. They stay in flight and in the budget meanwhile; the channel
// holds as many as the budget, so that done never blocks.
func (c *Consumer) retryLoop(ctx context.Context) {
	waiting := make(map[*lease]*again)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	expired := make(chan *lease)
	for {
		select {
		case <-ctx.Done():
			c.giveBack(waiting)
			return
		case f := <-c.retry:
			a := waiting[f.lease]
			if a == nil {
				a = &again{at: time.Now().Add(f.lease.failed())}
				// A closed lease gives its records back at once: a revoke waits for them.
				a.stop = context.AfterFunc(f.lease.ctx, func() { //nolint:contextcheck // It is the lease's end that matters.
					select {
					case expired <- f.lease:
					case <-ctx.Done():
					}
				})
				waiting[f.lease] = a
				c.Log.Warn("pool did not answer records; submitting them again",
					"topic", f.lease.topic, "partition", f.lease.partition, "offset", f.rec.Offset, "error", f.err)
			}
			a.recs = append(a.recs, f.rec)
		case l := <-expired:
			c.settle(l, waiting[l])
			delete(waiting, l)
		case <-timer.C:
		}
		c.resubmit(waiting)
		timer.Reset(next(waiting))
	}
}

type again struct {
	recs []*kgo.Record
	at   time.Time
	stop func() bool
}

func (c *Consumer) resubmit(waiting map[*lease]*again) {
	now := time.Now()
	for l, a := range waiting {
		if now.Before(a.at) || l.ctx.Err() != nil {
			continue
		}
		if !a.stop() {
			continue // it is being given back
		}
		delete(waiting, l)
		slices.SortFunc(a.recs, func(x, y *kgo.Record) int { return int(x.Offset - y.Offset) })
		c.hand(l, a.recs)
	}
}

func next(waiting map[*lease]*again) time.Duration {
	d := time.Hour
	for _, a := range waiting {
		d = min(d, max(time.Until(a.at), time.Millisecond))
	}
	return d
}

func (c *Consumer) settle(l *lease, a *again) {
	if a == nil {
		return
	}
	for _, r := range a.recs {
		l.finish(r.Offset, false)
		c.budget.release(r)
	}
}

func (c *Consumer) giveBack(waiting map[*lease]*again) {
	for l, a := range waiting {
		a.stop()
		c.settle(l, a)
	}
	for {
		select {
		case f := <-c.retry:
			c.settle(f.lease, &again{recs: []*kgo.Record{f.rec}})
		default:
			return
		}
	}
}
