package transaction

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/kafka"
)

// lane goes through one cycle after the other. What is not guarded belongs to
// its goroutine.
type lane struct {
	*Intake
	n    int
	memo *memo

	stops    *stops // set by run before anything uses it
	session  *kgo.GroupTransactSession
	cl       *kgo.Client
	answers  Publisher
	fetchErr kafka.FetchErrors
	limit    int // most requests of the next transaction
	failures int // transactions in a row that failed

	joined  atomic.Bool   // the group has given this lane its assignment
	blocked chan struct{} // capacity 1: a rebalance waits for the transaction

	mu        sync.Mutex // guards what follows
	parts     map[partition]*part
	moved     bool               // partitions were taken since the last transaction ended: the session aborts the next
	returning bool               // the lane leaves the group to come back
	interrupt context.CancelFunc // ends the poll under way
}

func newLane(t *Intake, n int) *lane {
	return &lane{
		Intake: t, n: n, memo: newMemo(2 * t.most()), limit: min(firstLimit, t.most()),
		blocked: make(chan struct{}, 1), parts: make(map[partition]*part),
	}
}

// most is the number of requests that a transaction may have.
func (t *Intake) most() int {
	return max(1, min(t.cfg.Records, t.member.MaxRecords/t.cfg.lanes()))
}

// A transaction should be over in slowCycle, or rebalances and stops wait for a
// slow model: its number of requests begins small, and follows the pace.
const (
	firstLimit = 256
	slowCycle  = time.Second
)

// errReconnect is why a lane takes a new client.
var errReconnect = errors.New("new client needed")

// run goes through cycles until the intake ends, with one client after the
// other where it must.
func (l *lane) run(s *stops) error {
	l.stops = s
	for {
		err := l.connect()
		if err == nil {
			err = l.serve()
		}
		again := errors.Is(err, errReconnect)
		if err == nil || !again || s.intake.Err() != nil {
			l.leave(false)
			l.memo.keep(func(partition, int64) bool { return false }, ErrStopped)
			if again { // a stop ends that too
				return nil
			}
			return err
		}
		l.leave(true)
		l.Transactions.Reconnect.Inc()
		l.Log.Warn("a lane takes a new client", "lane", l.n, "error", err)
		l.pause()
	}
}

// serve returns nil when the intake has ended.
func (l *lane) serve() error {
	for l.stops.intake.Err() == nil {
		c, err := l.gather()
		if c != nil {
			err = l.finish(c)
		}
		l.cl.AllowRebalance()
		if err != nil {
			return err
		}
	}
	return nil
}

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
	c := newCycle()
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

func (l *lane) hasMoved() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.moved
}

// finish waits for the verdicts of a cycle's records, and commits them.
func (l *lane) finish(c *cycle) error {
	full := c.records >= l.limit
	if err := l.await(c.ready, c); err != nil {
		l.abandon(c)
		if errors.Is(err, ErrStalled) {
			return err
		}
		return nil
	}
	l.pace(full, time.Since(c.begun))
	if c.failure() != nil || l.hasMoved() {
		return l.end(c, kgo.TryAbort)
	}
	if err := l.session.Begin(); err != nil {
		l.abandon(c)
		return l.judge(err, 0)
	}
	begun := time.Now()
	l.publish(c)
	commit := kgo.TransactionEndTry(c.failure() == nil)
	return l.ended(c, begun, commit)
}

// pace sets how many requests the next transaction may have.
func (l *lane) pace(full bool, took time.Duration) {
	switch {
	case took > slowCycle:
		l.limit = max(1, l.limit/2)
	case full:
		l.limit = min(2*l.limit, l.most())
	}
}

// publish returns when every answer is acknowledged or refused.
func (l *lane) publish(c *cycle) {
	if len(c.entries) == 0 {
		return
	}
	var left atomic.Int64
	left.Store(int64(len(c.entries)))
	all := make(chan struct{})
	for i := range c.entries {
		e := &c.entries[i]
		l.answers.Publish(l.stops.hard, e.answer, func(status string, err error) {
			e.status = status
			if err != nil {
				c.fail(fmt.Errorf("publishing answers: %w", err))
			}
			if left.Add(-1) == 0 {
				close(all)
			}
		})
	}
	if l.await(all, nil) == nil {
		return
	}
	c.fail(ErrStopped)
	l.cl.UnsafeAbortBufferedRecords() // the process ends: nobody waits for the broker any more
	<-all
}

// await waits for what a transaction needs. A rebalance that is held up for too
// long is let through. It fails with ErrStopped when the stop's time is over,
// and with ErrStalled when the pool, asked for the verdicts of c, stands still.
func (l *lane) await(done <-chan struct{}, c *cycle) error {
	select {
	case <-done:
		return nil
	default:
	}
	allow := time.NewTimer(time.Hour)
	defer allow.Stop()
	tick := time.NewTicker(l.member.WatchdogTimeout / 4)
	defer tick.Stop()
	watch := l.watch(c)
	for {
		select {
		case <-done:
			return nil
		case <-l.blocked:
			allow.Reset(l.member.revokeDrain())
		case <-allow.C:
			l.Log.Warn("a transaction takes too long for the rebalance that waits; it is let through", "lane", l.n)
			l.cl.AllowRebalance()
		case <-l.stops.hard.Done():
			return ErrStopped
		case now := <-tick.C:
			if still := watch.still(now); still > l.member.WatchdogTimeout {
				return l.stall(still)
			}
		}
	}
}

// leave gives the partitions back at once. A lane that comes back keeps its
// memo, and its place when it is a static member.
func (l *lane) leave(comesBack bool) {
	if l.session == nil {
		return
	}
	l.mu.Lock()
	l.returning = comesBack
	l.mu.Unlock()
	l.cl.AllowRebalance()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.stops.work), leaveBound)
	defer cancel()
	member, _ := l.cl.GroupMetadata()
	if err := l.cl.LeaveGroupContext(ctx); err != nil {
		l.Log.Warn("leaving the group failed; its session has to end", "lane", l.n, "group", l.member.Group, "error", err)
	}
	if id := l.instance(); id != "" && !comesBack {
		if err := kafka.LeaveStatic(ctx, l.cl, l.member.Group, id, member, l.member.Protocol == protocolConsumer); err != nil {
			l.Log.Warn("static member could not leave; its session has to end",
				"group", l.member.Group, "instance_id", id, "error", err)
		}
	}
	l.dropAll()
	l.joined.Store(false)
	l.session.CloseAllowingRebalance()
	l.session, l.cl = nil, nil
}

// leaveBound is the longest wait for the broker to let a lane go.
const leaveBound = 5 * time.Second

func (l *lane) dropAll() {
	l.mu.Lock()
	gone := make(map[string][]int32)
	for p := range l.parts {
		gone[p.topic] = append(gone[p.topic], p.id)
	}
	l.mu.Unlock()
	l.drop(gone, ErrStopped)
	l.mu.Lock()
	l.moved, l.returning = false, false
	l.mu.Unlock()
}

// pause lets some time pass after a failure, more after each.
func (l *lane) pause() {
	l.failures++
	pause(l.stops.intake, min(retryFirst<<min(l.failures-1, 10), retryMax))
}

const (
	retryFirst = 50 * time.Millisecond
	retryMax   = 5 * time.Second
)

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
