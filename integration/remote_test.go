//go:build integration

package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// mlserver starts the real MLServer with the models of testdata/mlserver, and
// returns its process and URL.
func mlserver(t *testing.T, name, addr, version string) *process {
	t.Helper()
	venv := fetched(t, "fetch-venv.sh", "mlserver")
	host, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	dir, ports := t.TempDir(), freeAddrs(t, 2)
	write := func(file, text string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, file)), 0o750))
		require.NoError(t, os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600))
	}
	number := func(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }
	write("settings.json", fmt.Sprintf(`{"host": %q, "http_port": %s, "grpc_port": %s, "metrics_port": %s, "parallel_workers": 0}`, host, port, number(ports[0]), number(ports[1])))
	write("affine/model-settings.json", fmt.Sprintf(`{"name": "affine", "platform": "v%s", "implementation": "runtime.Affine", "parameters": {"version": %q},
		"inputs": [{"name": "X", "datatype": "FP32", "shape": [-1, 4]}], "outputs": [{"name": "Y", "datatype": "FP32", "shape": [-1, 2]}]}`, version, version))
	write("shout/model-settings.json", `{"name": "shout", "implementation": "runtime.Shout",
		"inputs": [{"name": "words", "datatype": "BYTES", "shape": [-1, 1]}], "outputs": [{"name": "loud", "datatype": "BYTES", "shape": [-1, 1]}]}`)
	env := inherited("PYTHONPATH="+filepath.Join(root(t), "integration", "testdata", "mlserver"), "PYTHONDONTWRITEBYTECODE=1")
	p := start(t, name, env, filepath.Join(venv, "bin", "mlserver"), "start", dir)
	p.ready(t, 2*time.Minute, func(ctx context.Context) error {
		_, err := get(ctx, "http://"+addr+"/v2/health/ready")
		return err
	})
	return p
}

// TestRemoteV2 serves a model of the real MLServer: requests in both dialects, a
// batch with one at fault, the server killed and back with another version.
func TestRemoteV2(t *testing.T) {
	addr := freeAddr(t)
	server := mlserver(t, "mlserver-1", addr, "1")
	ref := "v2+http://" + addr
	var in struct {
		Loads, Batches bool
		Error          string
	}
	require.NoError(t, json.Unmarshal(millrace(t, environ(t), nil, "model", "inspect", ref+"/affine", "-o", "json"), &in))
	require.True(t, in.Loads, in.Error)
	require.True(t, in.Batches)
	require.JSONEq(t, `{"predictions": {"loud": [["ÄH"], ["B"]]}}`,
		string(millrace(t, environ(t), []byte(`{"inputs": [["äh"], ["b"]]}`), "model", "predict", ref+"/shout")))

	b := newBroker(t)
	b.topics(t)
	w := startWorker(t, "worker", b, "MILLRACE_MODEL="+ref+"/affine", "MILLRACE_REMOTE_BREAKER_OPEN=500ms")
	web := startGateway(t, b)
	ask := func(body string) (string, error) {
		answer, err := post(t.Context(), web+"/predict", []byte(body))
		return string(answer), err
	}
	for _, i := range []int{1, 7, 100} {
		answer, err := ask(string(body(i)))
		require.NoError(t, err)
		got, err := parseAnswer([]byte(answer))
		require.NoError(t, err)
		want, err := answerOf(i, "1")
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	answer, err := ask(`{"id": "x", "inputs": [{"name": "X", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}`)
	require.NoError(t, err)
	require.Contains(t, answer, `"id":"x","outputs":[{"name":"Y","shape":[1,2],"datatype":"FP32","data":[10,1]}]`)
	_, err = ask(`{"inputs": [[13, 0, 0, 0]]}`)
	require.ErrorContains(t, err, "MODEL_FAILED")
	require.NotContains(t, err.Error(), "Traceback")
	require.Contains(t, tail(w.log, 40), "ValueError: thirteen")

	server.kill()
	_, err = ask(`{"inputs": [[1, 2, 3, 4]]}`)
	require.ErrorContains(t, err, "UNAVAILABLE")
	mlserver(t, "mlserver-2", addr, "2")
	require.Eventually(t, func() bool {
		answer, err := ask(`{"inputs": [[1, 2, 3, 4]]}`)
		return err == nil && strings.Contains(answer, "[10.0, 2.0]")
	}, time.Minute, 200*time.Millisecond)
	models, err := get(t.Context(), "http://"+w.addr+"/models")
	require.NoError(t, err)
	require.Contains(t, string(models), `"breaker":"closed"`)
}

// TestRemoteScoring hands bodies on to a real `mlflow models serve` and compares
// the answers with those that it gives when it is asked itself.
func TestRemoteScoring(t *testing.T) {
	venv := fetched(t, "fetch-venv.sh", "mlflow")
	folder := filepath.Join(t.TempDir(), "model")
	cmd := exec.CommandContext(t.Context(), filepath.Join(venv, "bin", "python"), filepath.Join(root(t), "integration", "testdata", "scorer.py"), folder)
	cmd.Env = inherited("MLFLOW_DISABLE_TELEMETRY=true")
	_, err := runWith(cmd, nil)
	require.NoError(t, err)
	addr := freeAddr(t)
	host, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	env := inherited("MLFLOW_DISABLE_TELEMETRY=true", "PATH="+filepath.Join(venv, "bin")+string(os.PathListSeparator)+os.Getenv("PATH")) //nolint:forbidigo // for a server that is not ours
	p := start(t, "scorer", env, filepath.Join(venv, "bin", "mlflow"), "models", "serve", "-m", folder, "--env-manager", "local", "-h", host, "-p", port, "-w", "1")
	p.ready(t, 3*time.Minute, func(ctx context.Context) error {
		_, err := get(ctx, "http://"+addr+"/ping")
		return err
	})

	b := newBroker(t)
	b.topics(t)
	w := startWorker(t, "worker", b, "MILLRACE_MODEL=scorer=mlflow+http://"+addr)
	web := startGateway(t, b)
	models, err := get(t.Context(), "http://"+w.addr+"/models")
	require.NoError(t, err)
	require.Contains(t, string(models), `"flavor":"mlflow"`)
	for _, c := range []struct {
		kind, body string
		code       string // "" when it is a prediction
	}{
		{"application/json", `{"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2], [3, 4.5]]}}`, ""},
		{"application/json", `{"dataframe_records": [{"b": 2, "a": "1"}]}`, ""},
		{"application/json", `{"instances": [{"a": 1, "b": 2, "c": 3}]}`, ""},
		{"application/json", `{"inputs": {"a": [1, 2], "b": [NaN, 1]}}`, "INVALID_INPUT"}, // scikit-learn takes no NaN
		{"text/csv", "a,b\n1,2\n3,4\n", ""},
		{"application/json", `{"dataframe_split": {"columns": ["a"], "data": [[1]]}}`, "INVALID_INPUT"},
		{"application/json", `{"inputs": {"a": ["x"], "b": [1]}}`, "INVALID_INPUT"},
		{"application/json", `{"something": 1}`, "INVALID_INPUT"},
		{"application/json", `{"inputs": [`, "INVALID_INPUT"},
	} {
		status, want := invoke(t, "http://"+addr+"/invocations", c.kind, c.body)
		code, got := invoke(t, web+"/predict", c.kind, c.body)
		if c.code == "" {
			require.Equal(t, http.StatusOK, status, want)
			require.Equal(t, http.StatusOK, code, got)
			require.Equal(t, want, got)
			continue
		}
		require.Equal(t, http.StatusBadRequest, status, want)
		require.Equal(t, http.StatusBadRequest, code, got)
		require.Contains(t, got, `"error_code":"`+c.code+`"`)
		require.NotContains(t, got, "Traceback")
		require.NotContains(t, got, "stack_trace")
		var theirs, ours struct{ Message string }
		require.NoError(t, json.Unmarshal([]byte(got), &ours), got)
		if json.Valid([]byte(c.body)) { // what is no JSON does not get as far
			require.NoError(t, json.Unmarshal([]byte(want), &theirs), want)
			require.Equal(t, strings.Join(strings.Fields(theirs.Message), " "), ours.Message)
		}
	}
	p.kill()
	code, got := invoke(t, web+"/predict", "application/json", `{"inputs": {"a": [1], "b": [1]}}`)
	require.Equal(t, http.StatusServiceUnavailable, code, got)
}

// invoke posts a body and returns the answer, whatever its status.
func invoke(t *testing.T, url, kind, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", kind)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	var text bytes.Buffer
	_, err = text.ReadFrom(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, text.String()
}
