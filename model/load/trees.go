package load

import (
	"context"
	"errors"
	"fmt"
	"slices"

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
	signature, err := f.Signature()
	if err != nil {
		return nil, err
	}
	if signature != nil {
		for _, p := range signature.Params() {
			if slices.Contains(xgbParams(), p.Name) {
				return nil, fmt.Errorf("the signature's parameter %s changes what XGBoost predicts: %w", p.Name, ErrNotNative)
			}
		}
	}
	m, err := trees.OpenXGBoost(f.Data, f.Class)
	return native(m, err)
}

// xgbParams are the parameters that XGBoost's predict takes, of a booster or an
// estimator. MLflow hands it those that a signature has, with their defaults,
// and ignores others; LightGBM gets none.
func xgbParams() []string {
	return []string{
		"X", "data", "output_margin", "pred_leaf", "pred_contribs", "approx_contribs", "pred_interactions",
		"validate_features", "training", "iteration_range", "strict_shape", "base_margin",
	}
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
