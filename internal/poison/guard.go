// Package poison finds the record that ends the processes which work on it.
//
// A record can end its process: a crash in the model's runtime, the kernel's
// out-of-memory killer, a call that never returns. Its partition goes to the
// next worker, which ends too. A guard finds the record, by what the commits of
// ended leases say:
//
//   - fresh: no lease ended uncleanly. The commit says that work begins, then
//     all is worked on.
//   - probation: one lease did. A window of records is worked on at a time, and
//     the commit before it says which. When all that the lease can have had is
//     answered, the partition is free.
//   - suspected: another did, within such a window, or a third, within a narrower
//     one. Its records are worked on one by one, with nothing else in flight in the process, and the commit
//     before each says which. The one that ends such a lease often enough is
//     answered with an error, without being run.
//
// So a record is passed over only for ends at which it was alone in flight.
// A worker that something else kills again and again, soon after its start,
// must not make it look guilty: each time it was alone at an end, it waits for
// longer before it is run, unmarked, so that such an end finds it waiting.
package poison

import (
	"strconv"
	"time"

	"github.com/millrace/millrace/internal/checkpoint"
	"github.com/millrace/millrace/internal/wire"
)

// Guard is what a partition's lease knows of how work on its records ended. It
// is a value: a copy may run ahead of what is committed.
type Guard struct {
	checkpoint.Marks
	stage   Stage
	crowds  int       // unclean ends in company after which records are run alone
	narrow  bool      // on probation after two of them
	left    int64     // records that probation lasts for at most
	horizon int64     // the end of the log when probation began, or unknown
	ready   time.Time // when the suspect may be run; zero until it could be
}

// Stage is how far the search in a partition is.
type Stage int

// The stages of a lease.
const (
	Fresh     Stage = iota // it has to be said that work begins
	Probation              // a window at a time
	Suspected              // one record at a time, alone
	Free                   // as it comes
)

const (
	// CrowdEnds is the least number of unclean ends in company after which
	// records are under suspicion.
	CrowdEnds = 2
	// window is the number of records on probation at a time: a batch's.
	window = 64
	// narrow is that of those among which two workers have ended.
	narrow = 8
)

// soloPause is the wait before a record is run that was alone at that many
// unclean ends.
func soloPause(solos int) time.Duration {
	if solos == 0 {
		return 0
	}
	return min(time.Second<<(2*min(solos-1, 10)), 30*time.Second)
}

// New is the guard of a lease that no other left anything to. After crowds
// unclean ends in company records are under suspicion: CrowdEnds, or one more,
// before which those of the second are on probation in narrower windows.
func New(crowds int) Guard {
	return Guard{Marks: checkpoint.Unmarked(), crowds: crowds, left: checkpoint.Unknown, horizon: checkpoint.Unknown}
}

// Resume takes over the marks of an earlier lease. One that is open has not
// been closed: its worker has ended.
func (g *Guard) Resume(m checkpoint.Marks) {
	g.Marks = m.Ended()
	if m.Open && m.Alone {
		g.Solo++
	} else if m.Open {
		g.Crowd = min(g.Crowd+1, g.crowds) // more of them say no more
	}
	switch {
	case g.Crowd == 0:
		g.stage = Fresh
	case g.Crowd < CrowdEnds || g.Until < 0:
		g.stage = Probation
	case g.Crowd < g.crowds:
		g.stage, g.narrow, g.horizon = Probation, true, g.Until+1
	default:
		g.stage = Suspected
	}
}

// Stage is how far the search is.
func (g *Guard) Stage() Stage { return g.stage }

// Guards says that the partition's records are not worked on as they come.
func (g *Guard) Guards() bool { return g.stage == Probation || g.stage == Suspected }

// Begin says that work begins.
func (g *Guard) Begin() { g.Open = true }

// Began takes note that the broker knows, and that no search is on.
func (g *Guard) Began() {
	if g.stage == Fresh {
		g.stage = Free
	}
}

// acquit ends the search. A lease that was not at work yet is as one that was
// left nothing: it has to say that it begins.
func (g *Guard) acquit() {
	open := g.Open
	g.Marks = checkpoint.Unmarked()
	g.Open = open
	g.stage = Free
	if !open {
		g.stage = Fresh
	}
}

// Idle ends the search in a partition that has nothing unanswered: its last
// worker had nothing in flight either. It says whether there was one.
func (g *Guard) Idle() bool {
	if g.Crowd+g.Solo == 0 {
		return false
	}
	g.acquit()
	return true
}

// Ends notes the end of the log, of which the first look counts: what comes
// later, no ended lease has had.
func (g *Guard) Ends(end int64) {
	if g.horizon < 0 {
		g.horizon = end
	}
}

// Answered takes note that all below the watermark is answered.
func (g *Guard) Answered(watermark int64) {
	if g.Suspect >= 0 && watermark > g.Suspect {
		g.Suspect, g.Solo, g.Alone, g.ready = checkpoint.Unknown, 0, false, time.Time{}
	}
}

// Pass ends the search when it has passed all that an ended lease can have had,
// while no record is worked on. head is the next record's offset, where it is
// known. It says whether it did.
func (g *Guard) Pass(watermark, head int64) bool {
	switch {
	case g.stage == Suspected && (watermark > g.Until || head > g.Until):
	case g.stage == Probation && (g.left == 0 || g.horizon >= 0 && watermark >= g.horizon):
	default:
		return false
	}
	g.acquit()
	return true
}

// Window is the number of records that may be worked on at once while on
// probation.
func (g *Guard) Window() int64 {
	if g.narrow {
		return narrow
	}
	return window
}

// Take returns how many of n records may be worked on at once while on
// probation, which lasts for so many at most.
func (g *Guard) Take(n, lasts int64) int64 {
	if g.left < 0 {
		g.left = lasts
	}
	n = min(g.Window(), n, g.left)
	g.left -= n
	return n
}

// Name says which records on probation are worked on: those up to an offset.
func (g *Guard) Name(until int64) { g.Open, g.Until = true, until }

// Verdict is what becomes of the record at the head of a partition under
// suspicion.
type Verdict struct {
	Guilty bool          // it is answered with an error
	Run    bool          // it is run, alone
	Wait   time.Duration // neither, before that
}

// Try judges the record at the head, which is guilty after that many ends at
// which it was alone. quiet says that nothing else is in flight in the process.
func (g *Guard) Try(head int64, solos int, quiet bool) Verdict {
	if g.Suspect != head {
		g.Suspect, g.Solo, g.ready = head, 0, time.Time{}
	}
	if g.Solo >= solos {
		return Verdict{Guilty: true}
	}
	if !quiet {
		return Verdict{}
	}
	if g.ready.IsZero() {
		g.ready = time.Now().Add(soloPause(g.Solo))
	}
	if wait := time.Until(g.ready); wait > 0 {
		return Verdict{Wait: wait}
	}
	return Verdict{Run: true}
}

// Isolate says that the suspect is worked on, alone.
func (g *Guard) Isolate() {
	g.ready = time.Time{}
	g.Open, g.Alone = true, true
}

// Condemned is how the suspect is answered, without being run.
func (g *Guard) Condemned() wire.Delivery {
	n := g.Crowd + g.Solo
	return wire.Delivery{
		Attempts: n, Code: wire.ModelFailed,
		Message: "workers ended " + strconv.Itoa(n) + " times at this request, " + strconv.Itoa(g.Solo) + " of them with no other at work",
	}
}
