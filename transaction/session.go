package transaction

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/metrics"
)

// writes counts requests. inits are those that take the transactional id anew:
// the client does so within the end of a transaction when the broker's answer to
// a commit left open what became of it; the session tells that as an abort.
type writes struct {
	inits atomic.Int64
	ends  atomic.Int64 // of transactions
}

// OnBrokerWrite implements [kgo.HookBrokerWrite].
func (w *writes) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, _ error) {
	switch key {
	case int16(kmsg.InitProducerID):
		w.inits.Add(1)
	case int16(kmsg.EndTxn):
		w.ends.Add(1)
	}
}

// id is the lane's transactional id.
func (l *lane) id() string { return l.cfg.ID + "-" + strconv.Itoa(l.n) }

// instance is the name that makes the lane a static member, "" for none.
func (l *lane) instance() string {
	if l.member.InstanceID == "" {
		return ""
	}
	return l.member.InstanceID + "-" + strconv.Itoa(l.n)
}

func (l *lane) options() []kgo.Opt {
	start := kgo.NewOffset().AtStart()
	if l.member.OffsetReset == resetLatest {
		start = kgo.NewOffset().AtEnd()
	}
	fetch := max(1<<16, l.member.FetchMaxBytes/int32(l.cfg.lanes())) //nolint:gosec // at most 64
	opts := append(slices.Clone(l.Client), l.Produce()...)
	opts = append(opts,
		kgo.TransactionalID(l.id()),
		kgo.TransactionTimeout(l.cfg.Timeout),
		// All that a transaction publishes fits: handing it over never blocks.
		kgo.MaxBufferedRecords(4*l.most()),
		kgo.ConsumerGroup(l.member.Group),
		kgo.ConsumeTopics(l.Topics...),
		kgo.ConsumeResetOffset(start),
		kgo.DisableAutoCommit(),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		// They are polled to be committed: else an idle transactional topic
		// keeps a lag of one for ever.
		kgo.KeepControlRecords(),
		kgo.FetchMaxBytes(fetch),
		kgo.FetchMaxPartitionBytes(min(1<<20, fetch)),
		kgo.SessionTimeout(l.member.SessionTimeout),
		kgo.RebalanceTimeout(l.member.RebalanceTimeout),
		kgo.HeartbeatInterval(l.member.HeartbeatInterval),
		// From the first poll of a transaction to its end: a rebalance waits
		// for that, and aborts nothing.
		kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsCallbackBlocked(l.block),
		kgo.OnPartitionsAssigned(l.assigned),
		kgo.OnPartitionsRevoked(l.revoked),
		kgo.OnPartitionsLost(l.lost),
		kgo.OnOffsetsFetched(l.fetched),
		kgo.AdjustFetchOffsetsFn(l.starting),
		kgo.WithHooks(&l.writes),
	)
	if id := l.instance(); id != "" {
		opts = append(opts, kgo.InstanceID(id))
	}
	if l.member.Protocol == protocolConsumer {
		return append(opts, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()))
	}
	return append(opts, kgo.Balancers(kgo.CooperativeStickyBalancer()))
}

// connect takes a new client, and with it the transactional id: what a crashed
// worker left open under it is aborted here and now, and holds up nobody.
func (l *lane) connect() error {
	session, err := kgo.NewGroupTransactSession(l.options()...)
	if err != nil {
		return fmt.Errorf("lane's client: %w", err)
	}
	l.session, l.cl = session, session.Client()
	l.answers = l.Publisher(l.cl)
	_, _, err = l.cl.ProducerID(l.stops.intake)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kerr.InvalidTransactionTimeout):
		return fmt.Errorf("MILLRACE_TRANSACTION_TIMEOUT: %s is above the broker's transaction.max.timeout.ms: %w", l.cfg.Timeout, err)
	}
	return fmt.Errorf("%w: transactional id %s: %w", errReconnect, l.id(), err)
}

// fenced says that somebody else took the transactional id, or that the broker
// ended a transaction that was open for too long.
func fenced(err error) bool {
	return errors.Is(err, kerr.ProducerFenced) || errors.Is(err, kerr.InvalidProducerEpoch)
}

// judge says what an error of a transaction means for the lane. open is how
// long the transaction was.
func (l *lane) judge(err error, open time.Duration) error {
	if fenced(err) && !l.cfg.Own && open < l.cfg.Timeout {
		return fmt.Errorf("%w %s: give each live worker one of its own by MILLRACE_TRANSACTIONAL_ID: %w", ErrFenced, l.id(), err)
	}
	return fmt.Errorf("%w: %w", errReconnect, err)
}

// end aborts a cycle of which nothing was published, or, without one, makes the
// session forget that partitions were moved.
func (l *lane) end(c *cycle, commit kgo.TransactionEndTry) error {
	if err := l.session.Begin(); err != nil {
		l.abandon(c)
		return l.judge(err, 0)
	}
	return l.ended(c, time.Now(), commit)
}

// endSession ends the transaction. known is that the broker has said what
// became of it.
func (l *lane) endSession(ctx context.Context, commit kgo.TransactionEndTry) (committed, known bool, err error) {
	l.mu.Lock()
	l.moved = false // the session forgets it too
	l.ending, l.ends = bool(commit), l.writes.ends.Load()
	l.mu.Unlock()
	// A commit waits for a heartbeat, which the broker's own assignor may
	// hold back until a rebalance has had its way.
	grace := l.member.revokeDrain()
	if l.member.Protocol == protocolConsumer {
		grace = 250 * time.Millisecond
	}
	allow := time.AfterFunc(grace, l.cl.AllowRebalance)
	inits := l.writes.inits.Load()
	committed, err = l.session.End(ctx, commit)
	allow.Stop()
	known = committed || err == nil && l.writes.inits.Load() == inits
	l.mu.Lock()
	l.ending = false
	l.doubt = l.doubt || bool(commit) && !known
	l.mu.Unlock()
	l.tooLong(err)
	return committed, known, err
}

// ended ends the transaction and gives its answers their end.
func (l *lane) ended(c *cycle, begun time.Time, commit kgo.TransactionEndTry) error {
	committed, known, err := l.endSession(kgo.PreTxnCommitFnContext(l.stops.hard, l.advances), commit)
	if c == nil {
		if err != nil {
			return l.judge(err, 0)
		}
		return nil
	}
	l.answers.Ended(committed)
	switch {
	case committed:
		l.committed(c)
		return nil
	case known || err == nil && !bool(commit):
		return l.aborted(c, time.Since(begun))
	}
	result := metrics.TransactionUnknown
	if !commit {
		result = metrics.TransactionAborted
	}
	l.note(c, result)
	l.keep(c)
	if err == nil {
		err = errNotCommitted
	}
	// The broker may have committed all the same. A new client begins at the
	// offsets that are stable then, whichever way it went.
	return l.judge(errors.Join(c.failure(), err), time.Since(begun))
}

var errNotCommitted = errors.New("the broker refused a commit")

// aborted notes an abort that the session knows about: it goes back to what is
// committed.
func (l *lane) aborted(c *cycle, open time.Duration) error {
	l.note(c, metrics.TransactionAborted)
	l.keep(c)
	why := c.failure()
	switch {
	case l.hasMoved() || errors.Is(why, ErrRevoked) || errors.Is(why, ErrLost) || errors.Is(why, ErrStopped):
		return nil
	case fenced(why):
		return l.judge(why, open)
	case why == nil: // the group changed, mostly
		why = errNotCommitted
	}
	if l.failures == 0 {
		l.Log.Warn("a transaction was aborted; its requests are taken up again", "lane", l.n, "error", why)
	}
	l.pause()
	return nil
}

// committed moves the watermarks, and tells who waits for the answers.
func (l *lane) committed(c *cycle) {
	l.mu.Lock()
	marks := make(map[partition]int64, len(l.parts))
	for p, held := range l.parts {
		if held.committed != held.polled {
			held.committed, held.since = held.polled, time.Time{}
			held.done = held.done.From(held.committed)
		}
		if held.next.set {
			held.guard, held.epoch = held.next.guard, held.next.epoch
			held.said, held.own = held.next.guard.Marks, true
		}
		marks[p] = held.committed
	}
	l.mu.Unlock()
	l.failures = 0
	l.note(c, metrics.TransactionCommitted)
	resolve(c.close(), nil)
	l.release(c)
	if !l.memo.empty() {
		l.memo.keep(func(p partition, offset int64) bool {
			mark, held := marks[p]
			return held && offset >= mark
		}, ErrLost)
	}
}

// keep puts the answers of a cycle that was not committed into the memo, but
// for those of partitions that are gone.
func (l *lane) keep(c *cycle) {
	entries := c.close()
	kept, gone := entries[:0:0], entries[:0:0]
	l.mu.Lock()
	for _, held := range l.parts {
		held.polled = held.committed
	}
	for _, e := range entries {
		if l.parts[partition{e.answer.Request.Topic, e.answer.Request.Partition}] != nil {
			kept = append(kept, e)
		} else {
			gone = append(gone, e)
		}
	}
	l.mu.Unlock()
	resolve(gone, ErrLost)
	l.memo.put(kept)
	l.release(c)
}

// abandon gives a cycle up that is never committed.
func (l *lane) abandon(c *cycle) {
	if c != nil {
		l.keep(c)
	}
}

// release takes a cycle's records out of flight, when all its answers are told
// their end or kept elsewhere.
func (l *lane) release(c *cycle) {
	clear(c.entries)
	l.room = c.entries
	l.Metrics.InFlightRecords.Sub(float64(c.records))
	l.Metrics.InFlightBytes.Sub(float64(c.bytes))
}

// note counts a transaction that has ended.
func (l *lane) note(c *cycle, result string) {
	l.Transactions.Ended.WithLabelValues(result).Inc()
	l.Transactions.Seconds.Observe(time.Since(c.begun).Seconds())
	l.Transactions.Records.Observe(float64(c.records))
}
