//go:build !cgo

package onnx_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model/onnx"
)

func TestWithoutCgo(t *testing.T) {
	_, err := onnx.Open(t.Context(), "model.onnx", onnx.Options{})
	require.ErrorIs(t, err, onnx.ErrNoCgo)
}
