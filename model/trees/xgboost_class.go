package trees

import (
	"fmt"
	"strings"

	"github.com/millrace/millrace/model"
)

// xgbClass is the Python class whose predict is answered for.
type xgbClass struct {
	estimator  bool // of scikit-learn's kind, which knows its best iteration
	classifier bool
	ranker     bool
	kind       string // scikit-learn's _estimator_type
}

func xgbClassOf(name string) (xgbClass, error) {
	short, sklearn := strings.CutPrefix(name, "xgboost.sklearn.")
	switch {
	case name == "" || name == "xgboost.core.Booster":
		return xgbClass{}, nil
	case !sklearn:
	case short == "XGBClassifier" || short == "XGBRFClassifier":
		return xgbClass{estimator: true, classifier: true, kind: "classifier"}, nil
	case short == "XGBRegressor" || short == "XGBRFRegressor":
		return xgbClass{estimator: true, kind: "regressor"}, nil
	case short == "XGBRanker":
		return xgbClass{estimator: true, ranker: true, kind: "ranker"}, nil
	case short == "XGBModel":
		return xgbClass{estimator: true}, nil
	}
	return xgbClass{}, unsupported("the class %s", clip(name))
}

// answer is what the class's predict returns.
func (c xgbClass) answer(x *xgbModel, obj xgbObjective, groups, classes int) (answer[float32], error) {
	a := answer[float32]{width: groups, matrix: groups > 1, finish: obj.finish, dtype: model.Float32, finite: !c.estimator}
	if strings.HasPrefix(x.objective, "multi:") && classes < 1 {
		return a, fmt.Errorf("objective %s without a num_class", x.objective)
	}
	if obj.argmax {
		a.width, a.matrix = 1, false
	}
	if said, ok := x.attributes["scikit_learn"]; ok && c.estimator && c.kind != "" && strings.Contains(said, `"_estimator_type"`) &&
		!strings.Contains(said, `"_estimator_type": "`+c.kind+`"`) {
		return a, unsupported("a class other than the one that was saved (%s)", clip(said))
	}
	if c.classifier {
		c.label(&a, obj, max(2, classes))
	}
	return a, nil
}

// takes is how requests become the class's matrix. A booster's goes through a
// DMatrix, an estimator's does not.
func (c xgbClass) takes(names []string) model.Matrix {
	m := model.Matrix{Columns: names, Unique: true}
	if len(names) == 0 {
		m.Columns = nil
	}
	if c.estimator {
		m.Vector = true
	} else {
		m.Named, m.Plain = m.Columns != nil, true
	}
	if c.ranker {
		m.Drop = "qid"
	}
	return m
}

// label makes labels of what the booster answers, as XGBClassifier.predict
// does: of one column or none the class, by 0.5 or by the largest; of two or
// more columns that are no classes an indicator each.
func (c xgbClass) label(a *answer[float32], obj xgbObjective, classes int) {
	switch {
	case a.matrix && classes != 2:
		width, finish := a.width, a.finish
		a.finish = func(sums []float32) {
			if finish != nil {
				finish(sums)
			}
			sums[0] = float32(best(sums[:width])) // exact, as there are at most 2^16
		}
		a.width, a.matrix, a.dtype = 1, false, model.Int64
		a.labels = func(all []float32, out *model.Tensor) { out.Data = model.BytesOf(converted[int64](all)) }
	case a.matrix:
		a.dtype = model.Float64
		a.labels = func(all []float32, out *model.Tensor) { out.Data = model.BytesOf(indicators[float64](all)) }
	case obj.argmax:
		a.dtype = model.Int32
		a.labels = func(all []float32, out *model.Tensor) { out.Data = model.BytesOf(converted[int32](all)) }
	default:
		a.dtype = model.Int64
		a.labels = func(all []float32, out *model.Tensor) { out.Data = model.BytesOf(indicators[int64](all)) }
	}
}

func converted[T int32 | int64](all []float32) []T {
	out := make([]T, len(all))
	for i, x := range all {
		out[i] = T(x)
	}
	return out
}

// indicators are 1 above a half, else 0.
func indicators[T int64 | float64](all []float32) []T {
	out := make([]T, len(all))
	for i, x := range all {
		if x > 0.5 {
			out[i] = 1
		}
	}
	return out
}
