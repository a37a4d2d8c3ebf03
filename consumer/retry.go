package consumer

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
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
			c.count(f)
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

// count notes a failure that trying again does not end. At the last attempt
// the record is answered with an error. A broker that is away, a shutdown and
// a revocation are nobody's failure, and are not counted.
func (c *Consumer) count(f failed) {
	if !permanent(f.err) {
		return
	}
	d := wire.DeliveryOf(f.rec)
	d.Attempts++
	if d.Attempts > c.cfg.MaxAttempts && d.Code == "" {
		d.Attempts = c.cfg.MaxAttempts
		d.Code, d.Message = wire.Internal, "the answer cannot be published: "+f.err.Error()
		c.Metrics.AbandonedRecords.Inc()
		c.Log.Error("the answer cannot be published; answering with an error",
			"topic", f.rec.Topic, "partition", f.rec.Partition, "offset", f.rec.Offset, "attempts", d.Attempts, "error", f.err)
	}
	wire.Deliver(f.rec, d)
}

// permanent says that it is the answer that the broker does not take, whoever
// asks it and when.
func permanent(err error) bool {
	for _, e := range []error{kerr.MessageTooLarge, kerr.InvalidRecord, kerr.InvalidTimestamp, kerr.UnsupportedForMessageFormat} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
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
		c.submitNow(l, a.recs)
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
	c.giveUp(l, a.recs)
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
