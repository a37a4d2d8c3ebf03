//go:build compose

package compose

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// docker runs `docker compose` on a project of the test's own, so that nobody's
// volumes are touched; the ports have to be free.
func docker(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 15*time.Minute)
	defer cancel()
	all := append([]string{"compose", "--project-name", "millrace-test", "--profile", "load"}, args...)
	cmd := exec.CommandContext(ctx, "docker", all...)
	cmd.Dir = filepath.Join("..", "..")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "docker %s\n%s", strings.Join(all, " "), out)
	return string(out)
}

func ask(ctx context.Context, method, target, body string) (int, string, error) {
	ctx, cancel := context.WithTimeout(ctx, 40*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

// query is an instant query's only value, "" when it has none.
func query(t *testing.T, expr string) string {
	t.Helper()
	_, text, err := ask(t.Context(), http.MethodGet, "http://127.0.0.1:9090/api/v1/query?query="+url.QueryEscape(expr), "")
	require.NoError(t, err)
	var out struct {
		Data struct{ Result []struct{ Value [2]any } }
	}
	require.NoError(t, json.Unmarshal([]byte(text), &out), text)
	if len(out.Data.Result) != 1 {
		return ""
	}
	return fmt.Sprint(out.Data.Result[0].Value[1])
}

func becomes(t *testing.T, want, expr string) {
	t.Helper()
	require.Eventually(t, func() bool { return query(t, expr) == want }, 2*time.Minute, 2*time.Second, "%s is %q, not %q", expr, query(t, expr), want)
}

// examples are the requests of the README, each with the answer that it claims.
func examples(t *testing.T) [][]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	require.NoError(t, err)
	list := regexp.MustCompile("(?s)/predict -H 'content-type: application/json' -d '([^']*)'\n```\n\n```json\n(.*?)\n```").FindAllStringSubmatch(string(text), -1)
	require.Len(t, list, 2)
	return list
}

// TestCompose starts everything and asks, from this machine, what the README asks.
func TestCompose(t *testing.T) {
	t.Cleanup(func() { docker(t, "down", "--volumes", "--timeout", "30") })
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(docker(t, "ps", "--all"), docker(t, "logs", "--tail", "60"))
		}
	})
	docker(t, "up", "--detach", "--wait", "--scale", "worker=3", "--scale", "locust=0")
	for i, status := range []int{http.StatusOK, http.StatusBadRequest} {
		code, text, err := ask(t.Context(), http.MethodPost, "http://127.0.0.1:8000/predict", examples(t)[i][1])
		require.NoError(t, err)
		require.Equal(t, status, code, text)
		require.Equal(t, examples(t)[i][2], text)
	}
	champion := func() string {
		code, text, err := ask(t.Context(), http.MethodGet, "http://127.0.0.1:5000/api/2.0/mlflow/registered-models/alias?name=forecaster&alias=champion", "")
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, code, text)
		var out struct {
			Version struct{ Version string } `json:"model_version"`
		}
		require.NoError(t, json.Unmarshal([]byte(text), &out))
		return out.Version.Version
	}
	require.Equal(t, "1", champion())

	// Prometheus finds each worker, has the rules, and nothing is wrong.
	becomes(t, "3", `sum(up{job="millrace-worker"})`)
	becomes(t, "1", `sum(up{job="millrace-gateway"})`)
	becomes(t, "3", "millrace:workers")
	require.Empty(t, query(t, `count(ALERTS{alertstate="firing"})`))

	overKafka(t, "first")
	docker(t, "up", "--detach", "--wait", "--scale", "worker=1", "--scale", "locust=0")
	becomes(t, "1", `count(up{job="millrace-worker"})`)

	// A second start, on what the volumes kept, registers no second version.
	docker(t, "down", "--timeout", "30")
	docker(t, "up", "--detach", "--wait", "--scale", "worker=1", "--scale", "locust=0")
	require.Equal(t, "1", champion())
	overKafka(t, "again")
	becomes(t, "1", `count(up{job="millrace-worker"})`)
	code, text, err := ask(t.Context(), http.MethodPost, "http://127.0.0.1:8000/predict", examples(t)[0][1])
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, code, text)

	docker(t, "run", "--rm", "locust", "-f", "/mnt/locust/locustfile.py", "--host", "http://gateway:8000", "--headless",
		"--users", "10", "--spawn-rate", "10", "--run-time", "10s", "--exit-code-on-error", "1")
}

// overKafka reaches the broker from outside, as the README's kcat does.
func overKafka(t *testing.T, key string) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers("127.0.0.1:9092"), kgo.DisableClientMetrics(), kgo.ConsumeTopics("inference.results"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	require.NoError(t, err)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	sent := &kgo.Record{Topic: "inference.requests", Key: []byte(key), Value: []byte(examples(t)[0][1])}
	require.NoError(t, cl.ProduceSync(ctx, sent).FirstErr())
	for {
		fetched := cl.PollFetches(ctx)
		require.NoError(t, fetched.Err0())
		for _, r := range fetched.Records() {
			if string(r.Key) == key {
				require.Equal(t, examples(t)[0][2], string(r.Value))
				return
			}
		}
	}
}
