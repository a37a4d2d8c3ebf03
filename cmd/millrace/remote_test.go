package main

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/model/remote/remotetest"
)

// refused answers inferences alone with a status.
func refused(status int) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/infer") {
			return false
		}
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(status)
		return true
	}
}

// A model that is served elsewhere is followed, kept away from while it fails,
// and taken up again; no secret of its URL shows anywhere.
func TestWorkerWithARemoteModel(t *testing.T) {
	c := newKafka(t, freePort(t))
	createAll(t, c, 1)
	s := remotetest.New(t, remotetest.Options{Binary: true, MaxBatch: 8, Versions: []string{"1"}})
	p := start(t, home(t, "MILLRACE_MODEL=v2+"+strings.Replace(s.URL, "://", "://user:hunter2@", 1)+"/affine", "MILLRACE_MODEL_POLL=50ms",
		"MILLRACE_REMOTE_BREAKER_FAILURES=3", "MILLRACE_REMOTE_BREAKER_OPEN=100ms", "MILLRACE_PREDICT_BACKOFF=1ms"), "worker", "--brokers", c.ListenAddrs()[0])
	probes := p.probes(t)
	ready(t, probes)

	answers := resultsOf(t, c)
	produce(t, c, requests, `{"inputs": [[1, 2, 3, 4]]}`)
	require.JSONEq(t, `{"predictions": {"Y": [[10, 1]]}}`, <-answers)
	s.Serve("1", "2")
	eventually(t, func() bool { return strings.Contains(get(t, probes+"/models").body, `"version":"2"`) }, "version 2")
	produce(t, c, requests, `{"inputs": {"X": [[1, 2, 3, 4], [0, 0, 0, 1]]}}`)
	require.JSONEq(t, `{"predictions": {"Y": [[10, 2], [1, 2]]}}`, <-answers)

	s.Break(refused(http.StatusServiceUnavailable))
	produce(t, c, requests, `{"inputs": [[1, 2, 3, 4]]}`)
	require.Contains(t, <-answers, `"error_code":"UNAVAILABLE","message":"the remote model is not available"`)
	var models []struct {
		Reference string
		Flavor    string
		Signature string
		Endpoint  struct {
			URL       string `json:"url"`
			Breaker   string `json:"breaker"`
			LastError string `json:"last_error"`
		}
	}
	require.NoError(t, json.Unmarshal([]byte(get(t, probes+"/models").body), &models))
	require.Equal(t, s.Ref(), models[0].Reference)
	require.Equal(t, "v2", models[0].Flavor)
	require.Equal(t, "(X: float32[-1, 4]) -> (Y: float32[-1, 2])", models[0].Signature)
	require.Equal(t, s.URL, models[0].Endpoint.URL)
	require.Equal(t, "open", models[0].Endpoint.Breaker)
	require.Contains(t, models[0].Endpoint.LastError, "status 503")
	require.Contains(t, get(t, probes+"/metrics").body, "\nmillrace_remote_breaker_state{model=\"affine\"} 2\n")

	s.Break(nil)
	eventually(t, func() bool {
		produce(t, c, requests, `{"inputs": [[1, 2, 3, 4]]}`)
		return strings.Contains(<-answers, `[10.0, 2.0]`)
	}, "an answer")
	require.Contains(t, get(t, probes+"/metrics").body, "\nmillrace_remote_breaker_state{model=\"affine\"} 0\n")
	shown := get(t, probes+"/models").body + get(t, probes+"/metrics").body
	require.Zero(t, p.stop(t), p.err.String())
	require.NotContains(t, shown+p.err.String()+p.out.String(), "hunter2")
}

// resultsOf delivers the values of the results topic.
func resultsOf(t *testing.T, c *kfake.Cluster) <-chan string {
	t.Helper()
	cl := client(t, c.ListenAddrs()[0], kgo.ConsumeTopics(results), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	out := make(chan string, 64)
	go func() {
		for {
			fetches := cl.PollFetches(t.Context())
			if fetches.IsClientClosed() || t.Context().Err() != nil {
				return
			}
			fetches.EachRecord(func(r *kgo.Record) { out <- string(r.Value) })
		}
	}()
	return out
}

func TestModelCommandsWithARemoteModel(t *testing.T) {
	s := remotetest.New(t, remotetest.Options{Versions: []string{"3"}})
	env := home(t)
	secret := strings.Replace(s.Ref(), "://", "://:hunter2@", 1)
	got := tool(t.Context(), env, "", "model", "resolve", secret, "--output", "json")
	require.Zero(t, got.code, got.err)
	var facts map[string]string
	require.NoError(t, json.Unmarshal([]byte(got.out), &facts))
	require.Equal(t, "3", facts["version"])
	require.Equal(t, s.Ref(), facts["reference"])

	got = tool(t.Context(), env, "", "model", "inspect", secret)
	require.Zero(t, got.code, got.err)
	for _, line := range []string{"flavor     v2", "platform   test", "loads      yes", "batches    yes", "X  float32  [-1 4]", `{"inputs": {"X": [[0.5, 0.5, 0.5, 0.5]]}}`} {
		require.Contains(t, got.out, line)
	}
	require.NotContains(t, got.out+got.err, "hunter2")

	got = tool(t.Context(), env, `{"inputs": [[1, 2, 3, 4]]}`, "model", "predict", secret)
	require.Zero(t, got.code, got.err)
	require.JSONEq(t, `{"predictions": {"Y": [[10, 3]]}}`, got.out)

	s.Break(refused(http.StatusBadGateway))
	got = tool(t.Context(), env, "", "model", "inspect", s.Ref(), "--output", "json")
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.out, `"loads": false`)
	require.Contains(t, got.out, "not available")

	s.Close()
	got = tool(t.Context(), env, "{}", "model", "predict", secret)
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.err, "refused")
	require.NotContains(t, got.err, "hunter2")

	for _, bad := range []string{"v2+http://:hunter2@h", "v2+ftp://h/m", "mlflow+http://:hunter2@h:x"} {
		got = tool(t.Context(), env, "", "model", "resolve", bad)
		require.Equal(t, exitUsage, got.code, bad)
		require.NotContains(t, got.err, "hunter2")
		got = tool(t.Context(), append(home(t), "MILLRACE_MODEL="+bad), "", "worker")
		require.Equal(t, exitUsage, got.code, bad)
		require.Contains(t, got.err, "MILLRACE_MODEL: not a reference to a remote model")
		require.NotContains(t, got.err, "hunter2")
	}
}

// remote runs a worker whose model is behind an endpoint that fails.
func (m moved) remote(t *testing.T, c *kfake.Cluster) {
	t.Helper()
	s := remotetest.New(t, remotetest.Options{Binary: true})
	p := start(t, home(t, "MILLRACE_MODEL=remote="+s.Ref(), "MILLRACE_GROUP=remote", "MILLRACE_PREDICT_BACKOFF=1ms", "MILLRACE_REMOTE_BREAKER_FAILURES=3"),
		"worker", "--brokers", c.ListenAddrs()[0])
	probes := p.probes(t)
	ready(t, probes)
	s.Break(refused(http.StatusServiceUnavailable))
	eventually(t, func() bool {
		r := &kgo.Record{Topic: requests, Value: []byte(`{"inputs": [[1, 2, 3, 4]]}`), Headers: []kgo.RecordHeader{{Key: wire.Model, Value: []byte("remote")}}}
		require.NoError(t, client(t, c.ListenAddrs()[0]).ProduceSync(t.Context(), r).FirstErr())
		m.scrape(t, probes)
		return m["millrace_remote_breaker_state"] && m["millrace_predict_retries_total"]
	}, "the breaker opens")
	m.until(t, probes, "millrace_remote_requests_total", "millrace_remote_request_seconds", "millrace_remote_retries_total")
	require.Zero(t, p.stop(t), p.err.String())
}
