package onnx_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model/onnx"
)

func TestParseSessionOptions(t *testing.T) {
	o, err := onnx.ParseSessionOptions(map[string]any{
		"intra_op_num_threads": 4, "inter_op_num_threads": "2", "execution_mode": "PARALLEL",
		"graph_optimization_level": 99, "extra_session_config": map[string]any{"session.disable_prepacking": 1}, "unset": nil,
	})
	require.NoError(t, err)
	level := 99
	require.Equal(t, onnx.SessionOptions{
		IntraOpThreads: 4, InterOpThreads: 2, Parallel: true, Optimization: &level,
		Extra: map[string]string{"session.disable_prepacking": "1"},
	}, o)
	for _, conf := range []map[string]any{
		{"intra_op_num_threads": -1},
		{"inter_op_num_threads": "all"},
		{"execution_mode": "fast"},
		{"graph_optimization_level": 7},
		{"extra_session_config": "a=b"},
		{"threads": 1},
	} {
		_, err := onnx.ParseSessionOptions(conf)
		require.ErrorContains(t, err, "onnx_session_options.")
	}
}

func TestLibraryThatIsNotThere(t *testing.T) {
	_, err := onnx.FindLibrary(filepath.Join(t.TempDir(), "libonnxruntime.so"))
	require.ErrorIs(t, err, onnx.ErrNoLibrary)
	require.ErrorContains(t, err, "make onnxruntime")

	t.Chdir(t.TempDir())
	path, err := onnx.FindLibrary("")
	require.NoError(t, err)
	if exe, _ := os.Executable(); filepath.Dir(path) != filepath.Dir(exe) {
		require.Equal(t, onnx.LibraryName(), path, "left to the system's loader")
	}
}
