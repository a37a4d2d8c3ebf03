package transaction

import "time"

// watch looks for a cycle whose records have stopped. That they stand still is
// not enough: with a slow model they wait in the pool for those of other lanes.
// Their turn has come when as many were answered as can be in flight, and it
// never does when none is answered.
type watch struct {
	*lane
	c *cycle // nil: what is waited for is not the pool's

	own      progress // of the cycle
	all      progress // of the pool
	answered int64    // by the pool, when the cycle last made progress
}

type progress struct {
	n  int64
	at time.Time
}

func (l *lane) watch(c *cycle) *watch {
	now := time.Now()
	return &watch{lane: l, c: c, own: progress{-1, now}, all: progress{-1, now}}
}

// still says for how long nothing has moved; 0 while something does.
func (w *watch) still(now time.Time) time.Duration {
	if w.c == nil {
		return 0
	}
	if n := w.lane.answered.Load(); n != w.all.n {
		w.all = progress{n, now}
	}
	if n := int64(w.c.waiting()); n != w.own.n {
		w.own, w.answered = progress{n, now}, w.all.n
	}
	if others := w.all.n - w.answered; now.Sub(w.all.at) <= w.member.WatchdogTimeout && others <= int64(w.member.MaxRecords) {
		return 0
	}
	return now.Sub(w.own.at)
}

// blame notes that the leases of records that stand still end uncleanly.
func (l *lane) blame(c *cycle) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p, stuck := range c.unanswered() {
		if held := l.parts[p]; held != nil && stuck {
			held.stuck = true
		}
	}
}

func (l *lane) stall(still time.Duration) error {
	l.Log.Error("work in flight makes no progress; leaving the group", "lane", l.n, "still", still)
	l.Metrics.WatchdogTrips.Inc()
	l.stalled.Store(true)
	return ErrStalled
}
