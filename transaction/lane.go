package transaction

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/checkpoint"
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
	writes   writes
	limit    int // most requests of the next transaction
	failures int // transactions in a row that failed
	room     []entry
	alone    *part // whose record has the pool for itself, while the broker has it marked

	joined  atomic.Bool   // the group has given this lane its assignment
	blocked chan struct{} // capacity 1: a rebalance waits for the transaction

	mu        sync.Mutex // guards what follows
	parts     map[partition]*part
	space     int  // for what commits say, in bytes
	ending    bool // a commit is under way, begun when ends transactions had ended
	ends      int64
	doubt     bool               // how a commit ended is not known: what is committed is not
	moved     bool               // partitions were taken since the last transaction ended: the session aborts the next
	returning bool               // the lane leaves the group to come back
	interrupt context.CancelFunc // ends the poll under way
}

func newLane(t *Intake, n int) *lane {
	return &lane{
		Intake: t, n: n, memo: newMemo(2 * t.most()), limit: min(firstLimit, t.most()),
		blocked: make(chan struct{}, 1), parts: make(map[partition]*part), space: checkpoint.Max,
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
		l.loosen()
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

func (l *lane) hasMoved() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.moved
}

// finish waits for the verdicts of a cycle's records, and commits them.
func (l *lane) finish(c *cycle) error {
	full := c.records >= l.limit
	if err := l.await(c.ready, c); err != nil {
		if errors.Is(err, ErrStalled) {
			l.blame(c)
		}
		l.abandon(c)
		if errors.Is(err, ErrStalled) {
			return err
		}
		return nil
	}
	l.unshare()
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
