//go:build integration

package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
	assignment "github.com/millrace/millrace/split"
)

const shadows = "inference.shadow"

// TestSplit divides requests between a champion and a challenger, with a shadow
// beside them, while the challenger is aborted, comes back and is promoted by
// its alias, and a worker is killed: nothing is lost, and each request is
// answered by the version that its key is assigned to.
func TestSplit(t *testing.T) {
	const total = 80_000
	reg := sharedRegistry(t)
	name := reg.affineModel(t)
	reg.register(t, affine(t, 3), name, "shadow")
	reg.point(t, name, "challenger", "2")
	challenger := "models:/" + name + "@challenger"
	b := newBroker(t)
	b.topics(t)
	made, err := kadm.NewClient(b.client(t)).CreateTopics(t.Context(), partitions, 1, nil, shadows)
	require.NoError(t, err)
	require.NoError(t, made.Error())
	env := []string{
		"MLFLOW_TRACKING_URI=" + reg.url, "MILLRACE_MODEL=models:/" + name + "@champion", "MILLRACE_SPLIT=" + challenger + "=20",
		"MILLRACE_SHADOW=models:/" + name + "@shadow=10", "MILLRACE_SESSION_TIMEOUT=6s", "MILLRACE_HEARTBEAT_INTERVAL=1s",
	}
	first, second := startWorker(t, "worker-1", b, env...), startWorker(t, "worker-2", b, env...)
	seen := watchShadows(t, b)
	share := func(want string, workers ...*worker) {
		for _, w := range workers {
			w.shows(t, `millrace_split_share_ratio{reference="`+challenger+`"} `+want+"\n")
		}
	}
	share("0.2", first, second)
	first.shows(t, `"shadow":{"queued"`) // nothing is "off" before it
	second.shows(t, `"shadow":{"queued"`)

	f := startTraffic(t, b, total, 4_000)
	var stages []stage
	// stage holds the answers of the requests that are sent from here on, for a
	// while, to what a key should have.
	during := func(version func(i int) string, n int) {
		s := stage{from: int(f.sent.Load()) + 500, version: version}
		s.to = s.from + n
		f.reach(t, min(s.to+500, total), 2*time.Minute)
		stages = append(stages, s)
	}
	divided := func(i int) string {
		if assignment.Bucket(challenger, []byte(strconv.Itoa(i))) < 2000 {
			return "2"
		}
		return "1"
	}
	only := func(version string) func(int) string { return func(int) string { return version } }

	during(divided, 10_000)
	reg.unpoint(t, name, "challenger")
	share("0", first, second)
	during(only("1"), 8_000)
	reg.point(t, name, "challenger", "2")
	share("0.2", first, second)
	second.kill()
	t.Log("worker-2 is killed")
	third := startWorker(t, "worker-3", b, env...)
	share("0.2", third)
	during(divided, 12_000)
	reg.point(t, name, "champion", "2")
	share("0", first, third)
	during(only("2"), 5_000)
	f.reach(t, total, 2*time.Minute)

	b.requireNoLag(t, group)
	got := f.check(t)
	t.Logf("answers by version: %v; %d answered twice", got.versions, got.duplicates)
	require.Len(t, got.versions, 2)
	for _, s := range stages {
		f.requireVersions(t, s)
	}
	seen.check(t, f)
}

// stage is a range of requests with the version that is to answer each.
type stage struct {
	from, to int
	version  func(i int) string
}

// requireVersions looks at all answers, repeated ones too.
func (f *traffic) requireVersions(t *testing.T, s stage) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	counts := map[string]int{}
	for _, a := range f.seen {
		if i := f.at[a.id]; i >= s.from && i < s.to {
			require.Equal(t, s.version(i), a.version, "request %d of those from %d to %d", i, s.from, s.to)
			counts[a.version]++
		}
	}
	t.Logf("requests %d to %d: %v", s.from, s.to, counts)
	require.NotEmpty(t, counts)
}

// shows waits for a text in a worker's metrics or its models.
func (w *worker) shows(t *testing.T, text string) {
	t.Helper()
	require.Eventually(t, func() bool {
		for _, path := range []string{"/metrics", "/models"} {
			body, err := get(t.Context(), "http://"+w.addr+path)
			if err == nil && strings.Contains(string(body), text) {
				return true
			}
		}
		return false
	}, time.Minute, 50*time.Millisecond, "%s is not shown", text)
}

// unpoint deletes an alias.
func (r *registry) unpoint(t *testing.T, model, alias string) {
	t.Helper()
	body, err := json.Marshal(map[string]string{"name": model, "alias": alias})
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, r.url+"/api/2.0/mlflow/registered-models/alias", bytes.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	_, err = do(req)
	require.NoError(t, err)
}

// results of the shadow, by the request's id.
type shadowed struct {
	mu  sync.Mutex
	all map[string]map[string]string // headers
}

func watchShadows(t *testing.T, b *broker) *shadowed {
	t.Helper()
	s := &shadowed{all: make(map[string]map[string]string)}
	cl := b.client(t, kgo.ConsumeTopics(shadows))
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
				h := make(map[string]string)
				for _, one := range r.Headers {
					h[one.Key] = string(one.Value)
				}
				s.mu.Lock()
				s.all[h[wire.ID]] = h
				s.mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return s
}

// check holds that the shadow ran on what was answered, and on its share alone.
func (s *shadowed) check(t *testing.T, f *traffic) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, h := range s.all {
		i, ok := f.at[id]
		require.True(t, ok, "a result of no request: %s", id)
		require.Equal(t, []string{"ok", "3", "true", wire.ShadowType}, []string{h[wire.Status], h[wire.ModelVersion], h[wire.Differs], h[wire.Type]})
		require.Equal(t, strconv.Itoa(i), h[wire.CorrelationID])
		require.Contains(t, []string{"1", "2"}, h[wire.PrimaryVersion])
	}
	t.Logf("%d results of the shadow", len(s.all))
	require.InDelta(t, f.total/10, len(s.all), float64(f.total)/20, "a tenth, less what found no room")
}
