//go:build integration

package integration

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/internal/kafka"
	"github.com/millrace/millrace/model/follow"
)

// allTopics makes every topic of Millrace.
func (b *broker) allTopics(t *testing.T) {
	t.Helper()
	require.NoError(t, kafka.EnsureTopics(t.Context(), b.client(t), kafka.Topics{
		Requests: requests, Results: results, Replies: replies, DeadLetters: deadLetters, Cancelled: "inference.cancellations",
		Models: "inference.models", Partitions: partitions, Replication: 1,
	}, slog.New(slog.DiscardHandler)))
}

// counter is a proxy before a registry that counts the calls of its REST API.
type counter struct {
	*httptest.Server
	mu    sync.Mutex
	calls map[string]int // by path
}

func (r *registry) counted(t *testing.T) *counter {
	t.Helper()
	to, err := url.Parse(r.url)
	require.NoError(t, err)
	c := &counter{calls: make(map[string]int)}
	proxy := httputil.NewSingleHostReverseProxy(to)
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		c.mu.Lock()
		c.calls[strings.TrimPrefix(req.URL.Path, "/api/2.0/")]++
		c.mu.Unlock()
		proxy.ServeHTTP(w, req)
	}))
	t.Cleanup(c.Close)
	return c
}

// reset returns the calls since the last look.
func (c *counter) reset() (calls map[string]int, total int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	calls, c.calls = c.calls, make(map[string]int)
	for _, n := range calls {
		total += n
	}
	return calls, total
}

// status asks a worker what it makes of its first model.
func (w *worker) status(t *testing.T) (s follow.Status) {
	t.Helper()
	text, err := get(t.Context(), "http://"+w.addr+"/models")
	require.NoError(t, err)
	var all []follow.Status
	require.NoError(t, json.Unmarshal(text, &all))
	require.NotEmpty(t, all)
	return all[0]
}

func (w *worker) tells(t *testing.T, line string) bool {
	t.Helper()
	text, err := get(t.Context(), "http://"+w.addr+"/metrics")
	require.NoError(t, err)
	return strings.Contains(string(text), "\n"+line+"\n")
}

// serves waits until workers serve a version.
func serves(t *testing.T, version string, within time.Duration, workers ...*worker) {
	t.Helper()
	for _, w := range workers {
		require.Eventually(t, func() bool { return w.status(t).Version == version }, within, 50*time.Millisecond,
			"%s does not come to serve version %s", w.name, version)
	}
}

// metric reads a counter without labels.
func metric(t *testing.T, text []byte, name string) int {
	t.Helper()
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			var n float64
			require.NoError(t, json.Unmarshal([]byte(strings.TrimSpace(value)), &n))
			return int(n)
		}
	}
	return 0
}
