//go:build integration

package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// registry is a real MLflow server.
type registry struct {
	url  string
	proc *process
}

// shared is one server for all the tests that do not kill theirs: it takes long
// to start. TestMain ends it.
var shared struct {
	mu   sync.Mutex
	dir  string
	that *registry
}

func sharedRegistry(t *testing.T) *registry {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.that == nil {
		// Not the test's own directory: it outlives the test.
		dir := filepath.Join(root(t), ".build", "integration", "mlflow")
		require.NoError(t, os.RemoveAll(dir))
		require.NoError(t, os.MkdirAll(dir, 0o750))
		shared.that = launchRegistry(t, dir, nil, "--artifacts-destination", filepath.Join(dir, "artifacts"))
	}
	return shared.that
}

// newRegistry starts a server of the test's own.
func newRegistry(t *testing.T) *registry {
	t.Helper()
	dir := t.TempDir()
	r := launchRegistry(t, dir, nil, "--artifacts-destination", filepath.Join(dir, "artifacts"))
	t.Cleanup(r.proc.stop)
	return r
}

// launchRegistry starts a server that keeps its database in dir, with env and
// the arguments for its artifacts.
func launchRegistry(t *testing.T, dir string, more []string, artifacts ...string) *registry {
	t.Helper()
	venv := fetched(t, "fetch-venv.sh", "mlflow")
	addr := freeAddr(t)
	host, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	env := append(inherited("MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false", "MLFLOW_DISABLE_TELEMETRY=true",
		// Webhooks go to public addresses by https alone, unless one says so.
		"MLFLOW_WEBHOOK_ALLOWED_SCHEMES=http,https", "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS=true", "MLFLOW_WEBHOOK_CACHE_TTL=1"), more...)
	r := &registry{url: "http://" + addr}
	args := append([]string{
		filepath.Join(venv, "bin", "mlflow"), "server", "--backend-store-uri", "sqlite:///" + filepath.Join(dir, "mlflow.db"),
		"--host", host, "--port", port, "--workers", "1",
	}, artifacts...)
	r.proc = launch(t, "mlflow", filepath.Join(dir, "mlflow.log"), env, args...)
	r.proc.ready(t, 5*time.Minute, func(ctx context.Context) error {
		_, err := get(ctx, r.url+"/health")
		return err
	})
	return r
}

// version asks which version an alias names, "" when it names none.
func (r *registry) version(t *testing.T, model, alias string) string {
	t.Helper()
	q := url.Values{"name": {model}, "alias": {alias}}
	body, err := get(t.Context(), r.url+"/api/2.0/mlflow/registered-models/alias?"+q.Encode())
	if err != nil {
		return ""
	}
	var out struct {
		V struct {
			Version string `json:"version"`
		} `json:"model_version"`
	}
	require.NoError(t, json.Unmarshal(body, &out))
	return out.V.Version
}

// point moves an alias.
func (r *registry) point(t *testing.T, model, alias, version string) {
	t.Helper()
	require.NoError(t, r.move(t.Context(), model, alias, version))
}

// move is point for goroutines that cannot fail the test.
func (r *registry) move(ctx context.Context, model, alias, version string) error {
	body, err := json.Marshal(map[string]string{"name": model, "alias": alias, "version": version})
	if err != nil {
		return err
	}
	_, err = post(ctx, r.url+"/api/2.0/mlflow/registered-models/alias", body)
	return err
}

// get and post return the body, and an error for any status but 200.
func get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	return do(req)
}

func post(ctx context.Context, url string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	return do(req)
}

func do(req *http.Request) ([]byte, error) {
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", req.URL, resp.Status, body)
	}
	return body, err
}
