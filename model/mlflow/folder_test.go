package mlflow_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model/mlflow"
)

func TestReadFolder(t *testing.T) {
	f, err := mlflow.ReadFolder("testdata/A_tens")
	require.NoError(t, err)
	require.Equal(t, "onnx", f.Flavor)
	require.Equal(t, "model.onnx", filepath.Base(f.Data))
	require.Equal(t, []string{"onnx", "python_function"}, f.Flavors)
	require.Equal(t, "mlflow.onnx", f.Loader)
	require.Equal(t, []string{"CUDAExecutionProvider", "CPUExecutionProvider"}, f.Providers)
	require.Contains(t, f.Inputs, `"name": "X"`)
	require.NotEmpty(t, f.ModelUUID)
}

func TestReadFolderRefuses(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(outside, []byte("x"), 0o600))
	cases := map[string]struct{ mlmodel, reason string }{
		"no flavor":   {"flavors: {}\n", "names no flavor"},
		"not yaml":    {"\t{", "read MLmodel"},
		"missing":     {"flavors: {onnx: {data: gone.onnx}}", "gone.onnx is missing"},
		"no data":     {"flavors: {onnx: {}}", "names no data"},
		"parent":      {"flavors: {onnx: {data: ../secret}}", "is outside"},
		"absolute":    {"flavors: {onnx: {data: " + outside + "}}", "is outside"},
		"link":        {"flavors: {onnx: {data: link}}", "leads out"},
		"bad example": {"flavors: {sklearn: {}}\nsaved_input_example_info: {artifact_path: ../x}", "is outside"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, "MLmodel"), []byte(c.mlmodel), 0o600))
			require.NoError(t, os.Symlink(outside, filepath.Join(dir, "link")))
			_, err := mlflow.ReadFolder(dir)
			require.ErrorContains(t, err, c.reason)
		})
	}
	_, err := mlflow.ReadFolder(t.TempDir())
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestHashFolder(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	hash := func() string {
		h, err := mlflow.HashFolder(dir)
		require.NoError(t, err)
		return h
	}
	write("a", "1")
	first := hash()
	require.Len(t, first, 12)
	require.Equal(t, first, hash())
	write("a", "2")
	require.NotEqual(t, first, hash())
	write("a", "1")
	write("b", "")
	require.NotEqual(t, first, hash())
}
