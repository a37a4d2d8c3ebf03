// Package load turns a model folder, as MLflow writes it, into a
// [model.Snapshot] that is ready to serve: opened by the runtime of its flavor,
// warm, and known to batch or not.
package load

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/model/mlflow"
	"github.com/millrace/millrace/model/pyfunc"
)

// Options of [Open].
type Options struct {
	Folder string // the model's, with its MLmodel

	// What the snapshot is called; see model.Snapshot.
	Name     string
	Version  string
	Identity string
	Source   string

	Flavor string       // one of mlflow.Preferred; "" or Auto for the first that can be served
	Logger *slog.Logger // which flavors are passed over and why; nil for nowhere

	Limits   model.Limits
	Lanes    int    // calls that run at a time, GOMAXPROCS when it is 0
	Library  string // ONNX Runtime's shared library, looked for when it is empty
	MaxBatch int    // rows of the largest batch to warm up for, 1 when it is 0

	// What models of the flavor python_function need besides; see pyfunc.Options.
	PyFunc    pyfunc.Config
	Environ   map[string]string
	EnvDir    string
	Processes pyfunc.Observer

	// Opened is called when the model is open and about to be warmed; may be nil.
	Opened func()
}

// Open loads a folder. It fails, with the reason, on one that is incomplete,
// that leads out of itself, that contradicts its signature, or that its runtime
// refuses. The snapshot's owner is the caller.
func Open(ctx context.Context, o Options) (*model.Snapshot, error) {
	f, err := mlflow.ReadFolder(o.Folder)
	if err != nil {
		return nil, err // it names the folder
	}
	s, err := open(ctx, f, &o)
	if err != nil {
		return nil, fmt.Errorf("load model %s: %w", o.Folder, err)
	}
	return s, nil
}

func open(ctx context.Context, f *mlflow.Folder, o *Options) (_ *model.Snapshot, err error) {
	signature, err := f.Signature()
	if err != nil {
		return nil, err
	}
	m, f, err := openFlavor(ctx, f, o)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.Close())
		}
	}()
	codec, err := model.NewCodec(signature, m.Info(), o.Limits)
	if err != nil {
		return nil, err
	}
	if o.Opened != nil {
		o.Opened()
	}
	example := exampleOf(f)
	ready := m
	if !m.Info().Raw { // which is warm, and knows what may share a call
		if ready, err = warm(ctx, m, inputsOf(example, codec), max(1, o.MaxBatch)); err != nil {
			return nil, err
		}
	}
	if ready.Info().Batches { // the codec was built before that was known, and may depend on it
		if codec, err = model.NewCodec(signature, ready.Info(), o.Limits); err != nil {
			return nil, err
		}
	}
	return model.Open(&model.Snapshot{
		Name: o.Name, Version: o.Version, Identity: o.Identity, Source: o.Source,
		Flavor: f.Flavor, Loaded: time.Now(), Bytes: memoryOf(o.Folder, m), Example: kept(example),
		Signature: signature, Codec: codec, Model: ready,
	}), nil
}

// maxExample bounds the example that is kept with the snapshot: it is run again
// when another version comes.
const maxExample = 1 << 20

// exampleOf returns the request that the folder has for an example, nil when it
// has none.
func exampleOf(f *mlflow.Folder) []byte {
	if f.ServingExample == "" {
		return nil
	}
	body, err := os.ReadFile(f.ServingExample)
	if err != nil {
		return nil
	}
	return body
}

// inputsOf returns what an example stands for, nil when there is none or it is
// not a request: MLflow saves some that it could not serve itself.
func inputsOf(example []byte, codec *model.Codec) []model.Tensor {
	if example == nil {
		return nil
	}
	var req model.Request
	if err := codec.Decode(&req, "application/json", example); err != nil {
		return nil
	}
	return req.Inputs
}

// kept is the example, unless it is beyond all reason.
func kept(example []byte) []byte {
	if len(example) > maxExample {
		return nil
	}
	return example
}
