package sharegroup

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/metrics"
)

const (
	// ackBound is the longest wait for the broker to take acknowledgements.
	// Those it has not taken by then go with the next poll.
	ackBound = 10 * time.Second
	// ackAgain is how soon acknowledgements that met with an error that may
	// pass are sent again: the client keeps them until it is asked to.
	ackAgain = 250 * time.Millisecond
)

var errNotTaken = errors.New("not acknowledged in time")

// tally counts acknowledgements of one round trip.
type tally map[partition]map[kgo.AckStatus]int

func (t tally) add(r *kgo.Record, s kgo.AckStatus) {
	p := partition{r.Topic, r.Partition}
	if t[p] == nil {
		t[p] = make(map[kgo.AckStatus]int)
	}
	t[p][s]++
}

// tell acknowledges what has an outcome. At the end of a batch that is all of
// it: a record without an outcome is released, and so are, only then, those
// that are to be delivered again.
func (l *lane) tell(ctx context.Context, b *batch, end bool) {
	sent := make(tally)
	b.mu.Lock()
	for _, s := range b.slots {
		if end && s.ack == 0 {
			s.ack = kgo.AckRelease
		}
		if s.told || s.ack == 0 || s.ack == kgo.AckRelease && !end {
			continue
		}
		s.told = true
		sent.add(s.rec, s.ack)
		s.rec.Ack(s.ack)
	}
	b.mu.Unlock()
	l.flush(ctx, sent)
}

// renew acknowledges what is finished, and extends the locks of what is not.
func (l *lane) renew(ctx context.Context, b *batch) {
	l.tell(ctx, b, false)
	sent := make(tally)
	b.mu.Lock()
	for _, s := range b.slots {
		if !s.told {
			sent.add(s.rec, kgo.AckRenew)
			s.rec.Ack(kgo.AckRenew)
		}
	}
	b.mu.Unlock()
	// The record's own deadline does not move: the lock is counted from here,
	// before the broker counts it.
	now := time.Now()
	if l.flush(ctx, sent) {
		b.due = now.Add(b.lock / 2)
	} else {
		b.due = time.Now().Add(b.lock / 10)
	}
}

// flush waits until the broker has answered to what was acknowledged, and
// counts. It returns whether all of it was taken.
func (l *lane) flush(ctx context.Context, sent tally) bool {
	if len(sent) == 0 {
		return true
	}
	l.mu.Lock()
	clear(l.acked)
	l.mu.Unlock()
	err := l.flushAcks(ctx)
	l.mu.Lock()
	acked := maps.Clone(l.acked)
	l.mu.Unlock()
	ok := true
	for p, types := range sent {
		failure, answered := acked[p]
		if failure == nil && !answered {
			failure = err
		}
		ok = ok && failure == nil
		result := metrics.ResultOK
		if failure != nil {
			result = metrics.ResultError
		}
		for status, n := range types {
			l.Series.Acks.WithLabelValues(label(status), result).Add(float64(n))
		}
		l.noteAck(p, failure)
	}
	return ok
}

func (l *lane) flushAcks(ctx context.Context) error {
	deadline := time.Now().Add(ackBound)
	for {
		once, cancel := context.WithTimeout(context.WithoutCancel(ctx), ackAgain)
		err := l.cl.FlushAcks(once)
		cancel()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return errNotTaken
		}
	}
}

// acknowledged is what the client calls with the broker's answers.
func (l *lane) acknowledged(_ *kgo.Client, results kgo.ShareAckResults) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range results {
		p := partition{r.Topic, r.Partition}
		l.acked[p] = errors.Join(l.acked[p], r.Err)
	}
}

// noteAck logs an error when it changes.
func (l *lane) noteAck(p partition, err error) {
	if err == nil {
		delete(l.ackErrs, p)
		return
	}
	if l.ackErrs[p] == err.Error() {
		return
	}
	l.ackErrs[p] = err.Error()
	l.Log.Warn("acknowledgements are not taken; their requests will be answered again",
		"topic", p.topic, "partition", p.id, "lane", l.id, "error", err)
}

func label(s kgo.AckStatus) string {
	switch s {
	case kgo.AckAccept:
		return metrics.AckAccept
	case kgo.AckReject:
		return metrics.AckReject
	case kgo.AckRenew:
		return metrics.AckRenew
	case kgo.AckRelease:
	}
	return metrics.AckRelease
}
