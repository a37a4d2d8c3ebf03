//go:build integration

package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model/onnx/onnxtest"
)

// affine writes version k of the model of these tests: it answers four numbers
// with their sum and k, so that an answer tells which version made it.
func affine(t *testing.T, k int) string {
	t.Helper()
	return likeAffine(t, onnxtest.Version(k))
}

// likeAffine writes a model that takes what those do.
func likeAffine(t *testing.T, onnx []byte) string {
	t.Helper()
	return onnxtest.Folder{
		Model:   onnx,
		Inputs:  `[{"name": "X", "type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 4]}}]`,
		Outputs: `[{"name": "Y", "type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 2]}}]`,
		Example: `{"inputs": [[1, 2, 3, 4]]}`,
	}.Write(t)
}

// row is the content of request i, and no other's. Its numbers and their sums
// are exact as float32, in whatever order they are added.
func row(i int) [4]float32 {
	x := float32(i)
	return [4]float32{x, x / 2, -x / 4, 7}
}

func body(i int) []byte {
	r := row(i)
	return fmt.Appendf(nil, `{"inputs": [[%v, %v, %v, %v]]}`, r[0], r[1], r[2], r[3])
}

// answerOf is what version k answers to request i.
func answerOf(i int, version string) ([2]float32, error) {
	k, err := strconv.ParseFloat(version, 32)
	r := row(i)
	return [2]float32{r[0] + r[1] + r[2] + r[3], float32(k)}, err
}

// parseAnswer reads MLflow's form of an answer.
func parseAnswer(value []byte) ([2]float32, error) {
	var out struct {
		Predictions struct{ Y [][2]float32 }
	}
	if err := json.Unmarshal(value, &out); err != nil {
		return [2]float32{}, fmt.Errorf("%w in %s", err, value)
	}
	if len(out.Predictions.Y) != 1 {
		return [2]float32{}, fmt.Errorf("not one row: %s", value)
	}
	return out.Predictions.Y[0], nil
}

// requireRuntimeAgrees holds that answerOf is right, by asking Python's ONNX
// Runtime.
func requireRuntimeAgrees(t *testing.T, folder, version string, rows []int) {
	t.Helper()
	in := make([][4]float32, len(rows))
	for n, i := range rows {
		in[n] = row(i)
	}
	stdin, err := json.Marshal(in)
	require.NoError(t, err)
	const program = `
import json, sys
import numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
json.dump(session.run(None, {"X": numpy.array(json.load(sys.stdin), "float32")})[0].tolist(), sys.stdout)
`
	cmd := exec.CommandContext(t.Context(), filepath.Join(fetched(t, "fetch-venv.sh", "mlflow"), "bin", "python"), "-c", program, filepath.Join(folder, "model.onnx"))
	cmd.Env = append(cmd.Environ(), "ORT_DISABLE_TELEMETRY=1")
	cmd.Stdin = bytes.NewReader(stdin)
	out, err := cmd.Output()
	require.NoError(t, err)
	var got [][2]float32
	require.NoError(t, json.Unmarshal(out, &got))
	require.Len(t, got, len(rows))
	for n, i := range rows {
		want, err := answerOf(i, version)
		require.NoError(t, err)
		require.Equal(t, want, got[n], "request %d", i)
	}
}
