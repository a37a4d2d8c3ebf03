package load

import (
	"context"
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
				if !sleep(ctx, cfg.Think) {
					return
				}
			}
		})
	}
}
