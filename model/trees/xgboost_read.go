package trees

import (
	"errors"
	"fmt"
)

// xgbModel is what the file holds.
type xgbModel struct {
	version    []int32
	attributes map[string]string
	features   []string
	params     map[string]string // learner_model_param
	objective  string
	found      bool // there is a learner

	booster   string
	weights   []float32 // of dart's trees
	hasWeight bool
	parallel  map[string]string // gbtree_model_param
	trees     []*tree
	groups    []int32 // tree_info
	indptr    []int32 // where each iteration's trees begin; nil in older files
	recodes   bool    // it was trained on categories of data frames
	words     int     // of the sets of categories
}

func (x *xgbModel) read(r reader) error {
	err := r.object(func(key string) (err error) {
		switch key {
		case "learner":
			x.found = true
			return x.readLearner(r)
		case "version":
			x.version, err = r.ints()
			return err
		default:
			return r.skip()
		}
	})
	if err == nil && !x.found {
		err = errors.New("not an XGBoost model: it has no learner")
	}
	return err
}

func (x *xgbModel) readLearner(r reader) error {
	return r.object(func(key string) (err error) {
		switch key {
		case "attributes":
			x.attributes, err = readTexts(r)
		case "feature_names":
			x.features, err = readList(r)
		case "learner_model_param":
			x.params, err = readTexts(r)
		case "objective":
			err = r.object(func(key string) (err error) {
				if key != "name" {
					return r.skip()
				}
				x.objective, err = r.text()
				return err
			})
		case "gradient_booster":
			err = x.readBooster(r)
		default:
			err = r.skip()
		}
		return err
	})
}

// readBooster reads gbtree, or dart, which is a gbtree with weights. The name
// comes last.
func (x *xgbModel) readBooster(r reader) error {
	return r.object(func(key string) (err error) {
		switch key {
		case "gbtree":
			return x.readBooster(r)
		case "model":
			return x.readTrees(r)
		case "name":
			x.booster, err = r.text()
			return err
		case "weight_drop":
			x.hasWeight = true
			x.weights, err = r.floats()
			return err
		default:
			return r.skip()
		}
	})
}

func (x *xgbModel) readTrees(r reader) error {
	return r.object(func(key string) (err error) {
		switch key {
		case "gbtree_model_param":
			x.parallel, err = readTexts(r)
		case "iteration_indptr":
			x.indptr, err = r.ints()
		case "tree_info":
			x.groups, err = r.ints()
		case "trees":
			err = r.list(func() error {
				t, err := readXGBTree(r, &x.words)
				if err != nil {
					return fmt.Errorf("tree %d: %w", len(x.trees), err)
				}
				x.trees = append(x.trees, t)
				return nil
			})
		case "cats":
			err = r.object(func(key string) error {
				if key != "enc" {
					return r.skip()
				}
				return r.list(func() error { x.recodes = true; return r.skip() })
			})
		default:
			err = r.skip()
		}
		return err
	})
}

// readTexts reads an object of texts and numbers; other members are passed.
func readTexts(r reader) (map[string]string, error) {
	all := map[string]string{}
	err := r.object(func(key string) (err error) {
		all[key], err = r.text()
		return err
	})
	return all, err
}

func readList(r reader) (out []string, err error) {
	err = r.list(func() error {
		s, err := r.text()
		out = append(out, s)
		return err
	})
	return out, err
}
