package load_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/model/load"
)

// changed is a copy of a recorded model folder whose MLmodel and model file are
// changed, by pairs of old and new.
func changed(t *testing.T, name string, pairs ...string) string {
	t.Helper()
	dir := t.TempDir()
	files, err := filepath.Glob(filepath.Join("testdata", "mlflow", "models", name, "*"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	var all []byte
	for _, path := range files {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		all = append(all, data...)
		data = []byte(strings.NewReplacer(pairs...).Replace(string(data)))
		require.NoError(t, os.WriteFile(filepath.Join(dir, filepath.Base(path)), data, 0o600))
	}
	for i := 0; i < len(pairs); i += 2 {
		require.Contains(t, string(all), pairs[i])
	}
	return dir
}

func treeOptions(dir, flavor string) load.Options {
	return load.Options{Folder: dir, Name: "m", Flavor: flavor, Limits: model.Limits{MaxRows: 100, MaxElements: 1 << 20}, MaxBatch: 8}
}

func TestTheFlavorIsChosen(t *testing.T) {
	pickled := []string{"model_class: lightgbm.basic.Booster", "model_class: lightgbm.sklearn.LGBMClassifier"}
	linear := []string{"is_linear=0", "is_linear=1"}
	for name, c := range map[string]struct {
		model, flavor string
		change        []string
		want          string // the flavor, or part of the error
		native        bool   // of an error: it is none of ErrNotNative
	}{
		"lightgbm":             {"L_cols", "", nil, "lightgbm", true},
		"by name":              {"L_cols", "lightgbm", nil, "lightgbm", true},
		"xgboost":              {"X_cols", load.Auto, nil, "xgboost", true},
		"estimator":            {"S_cls_none", load.Auto, nil, "xgboost", true},
		"another":              {"L_cols", "xgboost", nil, "the model has no flavor xgboost, but lightgbm, python_function", true},
		"unknown":              {"L_cols", "spark", nil, "flavor spark is not supported", true},
		"pickled":              {"L_cols", load.Auto, pickled, "the model is a pickled lightgbm.sklearn.LGBMClassifier", false},
		"pickled by name":      {"L_cols", "lightgbm", pickled, "flavor lightgbm: the model is a pickled", false},
		"linear trees":         {"L_cols", load.Auto, linear, "linear trees", false},
		"categories":           {"L_cols", load.Auto, []string{"pandas_categorical:null", `pandas_categorical:[["a"]]`}, "pandas' categories", false},
		"class":                {"X_cols", load.Auto, []string{"xgboost.core.Booster", "xgboost.dask.DaskXGBRegressor"}, "the class xgboost.dask.DaskXGBRegressor", false},
		"parameters":           {"X_cols", load.Auto, []string{"params: null", `params: '[{"name": "output_margin", "type": "boolean", "default": true, "shape": null}]'`}, "parameter output_margin changes what XGBoost predicts", false},
		"other parameters":     {"X_cols", load.Auto, []string{"params: null", `params: '[{"name": "depth", "type": "long", "default": 1, "shape": null}]'`}, "xgboost", true},
		"broken":               {"L_cols", load.Auto, []string{"end of trees", "end of tree"}, "where a tree should begin", true},
		"no data":              {"L_cols", load.Auto, []string{"data: model.lgb", "fata: model.lgb"}, "names no data", true},
		"columns of strings":   {"L_cols", load.Auto, []string{`"double", "name": "a"`, `"string", "name": "a"`}, "column a is of type string, the model takes numbers", true},
		"other columns":        {"L_cols", load.Auto, []string{`{"type": "double", "name": "a", "required": true}, `, ""}, "it has 2 columns, the model takes 3", true},
		"other names":          {"X_cols", load.Auto, []string{`"name": "a"`, `"name": "z"`}, "column z is none that the model takes at that place", true},
		"named tensor":         {"L_tens", load.Auto, []string{`[{"type": "tensor"`, `[{"name": "X", "type": "tensor"`}, "its tensors have names", true},
		"tensor of other size": {"L_tens", load.Auto, []string{"[-1, 3]", "[-1, 4]"}, "its tensor has shape [-1, 4], the model takes 3 columns", true},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			o := treeOptions(changed(t, c.model, c.change...), c.flavor)
			o.Logger = slog.New(slog.NewTextHandler(&log, nil))
			s, err := load.Open(t.Context(), o)
			if err == nil {
				require.Equal(t, c.want, s.Flavor)
				require.True(t, s.Model.Info().Batches)
				require.NoError(t, s.Release())
				return
			}
			require.ErrorContains(t, err, c.want)
			require.Equal(t, !c.native, strings.Contains(err.Error(), load.ErrNotNative.Error()), err)
			if !c.native {
				require.ErrorIs(t, err, load.ErrNotNative)
			}
			require.Equal(t, !c.native && c.flavor == load.Auto, strings.Contains(log.String(), "flavor passed over"), log.String())
		})
	}
}

// What is asked in the Open Inference Protocol, and what people are shown to
// begin with.
func TestTreesAnswer(t *testing.T) {
	for name, c := range map[string]struct{ model, body, want string }{
		"V2": {
			"L_cols", `{"id": "7", "inputs": [{"name": "input-1", "shape": [2, 3], "datatype": "FP64", "data": [1.5, 2, 0.5, 0, 1, 2]}]}`,
			`{"model_name":"m","model_version":"","id":"7","outputs":[{"name":"output-1","shape":[2],"datatype":"FP64","data":[0.5269453967620099,0.08617257197526942]}]}`,
		},
		"V2 of labels": {
			"S_cls_none", `{"inputs": [{"name": "input-1", "shape": [1, 3], "datatype": "FP32", "data": [1.5, 2, 0.5]}]}`,
			`{"model_name":"m","model_version":"","outputs":[{"name":"output-1","shape":[1],"datatype":"INT64","data":[2]}]}`,
		},
		"MLflow": {"X_plain_none", `{"inputs": [[1.5, 2, 0.5]]}`, `{"predictions": [[0.11204051226377487, 0.13478319346904755, 0.7531762719154358]]}`},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := load.Open(t.Context(), treeOptions(filepath.Join("testdata", "mlflow", "models", c.model), ""))
			require.NoError(t, err)
			var req model.Request
			for _, body := range []string{string(s.Codec.Example()), c.body} {
				require.NoError(t, s.Codec.Decode(&req, "", []byte(body)), body)
				out, err := s.Model.Predict(t.Context(), req.Inputs)
				require.NoError(t, err)
				answer, err := s.Codec.Encode(nil, &req, out, s.Name, s.Version)
				require.NoError(t, err)
				if body == c.body {
					require.Equal(t, c.want, string(answer))
				}
			}
		})
	}
}
