package worker

import (
	"container/heap"
	"context"
	"math"
	"time"

	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/metrics"
	"github.com/millrace/millrace/model"
)

// What stands in the place of a deadline.
const (
	noDeadline         = 0
	unreadableDeadline = -1
)

// deadlineOf reads a request's deadline, in Unix nanoseconds. One that they
// cannot hold is the nearest that they can.
func deadlineOf(it *item) int64 {
	t, ok, err := wire.Expiry(it.rec)
	switch {
	case err != nil:
		return unreadableDeadline
	case !ok || t.After(time.Unix(0, math.MaxInt64)):
		return noDeadline
	case t.Before(time.Unix(0, 1)):
		return 1
	}
	return t.UnixNano()
}

// expired looks at the clock for requests with a deadline only.
func expired(it *item) error {
	switch {
	case it.deadline == noDeadline:
		return nil
	case it.deadline == unreadableDeadline:
		return model.Invalidf(wire.ExpiryTime, "not an RFC 3339 time")
	case time.Now().UnixNano() < it.deadline:
		return nil
	}
	return tooLate(it)
}

func tooLate(it *item) error {
	v, _ := wire.Header(it.rec, wire.ExpiryTime)
	return model.Errorf(model.DeadlineExceeded, "the request expired at %s", v)
}

// deadlines is a heap of the queued records that have one, the earliest first.
type deadlines []*item

func (d deadlines) Len() int           { return len(d) }
func (d deadlines) Less(i, j int) bool { return d[i].deadline < d[j].deadline }

func (d deadlines) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].place, d[j].place = i, j
}

// Push implements [heap.Interface].
func (d *deadlines) Push(x any) {
	it, _ := x.(*item)
	it.place = len(*d)
	*d = append(*d, it)
}

// Pop implements [heap.Interface].
func (d *deadlines) Pop() any {
	last := len(*d) - 1
	it := (*d)[last]
	(*d)[last] = nil
	*d = (*d)[:last]
	return it
}

// watch keeps a queued record's deadline; p.mu is held. Who expires records is
// woken only when it would sleep past it.
func (p *Pool) watch(it *item) {
	if it.deadline <= noDeadline {
		return
	}
	heap.Push(&p.deadlines, it)
	if p.alarm == 0 || it.deadline < p.alarm {
		p.alarm = it.deadline
		select {
		case p.earlier <- struct{}{}:
		default:
		}
	}
}

// unwatch forgets the deadline of a record that leaves the queue; p.mu is held.
func (p *Pool) unwatch(it *item) {
	if it.deadline > noDeadline {
		heap.Remove(&p.deadlines, it.place)
	}
}

// expire answers queued records when their deadline passes, until ctx ends.
func (p *Pool) expire(ctx context.Context) {
	e := newExecutor(p)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		due, wait := p.overdue()
		if len(due) > 0 {
			e.lapse(ctx, due)
			continue
		}
		if wait > 0 {
			timer.Reset(wait)
		} else {
			timer.Stop()
		}
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-p.earlier:
		}
	}
}

// overdue takes out of the queue what has expired, and says how long to wait
// for the next look; 0 is until one is asked for. The alarm stays where it is
// when what it was set for has left the queue: setting it anew for each record
// would cost more than a look in vain.
func (p *Pool) overdue() (due []*item, wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now().UnixNano()
	for len(p.deadlines) > 0 && p.deadlines[0].deadline <= now {
		it, _ := heap.Pop(&p.deadlines).(*item)
		it.lapsed = true
		due = append(due, it)
	}
	if len(due) > 0 {
		p.queue.withdraw(func(it *item) bool { return it.lapsed })
		p.deps.Metrics.Queued.Sub(float64(len(due)))
		p.deps.Metrics.Running.Add(float64(len(due)))
	}
	if p.alarm <= now {
		p.alarm = 0
	}
	if len(p.deadlines) > 0 && (p.alarm == 0 || p.deadlines[0].deadline < p.alarm) {
		p.alarm = p.deadlines[0].deadline
	}
	return due, max(time.Duration(p.alarm-now), 0)
}

// lapse answers records that expired before any executor took them. The answer
// names the model that would have run, if one is at hand.
func (e *executor) lapse(ctx context.Context, items []*item) {
	e.values, e.answer = nil, make([]wire.Answer, 0, len(items))
	e.answered = time.Now()
	e.follow(items, e.answered)
	wait := e.deps.Metrics.Phase.WithLabelValues(metrics.PhaseWait)
	for _, it := range items {
		wait.Observe(e.answered.Sub(it.queued).Seconds())
		e.deps.Metrics.QueueLatency.Observe(max(e.answered.Sub(it.rec.Timestamp).Seconds(), 0))
		if it.seq.lease.Err() != nil {
			e.finish(ctx, it, context.Cause(it.seq.lease)) //nolint:contextcheck // The cause is the lease's own.
			continue
		}
		name, version := "", ""
		var err error
		if e.snap, err = e.deps.Source.Acquire(it.model); err != nil {
			e.snap = nil
		} else {
			name, version = e.snap.Name, e.snap.Version
		}
		e.series = newSeries(e.deps.Metrics, name, version)
		t := task{it, new(model.Request)}
		t.req.Undecoded(form(it))
		e.refuse(ctx, t, tooLate(it))
		if e.snap != nil {
			e.release(e.snap)
		}
	}
}
