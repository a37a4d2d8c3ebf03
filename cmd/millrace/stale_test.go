package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model/follow"
)

// A worker that restarts while the registry is away serves the version that its
// reference named last, and says so, until the registry is back.
func TestWorkerStartsWithoutTheRegistry(t *testing.T) {
	c := newKafka(t, freePort(t))
	createAll(t, c, 1)
	reg := newFakeRegistry(t)
	var away atomic.Bool
	var refused atomic.Int32
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if away.Load() {
			refused.Add(1)
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		reg.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	got := tool(t.Context(), reg.env(t), "", "model", "register", versioned(t, 1, ""), "--name", "sums", "--alias", "champion")
	require.Zero(t, got.code, got.err)

	env := home(t, "MLFLOW_TRACKING_URI="+front.URL, "MILLRACE_MODEL_CACHE_DIR="+filepath.Join(t.TempDir(), "cache"),
		"MILLRACE_MODEL_POLL=100ms", "MILLRACE_MODEL_RETRY_MIN=50ms", "MILLRACE_MODEL_STALE_AFTER=200ms",
		"MILLRACE_TOPIC_MODELS=none") // whose last word would do as well
	worker := func(more ...string) *process {
		return start(t, append(env, more...), "worker", "--model", "models:/sums@champion", "--brokers", c.ListenAddrs()[0])
	}
	status := func(p string) (s []follow.Status) {
		require.NoError(t, json.Unmarshal([]byte(get(t, p+"/models").body), &s))
		return s
	}
	first := worker()
	probes := first.probes(t)
	ready(t, probes)
	require.Empty(t, status(probes)[0].Stale)
	require.Zero(t, first.stop(t), first.err.String())

	away.Store(true)
	second := worker()
	probes = second.probes(t)
	second.find(t, `level=WARN msg="the registry is out of reach; starting with the version that the reference named last, which may have moved" reference=models:/sums@champion version=1`)
	ready(t, probes)
	now := status(probes)[0]
	require.Equal(t, "1", now.Version)
	require.Contains(t, now.Stale, "this is what the reference named on 20")
	require.True(t, now.LastPoll.IsZero(), "the registry has never answered")
	require.Contains(t, get(t, probes+"/metrics").body, `millrace_model_polls_total{model="sums",result="error"}`)
	require.NotContains(t, get(t, probes+"/metrics").body, "\nmillrace_model_last_poll_timestamp_seconds{")

	got = tool(t.Context(), reg.env(t), "", "model", "register", versioned(t, 2, ""), "--name", "sums", "--alias", "champion")
	require.Zero(t, got.code, got.err)
	away.Store(false)
	eventually(t, func() bool { s := status(probes)[0]; return s.Version == "2" && s.Stale == "" }, "the registry is asked again")
	require.Zero(t, second.stop(t), second.err.String())

	away.Store(true)
	third := worker("MILLRACE_MODEL_STALE_AFTER=0s")
	probes = third.probes(t)
	refused.Store(0)
	eventually(t, func() bool { return refused.Load() > 1 }, "the registry is asked until it answers")
	require.Empty(t, status(probes)[0].Version)
	require.Zero(t, third.stop(t), third.err.String())
}
