// Package model says what a model is to the rest of Millrace: tensors,
// signatures, the wire dialects that requests come in, and the snapshot of one
// model version that a batch runs on. Runtimes (model/onnx) and registries
// (model/mlflow) are below it. It imports the standard library alone.
package model

import (
	"context"
	"sync/atomic"
	"time"
)

// Spec describes one input or output of a [Model]. A dimension of -1 is
// variable.
type Spec struct {
	Name  string
	DType DType
	Shape []int64
}

// Info is what a [Model] takes and gives.
type Info struct {
	Inputs  []Spec
	Outputs []Spec

	// Batches says that rows of several requests may share one call: the first
	// dimension of every input and output is the row, and a row's answer does
	// not depend on its neighbours. It is found out by trying, when the model
	// is opened.
	Batches bool

	// Raw says that the model reads and writes bodies by itself: the rest is as
	// in [RawInfo].
	Raw bool

	// Array says that the answer is the one output's array, as MLflow writes
	// what a flavor returns as a bare array; else outputs are named.
	Array bool

	// Matrix says that the one input is a matrix that the model's library makes
	// of a data frame or an array by rules of its own; nil when inputs have to
	// be of the model's types.
	Matrix *Matrix
}

// Model runs inference. It is safe for concurrent use.
type Model interface {
	Info() Info

	// Predict runs one call. inputs are in the order of Info().Inputs, outputs
	// in the order of Info().Outputs and owned by the caller. Errors of the
	// input are [*Error] with [InvalidInput]; others are the model's failure.
	// Cancelling ctx ends the call early.
	Predict(ctx context.Context, inputs []Tensor) ([]Tensor, error)

	// Close frees the model. No Predict may be running or follow.
	Close() error
}

// Snapshot is one model version, opened and warm. Everything in it changes
// together: it is immutable, and a worker holds it for the length of a batch.
type Snapshot struct {
	Name     string // the registered model's name, or the folder's
	Version  string // "3"; a content hash for a folder
	Identity string // tells apart versions that share a name and number
	Source   string // where it came from: a URI for people
	Flavor   string // "onnx"
	Loaded   time.Time
	Bytes    int64 // of memory, by estimate

	// Example is the body of a request, application/json, that the model was
	// logged with; nil when there was none, or one beyond all reason.
	Example []byte

	Signature *Signature
	Codec     *Codec
	Model     Model

	refs atomic.Int64 // holders; the owner is one of them
}

// Open starts the count of a snapshot's holders at one, its owner, and returns
// it.
func Open(s *Snapshot) *Snapshot {
	s.refs.Store(1)
	return s
}

// Acquire adds a holder. It reports false when the snapshot is already closed:
// whoever gets false asks for the current snapshot again.
func (s *Snapshot) Acquire() bool {
	for {
		n := s.refs.Load()
		if n == 0 {
			return false
		}
		if s.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Held says whether anybody but the owner holds it, which may change at any
// time.
func (s *Snapshot) Held() bool { return s.refs.Load() > 1 }

// Release gives up a hold. The last one closes the model.
func (s *Snapshot) Release() error {
	if s.refs.Add(-1) == 0 {
		return s.Model.Close()
	}
	return nil
}
