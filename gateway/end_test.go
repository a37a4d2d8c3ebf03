package gateway_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Who waits for a prediction may ask another gateway: a stop does not wait for it. Who
// waits for the answer to a request has the time of the drain.
func TestAStopEndsTheWaitForPredictions(t *testing.T) {
	stream := map[string]string{"Accept": "text/event-stream"}
	for name, c := range map[string]struct {
		ask    func(g *running, at string) response
		within time.Duration
		status int
		says   string
	}{
		"long poll": {func(g *running, at string) response { return g.get(at + "?wait=1m") }, time.Second, http.StatusAccepted, `"state":"pending"`},
		"list":      {func(g *running, at string) response { return g.get(strings.Replace(at, "s/", "s?id=", 1) + "&wait=1m") }, time.Second, http.StatusOK, `"state":"pending"`},
		"stream": {func(g *running, at string) response {
			return g.do(g.w.t.Context(), http.MethodGet, strings.Replace(at, "s/", "s?id=", 1), nil, stream)
		}, time.Second, http.StatusOK, "event: end\n"},
		"keyed request": {func(g *running, _ string) response {
			return g.post("{}", map[string]string{"Idempotency-Key": "k"})
		}, 21 * time.Second, http.StatusServiceUnavailable, "the gateway is stopping"},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				t := w.t
				w.worker(silent)
				g := w.ready(config())
				at := g.post("{}", later).header.Get("Location")
				result := make(chan response, 1)
				go func() { result <- c.ask(g, at) }()
				time.Sleep(time.Second)
				start := time.Now()
				require.NoError(t, g.stop())
				require.LessOrEqual(t, time.Since(start), c.within)
				res := <-result
				require.Equal(t, c.status, res.status, res.body)
				require.Contains(t, res.body, c.says)
			})
		})
	}
}
