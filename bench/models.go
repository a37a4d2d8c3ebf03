package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"

	"github.com/millrace/millrace/bundled"
	"github.com/millrace/millrace/model/onnx/onnxtest"
)

// subject is a model to measure with, and requests for it.
type subject struct {
	name    string
	about   string
	records int // of one measurement, by default

	// folder writes the model's folder below dir and returns its path.
	folder func(dir string) (string, error)
	// body appends the body of request i, which is like no other.
	body func(dst []byte, i int) []byte
}

func modelNamed(name string) (subject, error) {
	switch name {
	case "mlp":
		return subject{name, "32 → 256 → 256 → 1", 800_000, mlpFolder, mlpBody}, nil
	case "forecaster":
		return subject{name, "the bundled one, 48 hours → 12", 250_000, bundled.Materialize, forecasterBody}, nil
	}
	return subject{}, fmt.Errorf("--model: %q is neither mlp nor forecaster", name)
}

const mlpMLmodel = `flavors:
  onnx:
    data: model.onnx
    providers:
    - CPUExecutionProvider
signature:
  inputs: '[{"name": "X", "type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 32]}}]'
  outputs: '[{"name": "Y", "type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 1]}}]'
  params: null
`

func mlpFolder(dir string) (string, error) {
	path := filepath.Join(dir, "mlp")
	if err := os.MkdirAll(path, 0o750); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(path, "model.onnx"), onnxtest.MLP(1), 0o600); err != nil {
		return "", err
	}
	return path, os.WriteFile(filepath.Join(path, "MLmodel"), []byte(mlpMLmodel), 0o600)
}

func mlpBody(dst []byte, i int) []byte {
	r := seeded(i)
	return row(append(dst, `{"inputs": {"X": [`...), 32, func(int) float64 { return r.NormFloat64() }, 4)
}

// forecasterBody is a real window of hourly temperatures, each a little off.
func forecasterBody(dst []byte, i int) []byte {
	r, window := seeded(i), bundled.Window(i)
	value := func(k int) float64 { return float64(window[k]) + r.NormFloat64() }
	return row(append(dst, `{"inputs": {"window": [`...), len(window), value, 2)
}

func seeded(i int) *rand.Rand {
	return rand.New(rand.NewPCG(uint64(i), 7)) //nolint:gosec // values to compute with
}

func row(dst []byte, n int, value func(int) float64, digits int) []byte {
	dst = append(dst, '[')
	for k := range n {
		if k > 0 {
			dst = append(dst, ", "...)
		}
		dst = strconv.AppendFloat(dst, value(k), 'f', digits, 64)
	}
	return append(dst, "]]}}"...)
}

// bodies are the requests 0 to n-1.
func (s *subject) bodies(n int) [][]byte {
	all := make([][]byte, n)
	var text []byte
	for i := range all {
		text = s.body(text[:0], i)
		all[i] = append(make([]byte, 0, len(text)), text...)
	}
	return all
}
