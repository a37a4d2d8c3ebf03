package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestModelInspectTellsTheServedFlavor: it is not the first that a folder has,
// when that is not asked for or cannot be served.
func TestModelInspectTellsTheServedFlavor(t *testing.T) {
	dir := t.TempDir()
	forest, err := os.ReadFile("../../model/trees/testdata/lightgbm-4.7-xgboost-3.2/lgb-regression/model.lgb")
	require.NoError(t, err)
	for name, text := range map[string]string{
		"model.lgb": string(forest), "model.onnx": "",
		"MLmodel": "flavors:\n  onnx: {data: model.onnx}\n  lightgbm: {data: model.lgb, model_class: lightgbm.basic.Booster}\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	env := []string{"HOME=" + t.TempDir(), "MILLRACE_MODEL_FLAVOR=lightgbm"}
	got := tool(t.Context(), env, "", "model", "inspect", dir, "--output", "json")
	require.Zero(t, got.code, got.err)
	require.Contains(t, got.out, `"flavor": "lightgbm"`)
}
