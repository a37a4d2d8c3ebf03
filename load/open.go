package load

import (
	"context"
	"sync"
	"time"
)

// notSent is why a request failed that was due and found no place.
const notSent = "not sent: as many as --max-in-flight were under way"

// drive is the open loop: each request has a time at which it is due, evenly spaced
// within a step, and is sent then, or as soon as a place is free. What it took
// counts from the time that it was due, so that a service that stands still is
// blamed for all who would have come meanwhile.
//
// See Gil Tene, "How NOT to Measure Latency", on coordinated omission.
func drive(ctx context.Context, cfg *Config, r *recorder) {
	var senders sync.WaitGroup
	defer senders.Wait()
	due := make(chan time.Time) // unbuffered: a free sender takes it at once
	defer close(due)
	started := 0
	start := time.Now()
	for i := 0; ; i++ {
		at, ok := dueAt(cfg.Steps, i)
		if !ok {
			<-ctx.Done() // what is under way may end within the test
			return
		}
		when := start.Add(at)
		if !sleep(ctx, time.Until(when)) {
			return
		}
		select {
		case due <- when:
			continue
		default:
		}
		if started < cfg.MaxInFlight {
			started++
			senders.Go(func() {
				request(ctx, cfg, r, when)
				for next := range due {
					request(ctx, cfg, r, next)
				}
			})
			continue
		}
		select {
		case due <- when:
		case <-ctx.Done():
			r.missed(overdue(cfg.Steps, i, time.Since(start)))
			return
		}
	}
}

// dueAt is when request i of the steps is due, counted from the start; ok is false
// when there is none.
func dueAt(steps []Step, i int) (at time.Duration, ok bool) {
	n := float64(i)
	for _, s := range steps {
		// A request at the very end of a step is the first of the next.
		if in := s.Rate * s.For.Seconds(); s.For == 0 || n < in-1e-9 {
			return at + time.Duration(n/s.Rate*float64(time.Second)), true
		} else { //nolint:revive // in is of this branch as well
			n -= in
		}
		at += s.For
	}
	return 0, false
}

// overdue counts the requests from i on that were due by then.
func overdue(steps []Step, i int, by time.Duration) int64 {
	n := int64(0)
	for {
		at, ok := dueAt(steps, i+int(n))
		if !ok || at > by {
			return n
		}
		n++
	}
}
