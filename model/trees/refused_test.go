package trees_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/model/trees"
)

const newest = "testdata/lightgbm-4.7-xgboost-3.2"

func fixture(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(newest, name))
	require.NoError(t, err)
	return string(data)
}

// refusal is a file that is changed, and what is said of it.
type refusal struct {
	old, with string // what is replaced once, by what
	want      string
	known     bool // it is ErrUnsupported
}

func (c refusal) hold(t *testing.T, file string, parse func([]byte) (*trees.Model, error)) {
	t.Helper()
	if c.old != "" {
		require.Contains(t, file, c.old)
		file = strings.Replace(file, c.old, c.with, 1)
	} else {
		file = c.with
	}
	_, err := parse([]byte(file))
	require.ErrorContains(t, err, c.want)
	if c.known {
		require.ErrorIs(t, err, trees.ErrUnsupported)
	} else {
		require.NotErrorIs(t, err, trees.ErrUnsupported)
	}
}

func TestRefusedLightGBM(t *testing.T) {
	file := fixture(t, "lgb-binary/model.lgb")
	for name, c := range map[string]refusal{
		"nothing":            {"", "", "not a LightGBM model", false},
		"other file":         {"", "{\"learner\": {}}", "not a LightGBM model", false},
		"header alone":       {"", "tree\nversion=v4\n", "ends within the header", false},
		"old":                {"version=v4", "version=v2", `version "v2"`, true},
		"no features":        {"max_feature_idx=29\n", "", "max_feature_idx is missing", false},
		"negative features":  {"max_feature_idx=29", "max_feature_idx=-1", "max_feature_idx", false},
		"fewer features":     {"max_feature_idx=29", "max_feature_idx=3", "splits by feature", false},
		"objective":          {"objective=binary sigmoid:1", "objective=hyperbolic", `objective "hyperbolic"`, true},
		"sigmoid":            {"sigmoid:1", "sigmoid:-1", "not above 0", false},
		"linear":             {"is_linear=0", "is_linear=1", "linear trees", true},
		"a tree less":        {"Tree=0", "Threes=0", "3 trees, where the header has the sizes of 4", false},
		"sizes":              {"tree_sizes=", "tree_sizes=7 ", "trees, where the header has the sizes of", false},
		"cut off":            {"end of trees", "", "where a tree should begin", false},
		"leaves":             {"num_leaves=7", "num_leaves=8", "values of 8 leaves", false},
		"no leaves":          {"num_leaves=7", "num_leaves=0", "num_leaves", false},
		"many leaves":        {"num_leaves=7", "num_leaves=4000000000", "num_leaves", false},
		"no number":          {"leaf_value=", "leaf_value=x ", "leaf_value", false},
		"few features":       {"split_feature=", "split_feature=1 ", "do not all have 6 items", false},
		"child":              {"left_child=", "left_child=99 ", "do not all have 6 items", false},
		"missing values":     {"decision_type=2", "decision_type=12", "names no kind of missing values", false},
		"set":                {"decision_type=2", "decision_type=1", "a set of categories that is not there", false},
		"sets":               {"num_cat=0", "num_cat=3", "cat_boundaries has 0 items", false},
		"iterations":         {"num_tree_per_iteration=1", "num_tree_per_iteration=3", "do not make iterations of 3", false},
		"pandas' categories": {"pandas_categorical:null", `pandas_categorical:[["a"]]`, "pandas' categories", true},
	} {
		t.Run(name, func(t *testing.T) { c.hold(t, file, trees.ParseLightGBM) })
	}
	for _, n := range []int{1, 7, 300, 2000} {
		cut := file[:len(file)*n/(n+1)]
		if strings.Contains(cut, "end of trees") {
			continue
		}
		_, err := trees.ParseLightGBM([]byte(cut))
		require.Error(t, err)
	}
	cats := fixture(t, "lgb-categories/model.lgb")
	refusal{"cat_boundaries=0 ", "cat_boundaries=9 ", "cat_boundaries 9 to", false}.hold(t, cats, trees.ParseLightGBM)
	refusal{"cat_threshold=", "cat_threshold=-1 ", "cat_threshold", false}.hold(t, cats, trees.ParseLightGBM)
}

func TestRefusedXGBoost(t *testing.T) {
	file := fixture(t, "xgb-binary-logistic/model.json")
	deep := strings.Repeat("[", 100)
	for name, c := range map[string]refusal{
		"nothing":          {"", "", "begins with no object", false},
		"old":              {"", "binf\x00\x00", "neither JSON nor UBJSON", true},
		"list":             {"", " []", "begins with no object", false},
		"no learner":       {"", "{}", "no learner", false},
		"deep":             {`"attributes":{}`, `"attributes":{},"x":` + deep, "nested deeper", false},
		"deep objects":     {`"attributes":{}`, `"x":` + strings.Repeat(`{"a":`, 100), "nested deeper", false},
		"behind":           {`"version":[3,2,0]}`, `"version":[3,2,0]}}`, "goes on behind", false},
		"version":          {`"version":[3,2,0]}`, `"version":[3.5]}`, "no whole number", false},
		"booster":          {`"name":"gbtree"`, `"name":"gbforest"`, `booster "gbforest"`, true},
		"objective":        {`"name":"binary:logistic"`, `"name":"binary:cubic"`, `objective "binary:cubic"`, true},
		"vector":           {`"size_leaf_vector":"1"`, `"size_leaf_vector":"2"`, "leaves of several outputs", true},
		"features":         {`"num_feature":"30","num_target"`, `"num_feature":"2","num_target"`, "splits by feature", false},
		"no features":      {`"num_feature":"30","num_target"`, `"num_target"`, "num_feature is missing", false},
		"many features":    {`"num_feature":"30","num_target"`, `"num_feature":"99999999999","num_target"`, "num_feature", false},
		"classes":          {`"num_class":"0"`, `"num_class":"50000"`, "50000 outputs of 4 trees", false},
		"base score":       {`"base_score":"[`, `"base_score":"[x`, "base_score", false},
		"base scores":      {`"base_score":"[`, `"base_score":"[1,`, "base_score has 2 numbers", false},
		"groups":           {`"tree_info":[0`, `"tree_info":[7`, "of output 7", false},
		"fewer groups":     {`"tree_info":[0,`, `"tree_info":[`, "tree_info has 3 items", false},
		"names":            {`"feature_names":[]`, `"feature_names":["a"]`, "1 names of 30 features", false},
		"lists":            {`"left_children":[`, `"left_children":[1,`, "do not all have", false},
		"cycle":            {`"left_children":[1,3,`, `"left_children":[1,0,`, "is reached twice", false},
		"child":            {`"left_children":[1,`, `"left_children":[77,`, "has the child 77", false},
		"number":           {`"split_conditions":[`, `"split_conditions":["x",`, "where a number should be", false},
		"categories":       {`"split_type":[0`, `"split_type":[1`, "a set of categories that is not there", false},
		"node":             {`"categories_nodes":[],"categories_segments":[],"categories_sizes":[]`, `"categories_nodes":[99],"categories_segments":[0],"categories_sizes":[0]`, "categories of node 99", false},
		"segment":          {`"categories_nodes":[],"categories_segments":[],"categories_sizes":[]`, `"categories_nodes":[0],"categories_segments":[0],"categories_sizes":[9]`, "categories 0 to 9, there are 0", false},
		"overlap":          {`"categories":[],"categories_nodes":[],"categories_segments":[],"categories_sizes":[]`, `"categories":[1],"categories_nodes":[0,1],"categories_segments":[0,0],"categories_sizes":[1,1]`, "categories 0 to 1, there are 1", false},
		"category":         {`"categories":[],"categories_nodes":[],"categories_segments":[],"categories_sizes":[]`, `"categories":[-1],"categories_nodes":[0],"categories_segments":[0],"categories_sizes":[1]`, "category -1 is out of range", false},
		"bad string":       {`"attributes":{}`, `"attributes":{"a\x":"b"}`, "invalid", false},
		"member":           {`"attributes":{}`, `"attributes":{1:2}`, `where '"' should be`, false},
		"no comma":         {`"attributes":{},`, `"attributes":{}`, "where ',' should be", false},
		"numbers of words": {`"default_left":[0`, `"default_left":[maybe`, "no whole number", false},
	} {
		t.Run(name, func(t *testing.T) { c.hold(t, file, booster) })
	}
	for _, name := range []string{"xgb-binary-logistic/model.json", "xgb-ubjson/model.ubj"} {
		whole := fixture(t, name)
		for n := 2; n < len(whole); n += 1 + len(whole)/200 {
			_, err := booster([]byte(whole[:n]))
			require.Error(t, err, n)
		}
	}
	_, err := trees.ParseXGBoost([]byte(file), "xgboost.dask.DaskXGBClassifier")
	require.ErrorIs(t, err, trees.ErrUnsupported)
	_, err = trees.ParseXGBoost([]byte(fixture(t, "xgb-classifier/model.ubj")), "xgboost.sklearn.XGBRegressor")
	require.ErrorIs(t, err, trees.ErrUnsupported)
}

func booster(data []byte) (*trees.Model, error) { return trees.ParseXGBoost(data, "") }

// Sets of large categories take memory that the file does not: there is a bound
// for all of a file's together.
func TestSetsAreBounded(t *testing.T) {
	file := fixture(t, "xgb-binary-logistic/model.json")
	var list, nodes, at, ones []string
	for i := range 20 {
		list, nodes, at, ones = append(list, "16777215"), append(nodes, "0"), append(at, strconv.Itoa(i)), append(ones, "1")
	}
	sets := fmt.Sprintf(`"categories":[%s],"categories_nodes":[%s],"categories_segments":[%s],"categories_sizes":[%s]`,
		strings.Join(list, ","), strings.Join(nodes, ","), strings.Join(at, ","), strings.Join(ones, ","))
	file = strings.ReplaceAll(file, `"categories":[],"categories_nodes":[],"categories_segments":[],"categories_sizes":[]`, sets)
	_, err := booster([]byte(file))
	require.ErrorIs(t, err, trees.ErrUnsupported)
	require.ErrorContains(t, err, "sets of categories that take more than 64 MB")
}

// A booster refuses infinite numbers, an estimator takes them, as in XGBoost.
func TestInfinite(t *testing.T) {
	file := []byte(fixture(t, "xgb-regressor/model.ubj"))
	for class, refused := range map[string]bool{"": true, "xgboost.sklearn.XGBRegressor": false} {
		m, err := trees.ParseXGBoost(file, class)
		require.NoError(t, err)
		in := rows(m.Info().Inputs[0], 3)
		model.View[float32](&in)[12] = float32(posInf())
		_, err = m.Predict(t.Context(), []model.Tensor{in})
		if !refused {
			require.NoError(t, err)
			continue
		}
		known := (*model.Error)(nil)
		require.ErrorAs(t, err, &known)
		require.Equal(t, model.InvalidInput, known.Code)
		require.ErrorContains(t, err, "row 1: feature 2 is infinite")
	}
}

func posInf() float64 { var zero float64; return 1 / zero }
