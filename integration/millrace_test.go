//go:build integration

package integration

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// group is the consumer group, by its default name.
const group = "millrace"

// binary is the program under test, which `make build` leaves there.
func binary(t *testing.T) string {
	t.Helper()
	path := filepath.Join(root(t), "bin", "millrace")
	_, err := os.Stat(path)
	require.NoError(t, err, "run `make build` first")
	return path
}

// environ is what a process of Millrace gets: nothing of this process's
// environment, so that a developer's settings change no test.
func environ(t *testing.T, more ...string) []string {
	t.Helper()
	home := filepath.Join(root(t), ".build", "integration", "home")
	require.NoError(t, os.MkdirAll(home, 0o750))
	return append([]string{"HOME=" + home, "XDG_CACHE_HOME=" + filepath.Join(home, "cache"), "TMPDIR=" + os.TempDir()}, more...)
}

// millrace runs a command of the binary to its end and returns what it prints
// on standard output.
func millrace(t *testing.T, env []string, stdin []byte, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary(t), args...)
	cmd.Env = env
	out, err := runWith(cmd, stdin)
	require.NoError(t, err, "millrace %v", args)
	return out
}

// register puts a version of the model into the registry by the binary.
func (r *registry) register(t *testing.T, folder, name, alias string) {
	t.Helper()
	args := []string{"model", "register", folder, "--name", name}
	if alias != "" {
		args = append(args, "--alias", alias)
	}
	millrace(t, environ(t, "MLFLOW_TRACKING_URI="+r.url), nil, args...)
}

// affineModel registers versions 1 and 2 under a name that no other test has,
// champion being 1, and returns the name.
func (r *registry) affineModel(t *testing.T) string {
	t.Helper()
	name := "affine-" + filepath.Base(t.TempDir()) + "-" + time.Now().Format("150405.000000")
	r.register(t, affine(t, 1), name, "champion")
	r.register(t, affine(t, 2), name, "")
	require.Equal(t, "1", r.version(t, name, "champion"))
	return name
}

// worker is a running `millrace worker`.
type worker struct {
	*process
	addr string // of its probes
}

// startWorker starts a worker of the default topics and waits until it is
// ready. env comes last and wins.
func startWorker(t *testing.T, name string, b *broker, env ...string) *worker {
	t.Helper()
	w := &worker{addr: freeAddr(t)}
	base := environ(t, "MILLRACE_KAFKA_BROKERS="+b.plain, "MILLRACE_ADMIN_ADDR="+w.addr, "MILLRACE_MODEL_POLL=500ms")
	w.process = start(t, name, append(base, env...), binary(t), "worker")
	w.process.ready(t, time.Minute, w.ready)
	return w
}

func (w *worker) ready(ctx context.Context) error {
	_, err := get(ctx, "http://"+w.addr+"/readyz")
	return err
}

// startGateway starts a gateway and returns its URL.
func startGateway(t *testing.T, b *broker, env ...string) string {
	t.Helper()
	addr := freeAddr(t)
	base := environ(t, "MILLRACE_KAFKA_BROKERS="+b.plain, "MILLRACE_GATEWAY_ADDR="+addr, "MILLRACE_GATEWAY_GRPC_ADDR=none")
	g := start(t, "gateway", append(base, env...), binary(t), "gateway")
	g.ready(t, time.Minute, func(ctx context.Context) error {
		_, err := get(ctx, "http://"+addr+"/readyz")
		return err
	})
	return "http://" + addr
}
