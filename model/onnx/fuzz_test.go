//go:build cgo

package onnx_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/millrace/millrace/model/onnx"
	"github.com/millrace/millrace/model/onnx/onnxtest"
)

// Whatever the file holds, opening it gives a model or an error: the runtime
// is C++, and a fault in it would end the process.
func FuzzOpen(f *testing.F) {
	external, _ := onnxtest.External("weights")
	for _, data := range [][]byte{
		onnxtest.Version(1), onnxtest.Multi(), onnxtest.Classifier(true), onnxtest.Neighbours(), external,
		onnxtest.Identity(onnxtest.Float16, -1), onnxtest.Identity(onnxtest.String), nil,
	} {
		f.Add(data)
	}
	path := filepath.Join(f.TempDir(), "model.onnx")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := onnx.Open(context.Background(), path, onnx.Options{Lanes: 1})
		if err == nil {
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
