package sharegroup

import (
	"context"
	"time"
)

// progress is when the number of records that came back was last found changed.
type progress struct {
	answered int64
	at       time.Time
}

// watchLoop looks for stalls until ctx ends.
func (q *Queue) watchLoop(ctx context.Context, stop context.CancelCauseFunc) {
	tick := time.NewTicker(min(time.Second, q.member.WatchdogTimeout/4))
	defer tick.Stop()
	p := progress{at: time.Now()}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if q.watch(&p) {
			q.stalled.Store(true)
			stop(ErrStalled)
			return
		}
	}
}

// watch looks for a batch whose work in flight has stopped. With a slow model
// it may wait in the pool for those of other lanes; its turn has come when as
// many records came back as can be in flight, and never does when none does.
func (q *Queue) watch(p *progress) bool {
	now, answered := time.Now(), q.answered.Load()
	if answered != p.answered {
		*p = progress{answered, now}
	}
	for _, l := range q.lanes {
		l.mu.Lock()
		b := l.batch
		l.mu.Unlock()
		if b == nil {
			continue
		}
		b.mu.Lock()
		left, still, others := b.left, now.Sub(b.moved), answered-b.since
		b.mu.Unlock()
		waits := now.Sub(p.at) <= q.member.WatchdogTimeout && others <= int64(q.cfg.Lanes*q.cfg.Records)
		if left == 0 || still <= q.member.WatchdogTimeout || waits {
			continue
		}
		q.Log.Error("work in flight makes no progress; leaving the share group", "lane", l.id, "in_flight", left, "still", still)
		q.Metrics.WatchdogTrips.Inc()
		return true
	}
	return false
}
