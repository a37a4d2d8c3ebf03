package consumer

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/poison"
)

// guard keeps a lease's records from the pool until the search for the one that
// ends its workers lets them through.
type guard struct {
	poison.Guard
	gated   bool          // what comes waits
	waiting []*kgo.Record // in flight, but not handed to the pool
}

func newGuard() guard { return guard{Guard: poison.New(poison.CrowdEnds), gated: true} }

// acquitIdle ends a search in a partition that has nothing unanswered. end is
// that of the log. mu is held.
func (l *lease) acquitIdle(end int64) {
	if l.tracker.n == 0 && l.tracker.watermark >= end && l.guard.Idle() {
		l.changes++
	}
}

// wantsHold keeps a partition whose records wait from taking the whole budget.
func (g *guard) wantsHold(most int, held bool) bool {
	if !g.Guards() {
		return false
	}
	if held {
		return len(g.waiting) > most/8
	}
	return len(g.waiting) > most/2
}

// park keeps records back when the guard, or another's quarantine, wants it.
// It returns false when they may go to the pool, or are given back as the
// lease is closed.
func (l *lease) park(recs []*kgo.Record, quarantine bool) (parked, closed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false, true
	}
	if !l.guard.gated && !quarantine {
		return false, false
	}
	l.guard.gated = true
	l.guard.waiting = append(l.guard.waiting, recs...)
	return true, false
}

// progress moves the guard on by what has been answered.
func (l *lease) progress() {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := &l.guard
	g.Answered(l.tracker.watermark)
	if l.running() > 0 {
		return
	}
	head := int64(unknown)
	if len(g.waiting) > 0 {
		head = g.waiting[0].Offset
	}
	if g.Pass(l.tracker.watermark, head) {
		l.changes++
	}
}

// suspects says that records under suspicion are in flight.
func (l *lease) suspects() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.closed && l.guard.Stage() == poison.Suspected && l.inFlight > 0
}

// pass is what goes to the pool next.
type pass struct {
	lease  *lease
	wait   time.Duration // nothing goes until then
	n      int           // records; 0: all that wait, and the guard is off
	mark   bool          // after a commit
	alone  bool          // with nothing else in flight
	guilty bool          // it is answered with an error
}

// nextSuspect is the head, when it is to be run alone or to be passed over.
func (l *lease) nextSuspect(solos int, quiet bool) (pass, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := &l.guard
	if l.closed || g.Stage() != poison.Suspected || len(g.waiting) == 0 || l.running() > 0 {
		return pass{}, false
	}
	v := g.Try(g.waiting[0].Offset, solos, quiet)
	switch {
	case v.Guilty:
		return pass{lease: l, n: 1, guilty: true}, true
	case v.Wait > 0:
		return pass{lease: l, wait: v.Wait}, true
	case !v.Run:
		return pass{}, false
	}
	g.Isolate()
	l.changes++
	return pass{lease: l, n: 1, mark: true, alone: true}, true
}

// next is what waits and may go on.
func (l *lease) next(probationLasts int) (pass, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := &l.guard
	if l.closed || !g.gated || len(g.waiting) == 0 {
		return pass{}, false
	}
	switch g.Stage() {
	case poison.Fresh:
		g.Begin()
		l.changes++
		return pass{lease: l, mark: true}, true
	case poison.Free:
		return pass{lease: l}, true
	case poison.Probation:
		if l.running() > 0 {
			return pass{}, false
		}
		n := int(g.Take(int64(len(g.waiting)), int64(probationLasts)))
		g.Name(g.waiting[n-1].Offset)
		l.changes++
		return pass{lease: l, n: n, mark: true}, true
	case poison.Suspected: // is nextSuspect's
	}
	return pass{}, false
}

// take removes from what waits what a pass lets through. With none left to
// take, a guard that is off is opened.
func (l *lease) take(n int, answered int64) []*kgo.Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := &l.guard
	if l.running() == 0 {
		l.moved, l.moving, l.since = time.Now(), false, answered
	}
	if n > 0 {
		n = min(n, len(g.waiting))
		recs := slices.Clone(g.waiting[:n])
		g.waiting = slices.Delete(g.waiting, 0, n)
		return recs
	}
	recs := g.waiting
	g.waiting = nil
	g.Began()
	if len(recs) == 0 {
		g.gated = false
	}
	return recs
}
