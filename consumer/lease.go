package consumer

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/checkpoint"
)

// lease is the right to answer a partition's records, from its assignment to
// its revocation. Work that ends later finds its own lease closed, whatever
// lease the partition has by then, and commits nothing.
type lease struct {
	topic     string
	partition int32
	epoch     uint64          // counts the assignments of this process
	ctx       context.Context //nolint:containedctx // The lease's life is what it stands for; it is handed to the pool with each submission.
	cancel    context.CancelCauseFunc

	mu       sync.Mutex // guards what follows
	tracker  tracker
	end      int64         // last stable offset, as last heard
	from     int64         // for the lag alone, where consuming begins before the watermark is known
	logStart int64         // first offset of the log, as last heard
	inFlight int           // submitted and not given back
	idle     chan struct{} // closed while nothing is in flight
	closed   bool          // no more submissions
	moving   bool          // the watermark has moved since it was last asked for
	moved    time.Time     // when that was found, or work began
	since    int64         // the consumer's count of answers then
	blocked  bool          // it was said that the watermark does not move
	stuck    bool          // the watchdog tripped over it: its end is not clean
	failures int           // submissions in a row that the pool failed

	changes  uint64                // of what a commit says
	sent     uint64                // the changes that the broker has
	said     checkpoint.Checkpoint // what it has from this process, if that was last to say something
	restored checkpoint.Set        // answered under an earlier lease, not fetched yet
	room     int                   // bytes that the metadata may have
	held     bool                  // fetching is paused; changed under Consumer.holds too
	guard    guard
}

func newLease(parent context.Context, topic string, partition int32, epoch uint64) *lease {
	ctx, cancel := context.WithCancelCause(parent)
	idle := make(chan struct{})
	close(idle)
	return &lease{
		topic: topic, partition: partition, epoch: epoch, ctx: ctx, cancel: cancel,
		tracker: newTracker(), end: unknown, from: unknown, logStart: unknown, idle: idle,
		room: checkpoint.Max, guard: newGuard(),
	}
}

// fits says whether fetched records follow on what is tracked. They do not
// when the log was cut and written anew.
func (l *lease) fits(first int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tracker.follows(first)
}

// startAt takes over the offset that the group has committed.
func (l *lease) startAt(offset int64, epoch int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tracker.watermark < 0 {
		l.tracker.watermark, l.tracker.epoch = offset, epoch
	}
}

// register tracks fetched records. Control records are no requests: they are
// resolved at once, else a transactional topic shows a lag of one for ever. So
// are those that an earlier lease has answered. It returns those to submit, in offset order.
func (l *lease) register(recs []*kgo.Record, stable int64) (requests []*kgo.Record, restored int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end = max(l.end, stable)
	l.guard.Ends(stable)
	requests = recs[:0]
	for _, r := range recs {
		if !l.tracker.add(r.Offset, r.LeaderEpoch, r.Timestamp) {
			continue
		}
		l.end = max(l.end, r.Offset+1)
		switch {
		case r.Attrs.IsControl():
			l.resolve(r.Offset)
			continue
		case l.answered(r):
			restored++
			l.resolve(r.Offset)
			continue
		}
		requests = append(requests, r)
	}
	return requests, restored
}

// begin counts records that are about to be submitted, when the consumer's
// records answered so far are answered. It returns false when the lease has
// been closed meanwhile.
func (l *lease) begin(n int, answered int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	if l.inFlight == 0 {
		l.idle = make(chan struct{})
		l.moved, l.since = time.Now(), answered
	}
	l.inFlight += n
	return true
}

// finish takes a record out of flight, resolved or given back. It says whether
// somebody waits for that: a guard, or a partition that is held.
func (l *lease) finish(offset int64, resolved bool) (waited bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if resolved {
		l.failures = 0
		l.resolve(offset)
	}
	l.inFlight--
	if l.inFlight == 0 {
		close(l.idle)
	}
	return l.guard.gated || l.held
}

// resolve is called under mu.
func (l *lease) resolve(offset int64) {
	before := l.tracker.watermark
	if l.tracker.resolve(offset) {
		l.changes++
	}
	if l.tracker.watermark != before {
		l.moving = true // the clock is looked at by who asks, not for each record
	}
}

// failed counts a submission that the pool failed and says when to try again.
func (l *lease) failed() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failures++
	return min(retryFirst<<min(l.failures-1, 10), retryMax)
}

// close ends submissions and gives back what is queued: the pool by the end of
// the context, the guard by what is returned.
func (l *lease) close(cause error) []*kgo.Record {
	l.mu.Lock()
	l.closed = true
	waiting := l.guard.waiting
	l.guard.waiting = nil
	if l.guard.Open {
		l.changes++ // the broker has to hear of the end
	}
	l.mu.Unlock()
	l.cancel(cause)
	return waiting
}

// waitIdle returns false when ctx ends while records are in flight.
func (l *lease) waitIdle(ctx context.Context) bool {
	l.mu.Lock()
	idle := l.idle
	l.mu.Unlock()
	select {
	case <-idle:
		return true
	default:
	}
	select {
	case <-idle:
		return true
	case <-ctx.Done():
		return false
	}
}

func (l *lease) isIdle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.inFlight == 0
}

// due is a commit to make.
type due struct {
	checkpoint.Checkpoint
	changes uint64
	room    int
}

// toCommit is what the broker should know of the lease, when it does not.
func (l *lease) toCommit() (due, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := &l.tracker
	if t.watermark < 0 || l.changes == l.sent {
		return due{}, false
	}
	d := due{checkpoint.Checkpoint{Offset: t.watermark, Epoch: t.epoch, Marks: l.guard.Marks, Done: l.done()}, l.changes, l.room}
	if l.closed && !l.stuck {
		d.Marks = d.Ended()
	}
	return d, true
}

// done is what is answered above the watermark, by this lease or an earlier
// one; mu is held.
func (l *lease) done() checkpoint.Set {
	done := l.tracker.spans(nil)
	for _, s := range l.restored {
		if s.First = max(s.First, l.tracker.last()+1); s.First <= s.Last {
			done = done.Push(s)
		}
	}
	return done
}

// committed notes that the broker has taken a commit.
func (l *lease) committed(d due) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent, l.said = max(l.sent, d.changes), d.Checkpoint
}

// running is the number of records that the pool has; mu is held.
func (l *lease) running() int { return l.inFlight - len(l.guard.waiting) }

// stalled says for how long the pool has had records without the watermark
// moving, and how many of the consumer's records were answered meanwhile;
// silence is no stall.
func (l *lease) stalled(now time.Time, answered int64) (still time.Duration, others int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.moving {
		l.moving, l.moved, l.since = false, now, answered
	}
	if l.running() == 0 {
		return 0, 0
	}
	return now.Sub(l.moved), answered - l.since
}
