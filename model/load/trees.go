package load

import (
	"context"
	"errors"
	"fmt"

	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/model/mlflow"
	"github.com/millrace/millrace/model/trees"
)

// openLightGBM opens what save_model of a booster wrote. MLflow pickles
// LightGBM's scikit-learn classes instead.
func openLightGBM(_ context.Context, f *mlflow.Folder, _ *Options) (model.Model, error) {
	if f.Class != "" && f.Class != "lightgbm.basic.Booster" {
		return nil, fmt.Errorf("the model is a pickled %s: %w", f.Class, ErrNotNative)
	}
	m, err := trees.OpenLightGBM(f.Data)
	return native(m, err)
}

// openXGBoost opens what save_model wrote, of a booster or of XGBoost's
// scikit-learn classes.
func openXGBoost(_ context.Context, f *mlflow.Folder, _ *Options) (model.Model, error) {
	m, err := trees.OpenXGBoost(f.Data, f.Class)
	return native(m, err)
}

func native(m *trees.Model, err error) (model.Model, error) {
	switch {
	case errors.Is(err, trees.ErrUnsupported):
		return nil, fmt.Errorf("%w: %w", err, ErrNotNative)
	case err != nil:
		return nil, err // not m: a nil *trees.Model is no nil model.Model
	}
	return m, nil
}
