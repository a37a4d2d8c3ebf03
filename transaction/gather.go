package transaction

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// poll takes up to n records; it is ended by d, by a rebalance and by a stop.
func (l *lane) poll(ctx context.Context, n int) kgo.Fetches {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l.mu.Lock()
	l.interrupt = cancel
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.interrupt = nil
		l.mu.Unlock()
	}()
	return l.cl.PollRecords(ctx, n)
}

// gather takes the requests of one transaction in. It returns nil when nothing
// came. From its first poll to AllowRebalance no rebalance takes partitions.
func (l *lane) gather() (*cycle, error) {
	select {
	case <-l.blocked: // by the last transaction
	default:
	}
	fetches := l.poll(l.stops.intake, l.limit)
	if l.hasMoved() {
		// The session would abort what is begun now: it is told first, and
		// goes back to what is committed.
		return nil, l.end(nil, kgo.TryAbort)
	}
	c := newCycle(l.room)
	l.room = nil
	polled, failing := l.take(c, fetches)
	if !polled {
		if failing {
			pause(l.stops.intake, 100*time.Millisecond)
		}
		return nil, nil //nolint:nilnil // Nothing came, and that is no error.
	}
	until, cancel := context.WithDeadline(l.stops.intake, c.begun.Add(l.cfg.Interval))
	defer cancel()
	for c.records < l.limit && c.bytes < l.member.MaxBytes/int64(len(l.lanes)) && until.Err() == nil && len(l.blocked) == 0 {
		l.take(c, l.poll(until, l.limit-c.records))
	}
	c.seal()
	return c, nil
}

// take hands what was polled to the pool, but for what the memo has the answer
// to. All of it is of the cycle from now on: the session commits what was
// polled.
func (l *lane) take(c *cycle, fetches kgo.Fetches) (polled, failing bool) {
	failing = l.fetchErr.Note(fetches, l.Log, l.Metrics.FetchErrors.Inc)
	fetches.EachPartition(func(f kgo.FetchTopicPartition) {
		if len(f.Records) == 0 {
			return
		}
		polled = true
		held := l.polled(f)
		requests, n, size := l.requests(c, f.Records)
		c.records += n
		c.bytes += size
		l.Metrics.Consumed.Add(float64(n))
		l.Metrics.InFlightRecords.Add(float64(n))
		l.Metrics.InFlightBytes.Add(float64(size))
		if len(requests) > 0 {
			c.expect(requests)
			l.Pool.Submit(held.lease, requests, c.done)
		}
	})
	return polled, failing
}

// polled notes how far a partition was polled.
func (l *lane) polled(f kgo.FetchTopicPartition) *part {
	last := f.Records[len(f.Records)-1]
	l.mu.Lock()
	defer l.mu.Unlock()
	held := l.parts[partition{f.Topic, f.Partition}]
	if held == nil {
		held = l.open(partition{f.Topic, f.Partition})
	}
	held.polled = last.Offset + 1
	held.end = max(held.end, f.LastStableOffset, held.polled)
	if held.since.IsZero() {
		held.since = f.Records[0].Timestamp
	}
	return held
}

// requests are the records to submit, beside the number and the size of all
// requests. Control records are none, and what is in the memo is answered.
func (l *lane) requests(c *cycle, recs []*kgo.Record) (submit []*kgo.Record, n int, size int64) {
	again := !l.memo.empty()
	submit = recs[:0]
	for _, r := range recs {
		if r.Attrs.IsControl() {
			continue
		}
		n++
		size += sizeOf(r)
		if again {
			if e, ok := l.memo.take(r); ok {
				c.repeat(e)
				l.Transactions.Again.Inc()
				continue
			}
		}
		submit = append(submit, r)
	}
	return submit, n, size
}

// sizeOf counts what a record holds in memory by its content.
func sizeOf(r *kgo.Record) int64 {
	n := len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += len(r.Headers[i].Key) + len(r.Headers[i].Value)
	}
	return int64(n)
}
