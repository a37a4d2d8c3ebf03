package consumer

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A record can end the process that works on it: a crash in the model's
// runtime, the kernel's out-of-memory killer, a call that never returns. Its
// partition goes to the next worker, which ends too. A guard finds the record,
// by what the commits of ended leases say:
//
//   - fresh: no lease ended uncleanly. The commit says that work begins, then
//     all goes to the pool.
//   - probation: one lease did. A window of records goes to the pool at a time,
//     and the commit before it says which. When all that the lease can have
//     had is answered, it is free.
//   - suspected: another did, within such a window. Its records go to the pool
//     one by one, with nothing else in flight in the process, and the commit
//     before each says which. The one that ends such a lease often enough is
//     answered with an error, without being run.
//
// So a record is passed over only for ends at which it was alone in flight.
// A worker that something else kills again and again, soon after its start,
// must not make it look guilty: each time it was alone at an end, it waits for
// longer before it is run, unmarked, so that such an end finds it waiting.
type guard struct {
	marks
	stage   stage
	left    int           // records that probation lasts for at most
	horizon int64         // the end of the log when probation began, or unknown
	gated   bool          // what comes waits
	waiting []*kgo.Record // in flight, but not handed to the pool
	ready   time.Time     // when the suspect may be run; zero until it could be
}

type stage int

const (
	fresh stage = iota
	probation
	suspected
	free
)

const (
	// crowdEnds is the number of unclean ends in company after which records
	// are under suspicion.
	crowdEnds = 2
	// window is the number of records on probation at a time: a batch's.
	window = 64
)

// soloPause is the wait before a record is run that was alone at that many
// unclean ends.
func soloPause(solos int) time.Duration {
	if solos == 0 {
		return 0
	}
	return min(time.Second<<(2*min(solos-1, 10)), 30*time.Second)
}

func newGuard() guard {
	return guard{marks: marks{suspect: unknown, until: unknown}, gated: true, left: unknown, horizon: unknown}
}

// resume takes over the marks of an earlier lease. One that is open has not
// been closed: its worker has ended.
func (g *guard) resume(m marks) {
	g.marks = m
	g.open, g.alone = false, false
	if m.open && m.alone {
		g.solo++
	} else if m.open {
		g.crowd = min(g.crowd+1, crowdEnds) // more of them say no more
	}
	switch {
	case g.crowd == 0:
		g.stage = fresh
	case g.crowd < crowdEnds || g.until < 0:
		g.stage = probation
	default:
		g.stage = suspected
	}
}

// acquitIdle ends a guard over a partition that has nothing unanswered: its
// last worker had nothing in flight either. end is that of the log. mu is held.
func (l *lease) acquitIdle(end int64) {
	if l.guard.crowd+l.guard.solo > 0 && l.tracker.n == 0 && l.tracker.watermark >= end {
		l.guard.acquit()
		l.changes++
	}
}

// acquit ends the guard.
func (g *guard) acquit() {
	g.marks = marks{open: g.open, suspect: unknown, until: unknown}
	g.stage = free
}

// attempts is how often the head was worked on, this time included.
func (g *guard) attempts() int { return g.crowd + g.solo + 1 }

// wantsHold keeps a partition whose records wait from taking the whole budget.
func (g *guard) wantsHold(most int, held bool) bool {
	if g.stage != probation && g.stage != suspected {
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
	g, watermark := &l.guard, l.tracker.watermark
	if g.suspect >= 0 && watermark > g.suspect {
		g.suspect, g.solo, g.alone, g.ready = unknown, 0, false, time.Time{}
	}
	if l.running() > 0 {
		return
	}
	if g.stage == suspected {
		beyond := len(g.waiting) > 0 && g.waiting[0].Offset > g.until
		if watermark > g.until || beyond {
			g.acquit()
			l.changes++
		}
	}
	if g.stage == probation && (g.left == 0 || g.horizon >= 0 && watermark >= g.horizon) {
		g.acquit()
		l.changes++
	}
}

// suspects says that records under suspicion are in flight.
func (l *lease) suspects() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.closed && l.guard.stage == suspected && l.inFlight > 0
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
	if l.closed || g.stage != suspected || len(g.waiting) == 0 || l.running() > 0 {
		return pass{}, false
	}
	head := g.waiting[0].Offset
	if g.suspect != head {
		g.suspect, g.solo, g.ready = head, 0, time.Time{}
	}
	if g.solo >= solos {
		return pass{lease: l, n: 1, guilty: true}, true
	}
	if !quiet {
		return pass{}, false
	}
	if g.ready.IsZero() {
		g.ready = time.Now().Add(soloPause(g.solo))
	}
	if wait := time.Until(g.ready); wait > 0 {
		return pass{lease: l, wait: wait}, true
	}
	g.ready = time.Time{}
	g.open, g.alone = true, true
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
	switch g.stage {
	case fresh:
		g.open = true
		l.changes++
		return pass{lease: l, mark: true}, true
	case free:
		return pass{lease: l}, true
	case probation:
		if l.running() > 0 {
			return pass{}, false
		}
		if g.left < 0 {
			g.left = probationLasts
		}
		n := min(window, len(g.waiting), g.left)
		g.open, g.until = true, g.waiting[n-1].Offset
		g.left -= n
		l.changes++
		return pass{lease: l, n: n, mark: true}, true
	case suspected: // is nextSuspect's
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
	if g.stage == fresh {
		g.stage = free
	}
	if len(recs) == 0 {
		g.gated = false
	}
	return recs
}
