//go:build integration

package integration

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/stretchr/testify/require"
)

// objects is a store that speaks S3, in this process.
type objects struct {
	url    string
	mu     sync.Mutex
	signed int // requests by a presigned address
	agents map[string]int
}

func newObjects(t *testing.T) *objects {
	t.Helper()
	backend := s3mem.New()
	require.NoError(t, backend.CreateBucket("models"))
	o := &objects{agents: map[string]int{}}
	server := gofakes3.New(backend).Server()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		if r.URL.Query().Get("X-Amz-Signature") != "" {
			o.signed++
		}
		agent, _, _ := strings.Cut(r.UserAgent(), "/")
		o.agents[r.Method+" "+agent]++
		o.mu.Unlock()
		server.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	o.url = srv.URL
	return o
}

// env is what reaches the store.
func (o *objects) env() []string {
	return []string{"MLFLOW_S3_ENDPOINT_URL=" + o.url, "AWS_ACCESS_KEY_ID=key", "AWS_SECRET_ACCESS_KEY=secret", "AWS_DEFAULT_REGION=us-east-1"}
}

func (o *objects) count(agent string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	if agent == "" {
		return o.signed
	}
	return o.agents[agent]
}

// nothing is the environment of a process without credentials.
var nothing = []string{"AWS_EC2_METADATA_DISABLED=true"}

// predicts runs `model predict` with a cache of its own, and holds its answer.
func (r *registry) predicts(t *testing.T, ref, version string, env ...string) {
	t.Helper()
	env = append(environ(t, "MLFLOW_TRACKING_URI="+r.url, "MILLRACE_MODEL_CACHE_DIR="+t.TempDir()), env...)
	out := millrace(t, env, body(7), "model", "predict", ref)
	got, err := parseAnswer(out)
	require.NoError(t, err)
	want, err := answerOf(7, version)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

// refuses is predicts for what cannot be had.
func (r *registry) refuses(t *testing.T, ref string, env ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary(t), "model", "predict", ref)
	cmd.Env = append(environ(t, "MLFLOW_TRACKING_URI="+r.url, "MILLRACE_MODEL_CACHE_DIR="+t.TempDir()), env...)
	cmd.Stdin = bytes.NewReader(body(7))
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	return string(out)
}

// large is the model with a file of 9 MiB beside it, which a presigned address
// is asked for.
func large(t *testing.T, k int) string {
	t.Helper()
	dir := affine(t, k)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "weights.bin"), bytes.Repeat([]byte("millrace"), 9<<17), 0o600))
	return dir
}

// TestArtifactsInS3: the server names the store, and hands out nothing. Who has
// credentials goes there; who has none asks the server, which reads it for them.
func TestArtifactsInS3(t *testing.T) {
	store := newObjects(t)
	reg := launchRegistry(t, t.TempDir(), store.env(), "--default-artifact-root", "s3://models/root", "--no-serve-artifacts")
	t.Cleanup(reg.proc.stop)
	env := append(environ(t, "MLFLOW_TRACKING_URI="+reg.url), store.env()...)
	millrace(t, env, nil, "model", "register", large(t, 1), "--name", "affine", "--alias", "champion")
	require.Positive(t, store.count("PUT aws-sdk-go-v2"))

	direct := append([]string{"MILLRACE_MODEL_ARTIFACTS=direct"}, store.env()...)
	for _, env := range [][]string{store.env(), direct} {
		before := store.count("GET aws-sdk-go-v2")
		reg.predicts(t, "models:/affine@champion", "1", env...)
		require.Greater(t, store.count("GET aws-sdk-go-v2"), before)
	}
	before := store.count("GET aws-sdk-go-v2")
	reg.predicts(t, "models:/affine@champion", "1", nothing...)
	require.Equal(t, before, store.count("GET aws-sdk-go-v2"))
	said := reg.refuses(t, "models:/affine@champion", append(nothing, "MILLRACE_MODEL_ARTIFACTS=direct")...)
	require.Contains(t, said, "no AWS credentials")
	require.Contains(t, said, "MILLRACE_MODEL_ARTIFACTS")

	run := reg.logRun(t, large(t, 2), store.env())
	for _, env := range [][]string{store.env(), nothing, append(nothing, "MILLRACE_MODEL_ARTIFACTS=server")} {
		reg.predicts(t, "runs:/"+run+"/model", "2", env...)
	}
	require.Positive(t, store.count(""), "a run's large files come by presigned addresses")
}

// TestArtifactsProxiedToS3: the server hands out what it keeps in the store,
// and presigned addresses for what is large.
func TestArtifactsProxiedToS3(t *testing.T) {
	store := newObjects(t)
	reg := launchRegistry(t, t.TempDir(), store.env(), "--artifacts-destination", "s3://models/proxied")
	t.Cleanup(reg.proc.stop)
	reg.register(t, large(t, 1), "affine", "champion")
	reg.predicts(t, "models:/affine@champion", "1", nothing...)
	require.Positive(t, store.count(""))
	before := store.count("")
	reg.predicts(t, "models:/affine@champion", "1", append(nothing, "MILLRACE_MODEL_ARTIFACTS=server")...)
	require.Equal(t, before, store.count(""))
	require.Zero(t, store.count("GET aws-sdk-go-v2"))
}

// TestArtifactsOfTheServersOwnDisk: no route but the server's.
func TestArtifactsOfTheServersOwnDisk(t *testing.T) {
	dir := t.TempDir()
	reg := launchRegistry(t, t.TempDir(), nil, "--default-artifact-root", dir, "--no-serve-artifacts")
	t.Cleanup(reg.proc.stop)
	run := reg.logRun(t, affine(t, 3), nil)
	reg.predicts(t, "runs:/"+run+"/model", "3")
	require.Contains(t, reg.refuses(t, "runs:/"+run+"/model", "MILLRACE_MODEL_ARTIFACTS=direct"), "MILLRACE_MODEL_ALLOW_LOCAL_ARTIFACTS")
}

// logRun logs a folder as a run's artifact by MLflow's own client, and returns
// the run's id.
func (r *registry) logRun(t *testing.T, folder string, env []string) string {
	t.Helper()
	const program = `
import sys, mlflow
mlflow.set_tracking_uri(sys.argv[1])
with mlflow.start_run() as run:
    mlflow.log_artifacts(sys.argv[2], "model")
print("RUN", run.info.run_id)
`
	cmd := exec.CommandContext(t.Context(), filepath.Join(fetched(t, "fetch-venv.sh", "mlflow"), "bin", "python"), "-c", program, r.url, folder)
	cmd.Env = append(inherited("MLFLOW_DISABLE_TELEMETRY=true"), env...)
	out, err := runWith(cmd, nil)
	require.NoError(t, err)
	_, id, found := strings.Cut(string(out), "RUN ")
	require.True(t, found, string(out))
	return strings.TrimSpace(id)
}
