package trees

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/millrace/millrace/model"
)

// OpenXGBoost reads a model file that XGBoost's save_model wrote, in JSON or
// UBJSON. class is the Python class that predicts, as MLflow writes it to
// model_class: xgboost.core.Booster, which "" stands for, or one of
// xgboost.sklearn, whose classifiers answer with labels.
func OpenXGBoost(path, class string) (*Model, error) {
	return open(path, func(data []byte) (*Model, error) { return ParseXGBoost(data, class) })
}

// ParseXGBoost reads a model from the contents of its file. Source of the
// format: XGBoost's model.schema, by what save_model writes.
func ParseXGBoost(data []byte, class string) (*Model, error) {
	c, err := xgbClassOf(class)
	if err != nil {
		return nil, err
	}
	if len(data) > 4 && string(data[:4]) == "binf" || len(data) > 0 && data[0] != '{' && !space(data[0]) {
		return nil, unsupported("a model file that is neither JSON nor UBJSON, as XGBoost wrote them before 2.1: save it again")
	}
	r, err := newReader(data)
	if err != nil {
		return nil, err
	}
	var x xgbModel
	if err := x.read(r); err != nil {
		return nil, err
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	return x.model(c)
}

// numberOf is one of the texts as a number; preset when it is not there.
func numberOf(of map[string]string, name string, preset, least, most int) (int, error) {
	text, ok := of[name]
	if !ok {
		return preset, nil
	}
	return count(name, text, least, most)
}

// model makes a forest of what was read.
func (x *xgbModel) model(class xgbClass) (*Model, error) {
	features, err := numberOf(x.params, "num_feature", -1, 1, maxFeatures)
	if err != nil {
		return nil, err
	}
	classes, err := numberOf(x.params, "num_class", 0, 0, maxGroups)
	if err != nil {
		return nil, err
	}
	targets, err := numberOf(x.params, "num_target", 1, 0, maxGroups)
	if err != nil {
		return nil, err
	}
	switch {
	case x.booster != "gbtree" && x.booster != "dart":
		return nil, unsupported("XGBoost's booster %q", clip(x.booster))
	case features < 0:
		return nil, errors.New("num_feature is missing")
	case len(x.groups) != len(x.trees):
		return nil, fmt.Errorf("tree_info has %d items, where there are %d trees", len(x.groups), len(x.trees))
	case x.hasWeight && len(x.weights) != len(x.trees):
		return nil, fmt.Errorf("weight_drop has %d items, where there are %d trees", len(x.weights), len(x.trees))
	case class.estimator && x.recodes:
		return nil, unsupported("an estimator that was trained on a data frame's categories: XGBoost takes them from data frames of that type alone, which no request has")
	}
	f := &forest[int32, float32]{
		features: features, groups: max(1, classes, targets),
		top: math.MaxInt32, key: below, fill: fill32,
	}
	obj, err := xgbObjectiveOf(x.objective)
	if err != nil {
		return nil, err
	}
	if f.base, err = x.base(f.groups, obj); err != nil {
		return nil, err
	}
	for i, t := range x.trees {
		t.group = int(x.groups[i])
		if x.hasWeight {
			for n, v := range t.value {
				t.value[n] = float64(float32(v) * x.weights[i])
			}
		}
	}
	all, err := x.used(class, f.groups)
	if err != nil {
		return nil, err
	}
	if err := f.lay(all); err != nil {
		return nil, err
	}
	a, err := class.answer(x, obj, f.groups, classes)
	if err != nil {
		return nil, err
	}
	if len(x.features) > 0 && len(x.features) != features {
		return nil, fmt.Errorf("%d names of %d features", len(x.features), features)
	}
	a.takes = class.takes(x.features)
	m := f.model(model.Float32, a)
	m.about = About{Library: "XGBoost", Booster: x.booster, Objective: x.objective, Trees: len(all), Features: x.features}
	var version []string
	for _, v := range x.version {
		version = append(version, strconv.Itoa(int(v)))
	}
	m.about.Version = strings.Join(version, ".")
	return m, nil
}

// base is what the sums begin with: base_score, which is on the scale of the
// answers, turned back to that of the sums. Since 3.1 it is a list.
func (x *xgbModel) base(groups int, obj xgbObjective) ([]float32, error) {
	text, ok := x.params["base_score"]
	if !ok {
		text = "5E-1"
	}
	items := strings.Split(strings.Trim(text, "[]"), ",")
	if len(items) != 1 && len(items) != groups {
		return nil, fmt.Errorf("base_score has %d numbers, the model %d outputs", len(items), groups)
	}
	base := make([]float32, groups)
	for i := range base {
		v, err := strconv.ParseFloat(strings.TrimSpace(items[min(i, len(items)-1)]), 32)
		if err != nil {
			return nil, fmt.Errorf("base_score: %q is no number", clip(text))
		}
		if base[i] = float32(v); obj.margin != nil {
			base[i] = obj.margin(base[i])
		}
	}
	return base, nil
}

// used are the trees that predict walks: all for a booster. An estimator that
// stopped early leaves out those behind its best iteration.
func (x *xgbModel) used(class xgbClass, groups int) ([]*tree, error) {
	text, ok := x.attributes["best_iteration"]
	if !class.estimator || !ok {
		return x.trees, nil
	}
	best, err := count("best_iteration", text, 0, math.MaxInt32-1)
	if err != nil {
		return nil, err
	}
	if x.indptr != nil {
		if best+1 >= len(x.indptr) {
			return nil, fmt.Errorf("best_iteration %d, where there are %d", best, len(x.indptr)-1)
		}
		n := int(x.indptr[best+1])
		if n < 0 || n > len(x.trees) {
			return nil, fmt.Errorf("iteration_indptr %d, where there are %d trees", n, len(x.trees))
		}
		return x.trees[:n], nil
	}
	parallel, err := numberOf(x.parallel, "num_parallel_tree", 1, 0, maxNodes)
	if err != nil {
		return nil, err
	}
	n := (best + 1) * max(1, parallel) * groups
	if n < 0 || n > len(x.trees) {
		return nil, fmt.Errorf("best_iteration %d needs %d trees, there are %d", best, n, len(x.trees))
	}
	return x.trees[:n], nil
}
