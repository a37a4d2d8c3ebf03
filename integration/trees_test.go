//go:build integration

package integration

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model/trees/treestest"
)

// TestTrees trains LightGBM and XGBoost models over what they can be, on
// scikit-learn's data sets and on generated data with missing values and
// categories, and holds that they answer here as the libraries do themselves.
func TestTrees(t *testing.T) {
	dir := t.TempDir()
	script, err := filepath.Abs(filepath.Join("testdata", "trees.py"))
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(fetched(t, "fetch-venv.sh", "mlflow"), "bin", "python"), script, dir)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	treestest.Run(t, dir, 85)
}
