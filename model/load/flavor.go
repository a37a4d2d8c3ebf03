package load

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/model/mlflow"
)

// Auto is the flavor that stands for the first of mlflow.Preferred that the
// model has and that can be served.
const Auto = "auto"

// ErrNotNative is a model of a known flavor that its own runtime here cannot
// serve, but MLflow's Python might. Openers wrap it, with what it is about the
// model.
var ErrNotNative = errors.New("not served without Python")

// opener opens the model of a folder whose flavor it knows.
type opener func(ctx context.Context, f *mlflow.Folder, o *Options) (model.Model, error)

// runtimes are the flavors that can be served.
func runtimes() map[string]opener {
	return map[string]opener{"onnx": openONNX, "lightgbm": openLightGBM, "xgboost": openXGBoost, "python_function": openPyFunc}
}

// openFlavor opens the model by the flavor that is asked for, or by the first
// that can. It returns the folder as that flavor's. A model that is broken is
// not tried by its other flavors: they have the same file.
func openFlavor(ctx context.Context, f *mlflow.Folder, o *Options) (model.Model, *mlflow.Folder, error) {
	known := runtimes()
	if o.Flavor != "" && o.Flavor != Auto {
		open, ok := known[o.Flavor]
		if !ok {
			return nil, nil, fmt.Errorf("flavor %s is not supported: %s", o.Flavor, names(known))
		}
		return openAs(ctx, f, o, o.Flavor, open)
	}
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	var passed []error
	for _, name := range mlflow.Preferred() {
		open, ok := known[name]
		if !ok || !slices.Contains(f.Flavors, name) {
			continue
		}
		m, as, err := openAs(ctx, f, o, name, open)
		if err == nil {
			return m, as, nil
		}
		if !errors.Is(err, ErrNotNative) {
			return nil, nil, errors.Join(append(passed, err)...) // those before may be what is to be mended
		}
		log.Info("flavor passed over", "model", o.Name, "version", o.Version, "flavor", name, "reason", err)
		passed = append(passed, err)
	}
	err := fmt.Errorf("none of the model's flavors (%s) is supported: %s", strings.Join(f.Flavors, ", "), names(known))
	return nil, nil, errors.Join(append(passed, err)...)
}

func openAs(ctx context.Context, f *mlflow.Folder, o *Options, name string, open opener) (model.Model, *mlflow.Folder, error) {
	as, err := f.As(name)
	if err != nil {
		return nil, nil, err
	}
	m, err := open(ctx, as, o)
	if err != nil {
		return nil, nil, fmt.Errorf("flavor %s: %w", name, err)
	}
	return m, as, nil
}

func names(known map[string]opener) string {
	return strings.Join(slices.Sorted(maps.Keys(known)), ", ")
}
