package transaction

import (
	"context"
	"errors"
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
	turn, next := l.suspect(time.Now())
	if turn != nil {
		return l.isolate(turn)
	}
	l.focus(nil)
	limit, once := l.atOnce()
	fetches := l.pollUntil(next, limit)
	if l.hasMoved() {
		// The session would abort what is begun now: it is told first, and
		// goes back to what is committed.
		return nil, l.giveBack()
	}
	if !fetches.Empty() {
		if !l.allNamed(fetches, false) { // they came meanwhile, or go on beyond a window
			if err := l.giveBack(); err != nil {
				return nil, err
			}
			return nil, l.name(fetches)
		}
		if ok, err := l.share(); !ok {
			return nil, err
		}
	}
	c := newCycle(l.room)
	l.room = nil
	polled, failing := l.take(c, fetches)
	if !polled {
		if !fetches.Empty() {
			l.unshare()
		}
		if failing {
			pause(l.stops.intake, 100*time.Millisecond)
		}
		return nil, nil //nolint:nilnil // Nothing came, and that is no error.
	}
	until, cancel := context.WithDeadline(l.stops.intake, c.begun.Add(l.cfg.Interval))
	defer cancel()
	for !once && c.records < l.limit && c.bytes < l.member.MaxBytes/int64(len(l.lanes)) && until.Err() == nil && len(l.blocked) == 0 {
		more := l.poll(until, l.limit-c.records)
		if !l.allNamed(more, true) {
			c.fail(errUnnamed)
			break
		}
		l.take(c, more)
	}
	c.seal()
	return c, nil
}

// pollUntil polls, but not beyond a time, unless that is zero.
func (l *lane) pollUntil(t time.Time, n int) kgo.Fetches {
	if t.IsZero() {
		return l.poll(l.stops.intake, n)
	}
	ctx, cancel := context.WithDeadline(l.stops.intake, t)
	defer cancel()
	return l.poll(ctx, n)
}

// errUnnamed is why a cycle is given up that polled records of a partition which
// came meanwhile.
var errUnnamed = errors.New("records have to be named before they are run")

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
		requests, n, size := l.requests(c, held, f.Records)
		c.records += n
		c.bytes += size
		l.Metrics.Consumed.Add(float64(n))
		l.Metrics.InFlightRecords.Add(float64(n))
		l.Metrics.InFlightBytes.Add(float64(size))
		if len(requests) > 0 {
			c.expect(held.partition, requests)
			if c.verdict != nil {
				l.condemn(requests[0], *c.verdict)
			}
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
// requests. Control records are none, nor is what was answered at least once,
// before the mode was changed; what is in the memo is answered.
func (l *lane) requests(c *cycle, held *part, recs []*kgo.Record) (submit []*kgo.Record, n int, size int64) {
	again := !l.memo.empty()
	done := held.done // answered by an intake of another mode; the lane's goroutine alone changes it now
	submit = recs[:0]
	for _, r := range recs {
		if r.Attrs.IsControl() {
			continue
		}
		if len(done) > 0 {
			if done = done.From(r.Offset); done.StartsWith(r.Offset, r.LeaderEpoch) {
				l.Metrics.Restored.Inc()
				continue
			}
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
