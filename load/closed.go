package load

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// spawn is the closed loop: it starts the users at their rate and waits for all of
// them.
func spawn(ctx context.Context, cfg *Config, r *recorder) {
	var users sync.WaitGroup
	defer users.Wait()
	start := time.Now()
	for n := range cfg.Users {
		// Counted from the start, so that lateness does not add up.
		if cfg.SpawnRate > 0 && !sleep(ctx, time.Until(start.Add(time.Duration(float64(n)/cfg.SpawnRate*float64(time.Second))))) {
			return
		}
		users.Go(func() {
			r.users.Add(1)
			defer r.users.Add(-1)
			for ctx.Err() == nil {
				request(ctx, cfg, r, time.Now())
				if !sleep(ctx, pause(cfg)) {
					return
				}
			}
		})
	}
}

// pause is how long a user thinks this time.
func pause(cfg *Config) time.Duration {
	share := 1 + cfg.Spread*(2*rand.Float64()-1) //nolint:gosec // no secret
	return time.Duration(float64(cfg.Think) * share)
}
