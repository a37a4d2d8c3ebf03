package transaction

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/poison"
	"github.com/millrace/millrace/internal/wire"
)

// Records under suspicion are run one by one, with nothing else in flight in
// the process. A lane that has some sees to them first: it fetches one record of
// such a partition, gives it back, waits until no other lane has records in the
// pool, commits which record it is, fetches it again, and runs it. The commit of
// its answer says that the next one is run, and that of the last that none is:
// then the other lanes go on.

// whole is all of the turns: who has them has the pool for itself.
func (t *Intake) whole() int64 { return int64(len(t.lanes)) }

// crowds is the number of unclean ends in company before records are run alone:
// with one more than the least, alone are those of a narrow window. To run one
// alone costs a transaction.
func (t *Intake) crowds() int { return min(poison.CrowdEnds+1, t.member.MaxAttempts-1) }

// share takes the lane's share of the pool. It gives back what was polled, and
// waits, when another lane has the pool for itself.
func (l *lane) share() (bool, error) {
	if l.alone != nil || l.turns.TryAcquire(1) {
		return true, nil
	}
	if err := l.giveBack(); err != nil {
		return false, err
	}
	l.cl.AllowRebalance()
	if l.turns.Acquire(l.stops.intake, 1) == nil {
		l.turns.Release(1)
	}
	return false, nil
}

// unshare is called when the pool has none of the lane's records any more.
func (l *lane) unshare() {
	if l.alone == nil {
		l.turns.Release(1)
	}
}

// nameNext has the commit of a suspect's answer name the next one, which is run
// at once: the pool is this lane's. It is called under mu.
func (l *lane) nameNext(held *part, g *poison.Guard, offset int64) {
	if l.alone != held || offset > g.Until || offset >= held.end {
		return
	}
	if g.Try(offset, l.member.MaxAttempts-l.crowds(), true).Run {
		g.Isolate()
	}
}

// loosen lets the other lanes go on once the broker no longer has a record of
// this one marked as alone, or has it no more to say.
func (l *lane) loosen() {
	if l.alone == nil {
		return
	}
	l.mu.Lock()
	over := l.parts[l.alone.partition] != l.alone || !l.alone.said.Alone
	l.mu.Unlock()
	if over {
		l.alone = nil
		l.turns.Release(l.whole())
	}
}

// suspect is a partition whose records are run alone, when its turn has come.
// until is when that of the next one comes, zero for never.
func (l *lane) suspect(now time.Time) (turn *part, until time.Time) {
	if l.alone != nil {
		return l.alone, time.Time{}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, held := range l.parts {
		switch {
		case held.guard.Stage() != poison.Suspected || held.end >= 0 && held.end <= held.committed:
		case !now.Before(held.again):
			if turn == nil || held.id < turn.id {
				turn = held
			}
		case until.IsZero() || held.again.Before(until):
			until = held.again
		}
	}
	return turn, until
}

// focus has only one partition fetched, or, with none, all that are not under
// suspicion.
func (l *lane) focus(only *part) {
	pause, resume := make(map[string][]int32), make(map[string][]int32)
	l.mu.Lock()
	for p, held := range l.parts {
		want := held != only
		if only == nil {
			want = held.guard.Stage() == poison.Suspected
		}
		switch {
		case want == held.paused:
		case want:
			pause[p.topic] = append(pause[p.topic], p.id)
		default:
			resume[p.topic] = append(resume[p.topic], p.id)
		}
		held.paused = want
	}
	l.mu.Unlock()
	if len(pause) > 0 {
		l.cl.PauseFetchPartitions(pause)
	}
	if len(resume) > 0 {
		l.cl.ResumeFetchPartitions(resume)
	}
}

const (
	// fetchWait is the longest wait for a record that should be there: a fetch
	// of other partitions may be under way, which the broker answers within 5 s.
	fetchWait = 6 * time.Second
	// lookAgain is the time after which a partition under suspicion that had
	// nothing is looked at again; the others have their turn meanwhile.
	lookAgain = time.Second
)

// isolate takes the next record of a partition under suspicion in, when it may
// be run or is passed over.
func (l *lane) isolate(held *part) (*cycle, error) {
	l.focus(held)
	wait, cancel := context.WithTimeout(l.stops.intake, fetchWait)
	fetches := l.poll(wait, 1)
	late := wait.Err() != nil
	cancel()
	if l.hasMoved() {
		return nil, l.giveBack()
	}
	var head *kgo.Record
	fetches.EachRecord(func(r *kgo.Record) { head = r })
	if head == nil && l.fetchErr.Note(fetches, l.Log, l.Metrics.FetchErrors.Inc) {
		pause(l.stops.intake, 100*time.Millisecond)
	}
	if head == nil && !late { // the poll was ended by what happens to partitions
		return nil, nil //nolint:nilnil // Nothing came, and that is no error.
	}
	if head == nil || head.Topic != held.topic || head.Partition != held.id {
		return nil, l.putOff(held, head != nil)
	}
	switch v, condemned, over := l.judgeHead(held, head); {
	case over || v.Wait > 0:
		return nil, l.giveBack()
	case v.Run:
		return nil, l.takePool(held)
	case v.Guilty:
		return l.pick(fetches, &condemned)
	}
	return l.pick(fetches, nil)
}

// judgeHead says what becomes of the record at the head of a partition under
// suspicion: no verdict is on one that has been named, or needs no answer. The
// search is over when it is none of those in question.
func (l *lane) judgeHead(held *part, head *kgo.Record) (v poison.Verdict, condemned wire.Delivery, over bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := &held.guard
	switch {
	case head.Attrs.IsControl() || held.answered(head):
	case held.marked && !held.stale && held.said.Alone && held.said.Suspect == head.Offset:
		l.Metrics.IsolatedRuns.Inc()
	case g.Pass(held.committed, head.Offset):
		held.stale, over = true, true
	default:
		v = g.Try(head.Offset, l.member.MaxAttempts-l.crowds(), true)
		condemned = g.Condemned()
		held.again = time.Now().Add(v.Wait)
	}
	return v, condemned, over
}

// putOff leaves a partition under suspicion that has nothing to poll to later.
// The pool is not kept for it meanwhile.
func (l *lane) putOff(held *part, polled bool) error {
	l.mu.Lock()
	held.again = time.Now().Add(lookAgain)
	g, alone := held.guard, held.marked && held.said.Alone
	l.mu.Unlock()
	if polled {
		if err := l.giveBack(); err != nil {
			return err
		}
	}
	if !alone {
		return nil
	}
	g.Alone = false
	return l.mark(map[*part]poison.Guard{held: g})
}

// takePool has the pool for this lane alone, and says for which record.
func (l *lane) takePool(held *part) error {
	if err := l.giveBack(); err != nil {
		return err
	}
	if l.alone == nil {
		l.cl.AllowRebalance()
		if err := l.turns.Acquire(l.stops.intake, l.whole()); err != nil {
			return nil //nolint:nilerr // The intake has ended, and with it the turns.
		}
		l.alone = held
	}
	l.mu.Lock()
	g := held.guard
	l.mu.Unlock()
	g.Isolate()
	return l.mark(map[*part]poison.Guard{held: g})
}

// pick begins a cycle of one record, with the verdict on it if there is one.
func (l *lane) pick(fetches kgo.Fetches, verdict *wire.Delivery) (*cycle, error) {
	if ok, err := l.share(); !ok {
		return nil, err
	}
	c := newCycle(l.room)
	l.room = nil
	c.verdict = verdict
	l.take(c, fetches)
	c.seal()
	return c, nil
}

// condemn has a record answered without being run.
func (l *lane) condemn(r *kgo.Record, d wire.Delivery) {
	l.Metrics.PoisonRecords.Inc()
	l.Log.Error("the record is passed over: workers ended while they worked on it",
		"topic", r.Topic, "partition", r.Partition, "offset", r.Offset, "attempts", d.Attempts)
	wire.Deliver(r, d)
}

// answered says that an intake of another mode has answered a record. It is
// called under mu.
func (p *part) answered(r *kgo.Record) bool {
	return p.done.From(r.Offset).StartsWith(r.Offset, r.LeaderEpoch)
}
