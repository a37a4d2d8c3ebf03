package transaction

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/checkpoint"
	"github.com/millrace/millrace/internal/poison"
)

// What a partition's commits say beside the offset is how work on the records
// at it began: see package poison. It is said before these are run. A
// transaction that commits answers says it for what comes next, so that a
// transaction of its own is needed only when a lease begins, and before a
// record is run alone.
//
// It is never said by a plain commit while the lane stays in the group: one
// that is held up on its way, and comes after a later transaction, would take
// the offset back.

// advance is what a transaction under way makes of a partition, once it is
// committed.
type advance struct {
	guard poison.Guard
	epoch int32
	set   bool
}

// marking says that the broker keeps what is said.
func (l *lane) marking() bool { return l.space > 0 }

// named says that the broker knows that records up to an offset are worked on.
// It is called under mu.
func (l *lane) named(held *part, last int64) bool {
	switch {
	case held.committed < 0 || !l.marking():
		return true
	case held.guard.Stage() == poison.Suspected:
		return last < 0 // they are named one by one
	case held.guard.Stage() == poison.Probation:
		return held.marked && !held.stale && last <= held.said.Until
	}
	return held.marked && !held.stale
}

// allNamed says that nothing has to be named before what was polled is worked
// on, in any partition or in those polled only. It takes note of where their
// logs end.
func (l *lane) allNamed(fetches kgo.Fetches, polledOnly bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	ok := true
	for _, held := range l.parts {
		ok = ok && (polledOnly || l.named(held, checkpoint.Unknown))
	}
	fetches.EachPartition(func(f kgo.FetchTopicPartition) {
		held := l.parts[partition{f.Topic, f.Partition}]
		if held == nil || len(f.Records) == 0 {
			return
		}
		if f.LastStableOffset >= 0 {
			held.guard.Ends(f.LastStableOffset)
		}
		ok = ok && l.named(held, f.Records[len(f.Records)-1].Offset)
	})
	return ok
}

// atOnce is the most that a transaction may poll. While a partition is on
// probation it has one poll, of no more than a window.
func (l *lane) atOnce() (most int, once bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	most = l.limit
	for _, held := range l.parts {
		if held.guard.Stage() == poison.Probation && l.marking() {
			most, once = min(most, int(held.guard.Window())), true
		}
	}
	return most, once
}

// name says of all partitions that work on them begins, and of what was polled
// on probation how far it goes.
func (l *lane) name(fetches kgo.Fetches) error {
	last := make(map[partition]int64)
	fetches.EachPartition(func(f kgo.FetchTopicPartition) {
		if n := len(f.Records); n > 0 {
			last[partition{f.Topic, f.Partition}] = f.Records[n-1].Offset
		}
	})
	marks := make(map[*part]poison.Guard)
	l.mu.Lock()
	for p, held := range l.parts {
		upTo, polled := last[p]
		if !polled {
			upTo = checkpoint.Unknown
		}
		if l.named(held, upTo) || held.guard.Stage() == poison.Suspected {
			continue
		}
		marks[held] = begin(held.guard, held.committed, upTo)
	}
	l.mu.Unlock()
	return l.mark(marks)
}

// begin says that work begins at an offset, on probation with the records of a
// window from there.
func begin(g poison.Guard, from, upTo int64) poison.Guard {
	g.Begin()
	if g.Stage() == poison.Probation {
		g.Name(max(from+g.Window()-1, upTo))
	}
	return g
}

// giveBack goes back to what is committed, before anything that was polled is
// worked on.
func (l *lane) giveBack() error { return l.end(nil, kgo.TryAbort) }

// errPolled keeps a mark from committing more than itself.
var errPolled = errors.New("records were polled that nobody answered")

// mark commits what is said of partitions, at the offsets that are committed.
// What is refused is asked for again by who needs it.
func (l *lane) mark(marks map[*part]poison.Guard) error {
	if len(marks) == 0 || l.hasMoved() {
		return nil
	}
	if err := l.session.Begin(); err != nil {
		return l.judge(err, 0)
	}
	l.mu.Lock()
	for held := range marks {
		held.marked, held.stale = true, true // until it is known: it may be what the broker has
	}
	l.mu.Unlock()
	ctx := kgo.PreTxnCommitFnContext(l.stops.hard, func(req *kmsg.TxnOffsetCommitRequest) error {
		if len(req.Topics) > 0 {
			return errPolled
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		at := make(map[string]int)
		for held, g := range marks {
			i, ok := at[held.topic]
			if !ok {
				i = len(req.Topics)
				at[held.topic] = i
				req.Topics = append(req.Topics, kmsg.TxnOffsetCommitRequestTopic{Topic: held.topic})
			}
			p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
			p.Partition, p.Offset, p.LeaderEpoch = held.id, held.committed, held.epoch
			p.Metadata = new(held.text(g.Marks, held.committed, held.epoch, l.space))
			req.Topics[i].Partitions = append(req.Topics[i].Partitions, p)
		}
		return nil
	})
	committed, known, err := l.endSession(ctx, kgo.TryCommit)
	switch {
	case committed:
		l.failures = 0
		l.mu.Lock()
		for held, g := range marks {
			held.guard, held.said, held.own, held.stale = g, g.Marks, true, false
		}
		l.mu.Unlock()
		return nil
	case known: // the group changes, mostly
		pause(l.stops.intake, retryFirst)
		return nil
	}
	return l.judge(errors.Join(errNotCommitted, err), 0)
}

// text is what a commit of a partition says beside its offset. It is called
// under mu.
func (p *part) text(m checkpoint.Marks, offset int64, epoch int32, room int) string {
	cp := checkpoint.Checkpoint{Offset: offset, Epoch: epoch, Marks: m, Done: p.done.Above(offset)}
	return cp.Encode(room)
}

// advances has the transaction that commits answers say how work goes on.
func (l *lane) advances(req *kmsg.TxnOffsetCommitRequest) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, held := range l.parts {
		held.next.set = false
	}
	for i := range req.Topics {
		for j := range req.Topics[i].Partitions {
			p := &req.Topics[i].Partitions[j]
			held := l.parts[partition{req.Topics[i].Topic, p.Partition}]
			if held == nil || held.committed < 0 {
				continue
			}
			g := held.guard
			if g.Stage() == poison.Probation { // for as many as an ended lane can have had in flight
				g.Take(p.Offset-held.committed, int64(l.most()))
			}
			g.Answered(p.Offset)
			g.Pass(p.Offset, checkpoint.Unknown)
			switch {
			case g.Stage() == poison.Suspected:
				l.nameNext(held, &g, p.Offset)
			case held.marked:
				g = begin(g, p.Offset, checkpoint.Unknown)
			}
			held.next = advance{guard: g, epoch: p.LeaderEpoch, set: true}
			p.Metadata = new(held.text(g.Marks, p.Offset, p.LeaderEpoch, l.space))
		}
	}
	return nil
}

// tooLong makes do with less metadata: the broker's limit is configuration.
func (l *lane) tooLong(err error) {
	if !errors.Is(err, kerr.OffsetMetadataTooLarge) || !l.marking() {
		return
	}
	l.mu.Lock()
	if l.space /= 8; l.space < checkpoint.Least {
		l.space = 0
	}
	room := l.space
	l.mu.Unlock()
	l.Log.Warn("the broker takes less metadata with a commit (offset.metadata.max.bytes); with 0 bytes, records that end their workers are not found",
		"lane", l.n, "limit", room)
}
