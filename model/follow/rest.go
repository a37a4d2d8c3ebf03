package follow

import (
	"context"
	"math/rand/v2"
	"time"
)

// rest waits until it is time for the next poll, or sooner when one is asked for.
// Those that are asked for are spread too, since the whole pool is asked.
func (t *target) rest(ctx context.Context, wait time.Duration) {
	due := time.Now().Add(wait)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case <-t.Moved:
			return
		case <-t.wanted:
			return
		case within := <-t.Wake:
			sooner := rand.N(within + 1) //nolint:gosec // spreads load, guards nothing
			if at := time.Now().Add(sooner); at.Before(due) {
				due = at
				timer.Reset(sooner)
			}
		}
	}
}
