//go:build integration

package integration

import (
	"bytes"
	"io"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model/remote/remotetest"
)

// TestCrowd holds that 600 users at a gateway before one slow worker get answers
// or refusals and nothing else, that no more wait than may, and that the
// gateway's memory stays small. How long either takes is printed.
func TestCrowd(t *testing.T) {
	const users, places, length = 600, 50, 20 * time.Second
	b := newBroker(t)
	b.topics(t)
	endpoint := remotetest.New(t, remotetest.Options{})
	endpoint.Break(func(_ http.ResponseWriter, r *http.Request) bool {
		if path.Base(r.URL.Path) == "infer" {
			time.Sleep(50 * time.Millisecond)
		}
		return false
	})
	startWorker(t, "worker", b, "MILLRACE_MODEL="+endpoint.Ref(), "MILLRACE_EXECUTORS=1", "MILLRACE_MAX_BATCH=8")
	gateway := startGateway(t, b, "MILLRACE_GATEWAY_MAX_WAITING_PER_WORKER="+strconv.Itoa(places), "MILLRACE_GROUP_LAG_INTERVAL=1s")
	number := func(series string) float64 {
		text, err := get(t.Context(), gateway+"/metrics")
		require.NoError(t, err)
		found := regexp.MustCompile(`(?m)^` + series + ` (\S+)$`).FindSubmatch(text)
		if found == nil {
			return 0 // not known yet
		}
		v, err := strconv.ParseFloat(string(found[1]), 64)
		require.NoError(t, err)
		return v
	}
	require.Eventually(t, func() bool { return number("millrace_gateway_workers") == 1 }, 30*time.Second, 100*time.Millisecond)

	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: users}, Timeout: time.Minute}
	defer client.CloseIdleConnections()
	var mu sync.Mutex
	took := make(map[int][]time.Duration) // guarded by mu, by status
	var crowd sync.WaitGroup
	end := time.Now().Add(length)
	for range users {
		crowd.Go(func() {
			for time.Now().Before(end) {
				began := time.Now()
				res, err := client.Post(gateway+"/predict", "application/json", bytes.NewReader([]byte(`{"inputs": [[1, 2, 3, 4]]}`))) //nolint:noctx // bounded by the client's timeout
				if err != nil {
					t.Error(err)
					return
				}
				_, err = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
				mu.Lock()
				took[res.StatusCode] = append(took[res.StatusCode], time.Since(began))
				mu.Unlock()
				if err != nil {
					t.Error(err)
				}
				if res.StatusCode == http.StatusServiceUnavailable {
					pause, err := strconv.Atoi(res.Header.Get("Retry-After"))
					if err != nil || pause < 1 {
						t.Errorf("Retry-After %q", res.Header.Get("Retry-After"))
					}
					time.Sleep(min(time.Second, time.Until(end)))
				}
			}
		})
	}
	most, memory := 0.0, 0.0
	for time.Now().Before(end) {
		most = max(most, number("millrace_gateway_waiting_requests"))
		memory = max(memory, number("process_resident_memory_bytes"))
		time.Sleep(100 * time.Millisecond)
	}
	crowd.Wait()
	for status, list := range took {
		slices.Sort(list)
		at := func(share float64) time.Duration {
			return list[int(share*float64(len(list)-1))].Round(time.Millisecond / 10)
		}
		t.Logf("%d: %d requests, p50 %s, p95 %s, p99 %s", status, len(list), at(.5), at(.95), at(.99))
	}
	t.Logf("waiting at most %.0f, resident memory at most %.1f MiB", most, memory/(1<<20))
	require.NotEmpty(t, took[http.StatusOK])
	require.NotEmpty(t, took[http.StatusServiceUnavailable])
	require.Len(t, took, 2, "answers and refusals")
	require.LessOrEqual(t, most, float64(places))
	require.Less(t, memory, float64(256<<20))
}
