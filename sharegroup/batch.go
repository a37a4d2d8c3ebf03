package sharegroup

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
)

// slot is a record that a lane holds the lock of.
type slot struct {
	rec   *kgo.Record
	batch *batch
	bytes int64
	count int32 // deliveries, this one included
	last  bool  // the record is not tried in another

	// Guarded by the batch's mu.
	status string        // of the answer that was published
	ack    kgo.AckStatus // the outcome, 0 while there is none
	told   bool          // the broker was
}

type slotKey struct{}

func slotOf(r *kgo.Record) *slot {
	if r.Context == nil {
		return nil
	}
	s, _ := r.Context.Value(slotKey{}).(*slot)
	return s
}

// batch is what one poll brought.
type batch struct {
	slots    []*slot
	together []*slot
	alone    []*slot // those that may end a worker, in the order that they run in
	bytes    int64
	lock     time.Duration // that the broker gives, or what was left of it
	due      time.Time     // when to renew; of the lane's goroutine

	mu    sync.Mutex // guards what follows, and the slots' outcomes
	left  int
	idle  chan struct{} // closed when the pool has nothing of the batch
	moved time.Time     // when it was last given something back, or began
	since int64         // the queue's count of answers then
}

// shortestLock bounds how often a lane renews.
const shortestLock = 100 * time.Millisecond

// take makes a batch of what was polled, nil when there is nothing to work on.
func (l *lane) take(fetches kgo.Fetches) *batch {
	n := fetches.NumRecords()
	if n == 0 {
		return nil
	}
	b := &batch{slots: make([]*slot, 0, n), lock: l.cfg.Lock}
	now := time.Now()
	fetches.EachRecord(func(r *kgo.Record) {
		b.lock = min(b.lock, r.AcquisitionDeadline().Sub(now))
		b.add(l, &slot{rec: r, bytes: sizeOf(r), count: r.DeliveryCount()})
	})
	b.lock = max(b.lock, shortestLock)
	b.due = now.Add(b.lock / 2)
	l.sort(b)
	l.Metrics.Consumed.Add(float64(len(b.slots)))
	l.hold(len(b.slots), b.bytes)
	return b
}

// add takes a record into the batch, with what the pool has to know of it.
func (b *batch) add(l *lane, s *slot) {
	s.batch = b
	b.slots = append(b.slots, s)
	b.bytes += s.bytes
	s.rec.Context = context.WithValue(s.rec.Context, slotKey{}, s)
	d := wire.Delivery{Attempts: int(s.count)}
	if s.count > 1 {
		l.Series.Redelivered.Inc()
	}
	attempts := l.attempts.Load()
	s.last = s.count >= attempts
	if s.count > attempts {
		d.Code = wire.ModelFailed
		d.Message = "the request was delivered " + strconv.Itoa(int(s.count)-1) + " times, and no delivery led to an answer: workers ended, or did not answer in time"
		l.Series.Exhausted.Inc()
		l.Log.Error("giving a request up: no delivery of it led to an answer",
			"topic", s.rec.Topic, "partition", s.rec.Partition, "offset", s.rec.Offset, "deliveries", s.count-1)
	}
	wire.Deliver(s.rec, d)
}

// sort parts the records that have been delivered often: they may end a worker,
// and are not to take others with them.
func (l *lane) sort(b *batch) {
	attempts := l.attempts.Load()
	for _, s := range b.slots {
		if s.count >= max(2, attempts-1) && s.count <= attempts {
			b.alone = append(b.alone, s)
		} else {
			b.together = append(b.together, s)
		}
	}
	slices.SortStableFunc(b.alone, inTurn)
}

// begin counts records that are about to be submitted.
func (b *batch) begin(n int, answered int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left = n
	b.idle = make(chan struct{})
	if n == 0 {
		close(b.idle)
	}
	b.moved, b.since = time.Now(), answered
}

// finish notes what became of a record.
func (b *batch) finish(s *slot, err error, answered int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.ack == 0 { // else it was released meanwhile: it will be answered again
		s.ack = outcome(s.status, err)
	}
	b.moved, b.since = time.Now(), answered
	b.left--
	if b.left == 0 {
		close(b.idle)
	}
}

// published notes the status of the answer that the broker has acknowledged.
func (b *batch) published(s *slot, status string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s.status = status
}

// outcome says what the broker is told of a record. What was answered with an
// error was dead-lettered too: the broker is to count it as refused. A deadline
// that has passed is nobody's fault.
func outcome(status string, err error) kgo.AckStatus {
	switch {
	case err != nil:
		return kgo.AckRelease
	case status == wire.OK || status == wire.DeadlineExceeded || status == "":
		return kgo.AckAccept
	}
	return kgo.AckReject
}

const (
	coolFirst = 100 * time.Millisecond
	coolMax   = 5 * time.Second
)

// cooling is how long to wait before records go back: longer with each of
// their deliveries.
func (b *batch) cooling() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	d := time.Duration(0)
	for _, s := range b.slots {
		if s.ack == kgo.AckRelease && !s.told {
			d = max(d, min(coolFirst<<min(2*(s.count-1), 16), coolMax))
		}
	}
	return d
}

// sizeOf counts what a record holds in memory by its content.
func sizeOf(r *kgo.Record) int64 {
	n := len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += len(r.Headers[i].Key) + len(r.Headers[i].Value)
	}
	return int64(n)
}
