//go:build integration

package integration

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/internal/kafka"
	"github.com/millrace/millrace/model/onnx/onnxtest"
)

// TestClients lets clients of the dialects that nobody here wrote ask a gateway: Triton's
// over HTTP and gRPC, MLflow's own of a scoring server, and plain requests.
func TestClients(t *testing.T) {
	venv := fetched(t, "fetch-venv.sh", "mlflow")
	b := newBroker(t)
	topics := kafka.Topics{
		Requests: requests, Results: results, Replies: replies, DeadLetters: deadLetters, Cancelled: kafka.NoTopic, Kept: kafka.NoTopic,
		Card: "inference.cards", Partitions: partitions, Replication: 1,
	}
	require.NoError(t, kafka.EnsureTopics(t.Context(), b.client(t), topics, slog.New(slog.DiscardHandler)))
	folder := filepath.Join(t.TempDir(), "affine")
	require.NoError(t, os.MkdirAll(folder, 0o750))
	const tells = 3
	onnxtest.Folder{
		Model:  onnxtest.Version(tells),
		Inputs: `[{"name": "X", "type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 4]}}]`,
	}.WriteTo(t, folder)
	startWorker(t, "worker", b, "MILLRACE_MODEL="+folder)
	rpc := freeAddr(t)
	web := startGateway(t, b, "MILLRACE_GATEWAY_GRPC_ADDR="+rpc)
	var about struct{ Versions []string }
	require.Eventually(t, func() bool {
		text, err := get(t.Context(), web+"/v2/models/affine")
		return err == nil && json.Unmarshal(text, &about) == nil && len(about.Versions) == 1
	}, 30*time.Second, 100*time.Millisecond, "the model is described")

	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(venv, "bin", "python"), filepath.Join(root(t), "integration", "testdata", "clients.py"),
		web, rpc, "affine", about.Versions[0], "3")
	cmd.Env = inherited("MLFLOW_DISABLE_TELEMETRY=true")
	out, err := runWith(cmd, nil)
	require.NoError(t, err)
	require.Contains(t, string(out), "all clients work")
}
