//go:build !cgo

package onnx

import (
	"context"
	"errors"

	"github.com/millrace/millrace/model"
)

// Model cannot be had in a build without cgo.
type Model struct{ model.Model }

// ErrNoCgo is [Open]'s error in a build without cgo.
var ErrNoCgo = errors.New("ONNX is unavailable in this build: it was built without cgo (CGO_ENABLED=0)")

// Open says that ONNX is unavailable.
func Open(context.Context, string, Options) (*Model, error) { return nil, ErrNoCgo }
