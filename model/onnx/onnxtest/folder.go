package onnxtest

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Folder is an MLflow model folder to be written.
type Folder struct {
	Model []byte

	// The signature's JSON texts; empty ones are left out, and the whole
	// signature when all are.
	Inputs, Outputs, Params string

	// Example is serving_input_example.json, "" for none.
	Example string

	// Options are YAML lines of the flavor's onnx_session_options, "" for none.
	Options []string

	// Files are others, by name.
	Files map[string][]byte
}

// Write writes the folder to a new directory and returns it.
func (f Folder) Write(tb testing.TB) string {
	tb.Helper()
	dir := tb.TempDir()
	f.WriteTo(tb, dir)
	return dir
}

// WriteTo writes the folder to dir, which is made when it is not there.
func (f Folder) WriteTo(tb testing.TB, dir string) {
	tb.Helper()
	files := map[string][]byte{"MLmodel": []byte(f.mlmodel()), "model.onnx": f.Model}
	if f.Example != "" {
		files["serving_input_example.json"] = []byte(f.Example)
	}
	maps.Copy(files, f.Files)
	for name, data := range files {
		path := filepath.Join(dir, name)
		require.NoError(tb, os.MkdirAll(filepath.Dir(path), 0o750))
		require.NoError(tb, os.WriteFile(path, data, 0o600))
	}
}

func (f Folder) mlmodel() string {
	var b strings.Builder
	b.WriteString("flavors:\n  onnx:\n    code: null\n    data: model.onnx\n    onnx_version: 1.17.0\n")
	if len(f.Options) == 0 {
		b.WriteString("    onnx_session_options: null\n")
	} else {
		b.WriteString("    onnx_session_options:\n")
		for _, line := range f.Options {
			fmt.Fprintf(&b, "      %s\n", line)
		}
	}
	b.WriteString("    providers:\n    - CPUExecutionProvider\n")
	b.WriteString("  python_function:\n    data: model.onnx\n    loader_module: mlflow.onnx\n    python_version: 3.12.0\n")
	b.WriteString("mlflow_version: 3.11.0\n")
	if f.Example != "" {
		b.WriteString("saved_input_example_info:\n  artifact_path: input_example.json\n  serving_input_path: serving_input_example.json\n  type: ndarray\n")
	}
	if f.Inputs+f.Outputs+f.Params != "" {
		b.WriteString("signature:\n")
		for _, part := range [][2]string{{"inputs", f.Inputs}, {"outputs", f.Outputs}, {"params", f.Params}} {
			text := "null"
			if part[1] != "" {
				text = "'" + strings.ReplaceAll(part[1], "'", "''") + "'"
			}
			fmt.Fprintf(&b, "  %s: %s\n", part[0], text)
		}
	}
	b.WriteString("utc_time_created: '2026-11-01 00:00:00.000000'\n")
	return b.String()
}
