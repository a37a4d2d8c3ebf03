//go:build integration

package integration

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model/onnx/onnxtest"
)

// TestOneAsksForAll holds that five workers cost the registry one request a
// period, that a promotion reaches all of them, and that another asks when the
// one that was elected is stopped, as a process is, and when it is killed.
func TestOneAsksForAll(t *testing.T) {
	const period, periods = time.Second, 20
	reg := sharedRegistry(t)
	name := reg.affineModel(t)
	proxy := reg.counted(t)
	b := newBroker(t)
	b.allTopics(t)
	env := []string{
		"MLFLOW_TRACKING_URI=" + proxy.URL, "MILLRACE_MODEL=models:/" + name + "@champion", "MILLRACE_MODEL_POLL=" + period.String(),
		"MILLRACE_MODEL_POLLER_SESSION=6s",
	}
	var workers []*worker
	for _, n := range []string{"worker-1", "worker-2", "worker-3", "worker-4", "worker-5"} {
		workers = append(workers, startWorker(t, n, b, env...))
	}
	elected := func(among []*worker) (found *worker) {
		require.Eventually(t, func() bool {
			found = nil
			for _, w := range among {
				if w.tells(t, "millrace_model_poller 1") {
					found = w
				}
			}
			return found != nil
		}, time.Minute, 100*time.Millisecond, "none is elected")
		return found
	}
	elected(workers)
	alone := func(w *worker) int {
		text, err := get(t.Context(), "http://"+w.addr+"/metrics")
		require.NoError(t, err)
		return metric(t, text, "millrace_model_unannounced_polls_total")
	}
	// The members join one by one, and each asks at its start.
	require.Eventually(t, func() bool {
		proxy.reset()
		time.Sleep(3 * period)
		_, n := proxy.reset()
		return n <= 4
	}, time.Minute, time.Millisecond)
	before := 0
	for _, w := range workers {
		before += alone(w)
	}
	time.Sleep(periods * period) // what is counted takes this long
	calls, n := proxy.reset()
	t.Logf("in %d periods five workers asked %d times: %v", periods, n, calls)
	require.LessOrEqual(t, n, periods*5/4+1, "%v", calls) // a period is jittered by a fifth
	require.GreaterOrEqual(t, n, periods*4/5-1, "%v", calls)
	after := 0
	for _, w := range workers {
		after += alone(w)
	}
	require.Equal(t, before, after, "somebody asked by itself")

	reg.point(t, name, "champion", "2")
	serves(t, "2", 20*time.Second, workers...)

	first := elected(workers)
	first.signal(syscall.SIGSTOP)
	others := without(workers, first)
	reg.point(t, name, "champion", "1")
	second := elected(others)
	serves(t, "1", 30*time.Second, others...)
	first.signal(syscall.SIGCONT)
	serves(t, "1", 30*time.Second, workers...)
	require.Eventually(t, func() bool { return !first.tells(t, "millrace_model_poller 1") }, 30*time.Second, 100*time.Millisecond)

	second.kill()
	others = without(workers, second)
	elected(others)
	reg.point(t, name, "champion", "2")
	serves(t, "2", 30*time.Second, others...)
}

func without(all []*worker, one *worker) (rest []*worker) {
	for _, w := range all {
		if w != one {
			rest = append(rest, w)
		}
	}
	return rest
}

// TestWebhookOfMLflow has the registry itself tell a worker that an alias moved.
func TestWebhookOfMLflow(t *testing.T) {
	const secret = "a secret of these tests"
	reg := sharedRegistry(t)
	name := reg.affineModel(t)
	b := newBroker(t)
	b.allTopics(t)
	env := []string{
		"MLFLOW_TRACKING_URI=" + reg.url, "MILLRACE_MODEL=models:/" + name + "@champion", "MILLRACE_MODEL_POLL=1h", "MILLRACE_WEBHOOK_SECRET=" + secret,
	}
	first := startWorker(t, "worker-1", b, env...)
	second := startWorker(t, "worker-2", b, env...)
	body, err := json.Marshal(map[string]any{
		"name": "millrace", "url": "http://" + second.addr + "/webhooks/mlflow", "secret": secret,
		"events": []map[string]string{{"entity": "MODEL_VERSION_ALIAS", "action": "CREATED"}},
	})
	require.NoError(t, err)
	_, err = post(t.Context(), reg.url+"/api/2.0/mlflow/webhooks", body)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		return first.tells(t, "millrace_model_poller 1") || second.tells(t, "millrace_model_poller 1")
	}, time.Minute, 100*time.Millisecond)
	serves(t, "1", time.Minute, first, second)
	time.Sleep(2 * time.Second) // the server looks for its webhooks once a second
	reg.point(t, name, "champion", "2")
	serves(t, "2", 30*time.Second, first, second)
	require.True(t, second.tells(t, `millrace_webhooks_total{result="taken"} 1`))
	_, err = post(t.Context(), "http://"+second.addr+"/webhooks/mlflow", []byte("{}"))
	require.ErrorContains(t, err, "401")
}

// TestRollbackUnderLoad promotes a version that passes all that is tried before
// it serves, and fails what is really asked. Both workers go back to the version
// before, and every request is answered.
func TestRollbackUnderLoad(t *testing.T) {
	const total = 60_000
	reg := sharedRegistry(t)
	name := reg.affineModel(t)
	reg.register(t, likeAffine(t, onnxtest.Brittle(3)), name, "")
	b := newBroker(t)
	b.allTopics(t)
	env := []string{"MLFLOW_TRACKING_URI=" + reg.url, "MILLRACE_MODEL=models:/" + name + "@champion"}
	workers := []*worker{startWorker(t, "worker-1", b, env...), startWorker(t, "worker-2", b, env...)}
	f := startTraffic(t, b, total, 4_000, func(f *traffic) { f.failing = "3" })
	f.reach(t, total/4, time.Minute)
	reg.point(t, name, "champion", "3")
	for _, w := range workers {
		require.Eventually(t, func() bool { s := w.status(t); return s.LeftAlone != nil && s.Version == "1" }, 30*time.Second, 50*time.Millisecond,
			"%s does not go back", w.name)
		s := w.status(t)
		require.Equal(t, "3", s.LeftAlone.Version)
		t.Logf("%s: %s", w.name, s.LeftAlone.Detail)
	}
	// Who comes now does not take it either.
	late := startWorker(t, "worker-3", b, env...)
	require.Equal(t, "1", late.status(t).Version)
	require.Equal(t, "3", late.status(t).LeftAlone.Version)
	f.reach(t, total/2, time.Minute)
	reg.point(t, name, "champion", "2")
	serves(t, "2", 30*time.Second, append(workers, late)...)
	f.reach(t, total, time.Minute)

	b.requireNoLag(t, group)
	got := f.check(t)
	t.Logf("answers by version: %v; %d failed", got.versions, got.failed)
	require.Positive(t, got.failed)
	require.Positive(t, got.versions["1"])
	require.Positive(t, got.versions["2"])
}

// TestReferencesThatMove follows the latest version and a stage, and a model
// that is deleted and made again under the same name and number.
func TestReferencesThatMove(t *testing.T) {
	reg := sharedRegistry(t)
	name := reg.affineModel(t)
	b := newBroker(t)
	b.allTopics(t)
	stage := func(version, stage string) {
		t.Helper()
		body, err := json.Marshal(map[string]any{"name": name, "version": version, "stage": stage, "archive_existing_versions": true})
		require.NoError(t, err)
		_, err = post(t.Context(), reg.url+"/api/2.0/mlflow/model-versions/transition-stage", body)
		require.NoError(t, err)
	}
	stage("1", "Production")
	env := []string{"MLFLOW_TRACKING_URI=" + reg.url}
	latest := startWorker(t, "latest", b, append(env, "MILLRACE_MODEL=models:/"+name+"/latest")...)
	staged := startWorker(t, "staged", b, append(env, "MILLRACE_MODEL=models:/"+name+"/production")...)
	champion := startWorker(t, "champion", b, append(env, "MILLRACE_MODEL=models:/"+name+"@champion")...)
	serves(t, "2", 10*time.Second, latest)
	serves(t, "1", 10*time.Second, staged, champion)
	reg.register(t, affine(t, 3), name, "")
	stage("2", "Production")
	serves(t, "3", 20*time.Second, latest)
	serves(t, "2", 20*time.Second, staged)

	// Another model of the same name, whose version 1 is another as well.
	was := champion.status(t)
	require.Equal(t, "1", was.Version)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, reg.url+"/api/2.0/mlflow/registered-models/delete", strings.NewReader(`{"name": "`+name+`"}`))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	_, err = do(req)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return champion.status(t).LastError != "" }, 20*time.Second, 50*time.Millisecond)
	require.Equal(t, "1", champion.status(t).Version, "the last good one")
	reg.register(t, affine(t, 4), name, "champion")
	require.Eventually(t, func() bool { return champion.status(t).Identity != was.Identity }, 20*time.Second, 50*time.Millisecond)
	now := champion.status(t)
	require.Equal(t, []string{name, "1"}, []string{now.Name, now.Version})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	latest.stop()
	staged.stop()
	text, err := post(ctx, startGateway(t, b)+"/predict", body(7))
	require.NoError(t, err)
	got, err := parseAnswer(text)
	require.NoError(t, err)
	want, err := answerOf(7, "4")
	require.NoError(t, err)
	require.Equal(t, want, got)
}
