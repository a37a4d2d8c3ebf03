package split

import (
	"sync"
	"time"
)

// guard counts what a version did with its requests, window after window.
type guard struct {
	Config
	mu       sync.Mutex // guards what follows
	since    time.Time
	requests int
	failures int
}

// ran counts n requests.
func (g *guard) ran(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now := time.Now(); now.Sub(g.since) > g.Window {
		g.since, g.requests, g.failures = now, 0, 0
	}
	g.requests += n
}

// failed counts a failure, and says whether it is one too many, of how many
// requests.
func (g *guard) failed() (failures, requests int, tripped bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.failures++
	// More failures than requests are left of a window before.
	failures, requests = min(g.failures, g.requests), g.requests
	tripped = g.MaxFailures < 100 && requests >= g.MinRequests && float64(failures)*100 > g.MaxFailures*float64(requests)
	return failures, requests, tripped
}

// reset begins anew, for another version.
func (g *guard) reset() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.since, g.requests, g.failures = time.Time{}, 0, 0
}
