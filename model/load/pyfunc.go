package load

import (
	"context"
	"os"

	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/model/mlflow"
	"github.com/millrace/millrace/model/pyfunc"
)

func openPyFunc(ctx context.Context, f *mlflow.Folder, o *Options) (model.Model, error) {
	opts := pyfunc.Options{
		Config: o.PyFunc, Folder: f.Root, Name: o.Name, Version: o.Version, Limits: o.Limits, MaxBatch: max(1, o.MaxBatch),
		Environ: o.Environ, EnvDir: o.EnvDir, Logger: o.Logger, Observer: o.Processes,
	}
	if f.ServingExample != "" {
		body, err := os.ReadFile(f.ServingExample)
		if err != nil {
			return nil, err
		}
		opts.Example = body
	} else if signature, err := f.Signature(); err == nil {
		opts.Probe = model.NewRawCodec(signature, o.Limits).Example()
	}
	m, err := pyfunc.Open(ctx, opts)
	if err != nil {
		return nil, err // not m: a nil *pyfunc.Model is no nil model.Model
	}
	return m, nil
}
