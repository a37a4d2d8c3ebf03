package load

import (
	"context"

	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/model/mlflow"
	"github.com/millrace/millrace/model/onnx"
)

func openONNX(ctx context.Context, f *mlflow.Folder, o *Options) (model.Model, error) {
	session, err := onnx.ParseSessionOptions(f.SessionOptions)
	if err != nil {
		return nil, err
	}
	m, err := onnx.Open(ctx, f.Data, onnx.Options{Library: o.Library, Lanes: o.Lanes, Session: session})
	if err != nil {
		return nil, err // not m: a nil *onnx.Model is no nil model.Model
	}
	return m, nil
}
