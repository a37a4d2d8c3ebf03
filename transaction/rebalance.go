package transaction

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/checkpoint"
	"github.com/millrace/millrace/internal/lag"
	"github.com/millrace/millrace/internal/poison"
	"github.com/millrace/millrace/metrics"
)

// part is a partition that a lane holds. Its lease lasts from the assignment to
// the revocation.
type part struct {
	partition
	lease  context.Context //nolint:containedctx // Handed to the pool with each submission.
	cancel context.CancelCauseFunc

	// The lane's mu guards what follows; offsets below 0 are not known.
	committed  int64
	epoch      int32     // leader epoch of the record below it, -1 when unknown
	polled     int64     // the offset after the last that was polled
	since      time.Time // timestamp of the first that is not committed
	start, end int64     // of the log, as last heard

	guard     poison.Guard
	said      checkpoint.Marks // what the broker has of it
	own       bool             // and has it from this process
	next      advance          // what it becomes with the transaction under way
	done      checkpoint.Set   // answered above the committed offset, by an intake of another mode
	marked    bool             // this lease has said something
	stale     bool             // which has to be said anew
	concluded bool             // its end was said, or could not be
	stuck     bool             // the watchdog tripped over it: its end is not clean
	paused    bool             // not fetched
	again     time.Time        // under suspicion: not looked at before
}

// assigned opens leases.
func (l *lane) assigned(_ context.Context, cl *kgo.Client, got map[string][]int32) {
	l.joined.Store(true)
	l.sweep(cl)
	if len(got) == 0 {
		return
	}
	l.Metrics.Rebalances.WithLabelValues(metrics.RebalanceAssigned).Inc()
	l.Log.Info("partitions assigned", "lane", l.n, "partitions", got)
	l.mu.Lock()
	for topic, ids := range got {
		for _, id := range ids {
			l.open(partition{topic, id})
		}
	}
	l.mu.Unlock()
	l.askLag()
}

// sweep ends leases whose partitions were taken away without a word: the session
// tells of one revocation in a transaction, and swallows what follows. Such a
// lease must say nothing more, least of all its end, for another member may be
// beyond its offset. The client calls it after each revocation, and forgets the
// offsets of a partition with it.
func (l *lane) sweep(cl *kgo.Client) {
	have := cl.CommittedOffsets()
	gone := make(map[string][]int32)
	l.mu.Lock()
	for p, held := range l.parts {
		if _, ok := have[p.topic][p.id]; !ok && held.committed >= 0 {
			gone[p.topic] = append(gone[p.topic], p.id)
		}
	}
	l.mu.Unlock()
	if len(gone) == 0 {
		return
	}
	l.Metrics.Rebalances.WithLabelValues(metrics.RebalanceRevokedLate).Inc()
	l.Log.Info("partitions revoked within a transaction", "lane", l.n, "partitions", gone)
	l.drop(gone, ErrRevoked)
	cl.ResumeFetchPartitions(gone)
}

// open is called under mu.
func (l *lane) open(p partition) *part {
	opened := &part{partition: p, committed: unknown, polled: unknown, start: unknown, end: unknown, epoch: -1, guard: poison.New(l.crowds()), said: checkpoint.Unmarked()}
	opened.lease, opened.cancel = context.WithCancelCause(l.stops.work)
	if old := l.parts[p]; old != nil {
		old.cancel(ErrLost)
	}
	l.parts[p] = opened
	return opened
}

const unknown = checkpoint.Unknown

// starting learns where each partition begins. One without a commit gets its
// beginning said: after an abort the client goes back to what it was told here.
func (l *lane) starting(ctx context.Context, at map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	var ends *lag.Ends
	for topic, ids := range at {
		for id, o := range ids {
			offset := o.EpochOffset().Offset
			if offset < 0 {
				if ends == nil {
					read, err := lag.Read(ctx, l.admin, l.Topics)
					if err != nil {
						return nil, err
					}
					ends = &read
				}
				start, end, _ := ends.Of(topic, id)
				if offset = start; l.member.OffsetReset == resetLatest {
					offset = end
				}
				ids[id] = kgo.NewOffset().At(offset)
			}
		}
	}
	// All at once: the client takes all of them over, or asks again.
	l.mu.Lock()
	for topic, ids := range at {
		for id, o := range ids {
			if p := l.parts[partition{topic, id}]; p != nil {
				first := o.EpochOffset()
				p.committed, p.polled, p.epoch = first.Offset, first.Offset, first.Epoch
			}
		}
	}
	l.mu.Unlock()
	l.askLag()
	return at, nil
}

// fetched takes over what the commits of earlier leases say beside their
// offsets. The client calls it before starting.
func (l *lane) fetched(_ context.Context, _ *kgo.Client, resp *kmsg.OffsetFetchResponse) error {
	checkpoint.Fetched(resp, func(topic string, id int32, cp checkpoint.Checkpoint) {
		l.mu.Lock()
		held := l.parts[partition{topic, id}]
		took := held != nil && held.committed < 0
		if took {
			held.said, held.done = cp.Marks, cp.Done
			if held.own = l.left.Own(topic, id, cp); held.own {
				cp.Marks = cp.Ended()
			}
			held.guard.Resume(cp.Marks)
		}
		l.mu.Unlock()
		if took && cp.Open {
			l.Metrics.UncleanEnds.Inc()
			l.Log.Warn("a worker ended while it had the partition; its records start again under guard",
				"lane", l.n, "topic", topic, "partition", id, "offset", cp.Offset, "alone", cp.Alone)
		}
	})
	return nil
}

// revoked gives partitions up. The client calls it between two transactions,
// or, when one takes too long, within it, which aborts that.
func (l *lane) revoked(ctx context.Context, cl *kgo.Client, gone map[string][]int32) {
	l.sweep(cl)
	if len(gone) == 0 {
		return
	}
	l.Metrics.Rebalances.WithLabelValues(metrics.RebalanceRevoked).Inc()
	l.Log.Info("partitions revoked", "lane", l.n, "partitions", gone)
	// Bounded on its own, not by the client's context: while this call
	// blocks, the client cannot see that the session has ended.
	bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveBound)
	defer cancel()
	l.conclude(bound, cl, gone)
	l.drop(gone, ErrRevoked)
	cl.ResumeFetchPartitions(gone) // a pause must not outlive the lease
}

// lost gives up what another member may hold by now.
func (l *lane) lost(_ context.Context, cl *kgo.Client, gone map[string][]int32) {
	l.joined.Store(false)
	if len(gone) > 0 {
		l.Metrics.Rebalances.WithLabelValues(metrics.RebalanceLost).Inc()
		l.Log.Warn("partitions lost: the group had taken this member for dead", "lane", l.n, "partitions", gone)
	}
	l.drop(gone, ErrLost)
	cl.ResumeFetchPartitions(gone)
}

// drop ends leases and forgets their series. The answers in the memo are gone
// with them, unless the lane itself has left the group to come back.
func (l *lane) drop(gone map[string][]int32, cause error) {
	l.mu.Lock()
	l.moved = true
	if l.interrupt != nil {
		l.interrupt()
	}
	dropped := make(map[partition]bool)
	for topic, ids := range gone {
		for _, id := range ids {
			p := partition{topic, id}
			dropped[p] = true
			if held := l.parts[p]; held != nil {
				held.cancel(cause)
				if held.own && !held.stuck {
					l.left.Leave(topic, id, checkpoint.Checkpoint{Offset: held.committed, Marks: held.said})
				}
				delete(l.parts, p)
				lag.Forget(l.Metrics, topic, id)
			}
		}
	}
	returning := l.returning
	l.mu.Unlock()
	if !returning {
		l.memo.keep(func(p partition, _ int64) bool { return !dropped[p] }, cause)
	}
	l.exportLag()
}

// block is called when a rebalance waits for the transaction: it gathers no
// more.
func (l *lane) block(context.Context, *kgo.Client) {
	l.mu.Lock()
	if l.interrupt != nil {
		l.interrupt()
	}
	l.mu.Unlock()
	select {
	case l.blocked <- struct{}{}:
	default:
	}
}
