//go:build integration

package integration

import (
	"encoding/csv"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestLocust holds that the real Locust, by the file that is given to its users, finds
// no failure with 300 users, of whom 20 come a second.
func TestLocust(t *testing.T) {
	b := newBroker(t)
	b.topics(t)
	startWorker(t, "worker", b, "MILLRACE_MODEL=bundled")
	gateway := startGateway(t, b)
	total := locust(t, gateway, "30s", nil, "--users", "300", "--spawn-rate", "20")
	require.Greater(t, total["Request Count"], 3000.0)
	require.Zero(t, total["Failure Count"])

	// It would see a failure: nobody serves this model.
	total = locust(t, gateway, "3s", []string{"MODEL=nobody"}, "--users", "2", "--spawn-rate", "2")
	require.Positive(t, total["Request Count"])
	require.InDelta(t, total["Request Count"], total["Failure Count"], 0)
}

// locust runs it and returns the line of its statistics that sums up.
func locust(t *testing.T, host, length string, env []string, args ...string) map[string]float64 {
	t.Helper()
	prefix := filepath.Join(t.TempDir(), "stats")
	args = append(args, "-f", filepath.Join(root(t), "load", "locustfile.py"), "--headless", "--host", host,
		"--run-time", length, "--csv", prefix, "--exit-code-on-error", "0", "--only-summary")
	cmd := exec.CommandContext(t.Context(), filepath.Join(fetched(t, "fetch-venv.sh", "locust"), "bin", "locust"), args...)
	cmd.Env = environ(t, env...)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	text, err := os.ReadFile(prefix + "_stats.csv")
	require.NoError(t, err)
	rows, err := csv.NewReader(strings.NewReader(string(text))).ReadAll()
	require.NoError(t, err)
	total := map[string]float64{}
	for i, name := range rows[0] {
		total[name], _ = strconv.ParseFloat(rows[len(rows)-1][i], 64) // some are names
	}
	return total
}
