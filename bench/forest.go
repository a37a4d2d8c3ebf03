package main

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/millrace/millrace/model/onnx/onnxtest"
)

// forestFeatures is how many features the forests have.
const forestFeatures = 32

// forest is random trees, to be written in the forms of several libraries.
// Random splits are the worst case for whoever guesses at branches.
type forest []*randomTree

// randomTree has children behind their parents; -1 is no child.
type randomTree struct {
	feature, left, right []int
	number               []float32 // the threshold of a split, the value of a leaf
}

// newForest grows trees, each by splitting one of its leaves that are less than
// depth deep until there are so many.
func newForest(seed uint64, trees, leaves, depth int) forest {
	r := rand.New(rand.NewPCG(seed, 5)) //nolint:gosec // values to compute with
	f := make(forest, trees)
	for i := range f {
		t := &randomTree{}
		t.leaf(r)
		open, depths := []int{0}, []int{0}
		for have := 1; have < leaves && len(open) > 0; have++ {
			k := r.IntN(len(open))
			n, d := open[k], depths[k]+1
			open[k], depths[k] = open[len(open)-1], depths[len(open)-1]
			open, depths = open[:len(open)-1], depths[:len(open)-1]
			t.left[n], t.right[n] = t.leaf(r), t.leaf(r)
			t.feature[n], t.number[n] = r.IntN(forestFeatures), float32(r.NormFloat64())
			if d < depth {
				open, depths = append(open, t.left[n], t.right[n]), append(depths, d, d)
			}
		}
		f[i] = t
	}
	return f
}

func (t *randomTree) leaf(r *rand.Rand) int {
	t.feature, t.left, t.right = append(t.feature, 0), append(t.left, -1), append(t.right, -1)
	t.number = append(t.number, float32(r.NormFloat64()))
	return len(t.left) - 1
}

// onnx is the forest as a TreeEnsembleRegressor, X[N,32] → Y[N,1].
func (f forest) onnx() []byte {
	var trees, nodes, features, yes, no, missing, leafTrees, leafNodes, targets []int64
	var values, weights []float32
	var modes []string
	for i, t := range f {
		for n := range t.left {
			trees, nodes, missing = append(trees, int64(i)), append(nodes, int64(n)), append(missing, 0)
			features, values = append(features, int64(t.feature[n])), append(values, t.number[n])
			if t.left[n] < 0 {
				modes, yes, no = append(modes, "LEAF"), append(yes, 0), append(no, 0)
				leafTrees, leafNodes, targets = append(leafTrees, int64(i)), append(leafNodes, int64(n)), append(targets, 0)
				weights = append(weights, t.number[n])
				continue
			}
			modes, yes, no = append(modes, "BRANCH_LT"), append(yes, int64(t.left[n])), append(no, int64(t.right[n]))
		}
	}
	return onnxtest.Graph{
		Inputs:  []onnxtest.Value{{Name: "X", Elem: onnxtest.Float, Dims: []int64{-1, forestFeatures}}},
		Outputs: []onnxtest.Value{{Name: "Y", Elem: onnxtest.Float, Dims: []int64{-1, 1}}},
		Nodes: []onnxtest.Node{{
			Op: "TreeEnsembleRegressor", Domain: "ai.onnx.ml", In: []string{"X"}, Out: []string{"Y"},
			Attrs: []onnxtest.Attr{
				{Name: "n_targets", Value: 1},
				{Name: "nodes_treeids", Value: trees},
				{Name: "nodes_nodeids", Value: nodes},
				{Name: "nodes_featureids", Value: features},
				{Name: "nodes_values", Value: values},
				{Name: "nodes_modes", Value: modes},
				{Name: "nodes_truenodeids", Value: yes},
				{Name: "nodes_falsenodeids", Value: no},
				{Name: "nodes_missing_value_tracks_true", Value: missing},
				{Name: "target_treeids", Value: leafTrees},
				{Name: "target_nodeids", Value: leafNodes},
				{Name: "target_ids", Value: targets},
				{Name: "target_weights", Value: weights},
			},
		}},
	}.Bytes()
}

// xgboost is the forest as XGBoost's JSON.
func (f forest) xgboost() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, `{"version":[3,2,0],"learner":{"learner_model_param":{"base_score":"[0E0]","num_class":"0","num_feature":"%d","num_target":"1"},`+
		`"objective":{"name":"reg:squarederror"},"gradient_booster":{"name":"gbtree","model":{"tree_info":[%s],"trees":[`,
		forestFeatures, joined(make([]int, len(f)), ","))
	for i, t := range f {
		if i > 0 {
			b.WriteByte(',')
		}
		none := joined(make([]int, len(t.left)), ",")
		fmt.Fprintf(&b, `{"tree_param":{"size_leaf_vector":"1"},"left_children":[%s],"right_children":[%s],"split_indices":[%s],"split_conditions":[%s],"default_left":[%s],"split_type":[%s],`+
			`"categories":[],"categories_nodes":[],"categories_segments":[],"categories_sizes":[]}`,
			joined(t.left, ","), joined(t.right, ","), joined(t.feature, ","), joined(t.number, ","), none, none)
	}
	b.WriteString("]}}}}")
	return []byte(b.String())
}

// lightGBM is the forest as LightGBM's text. It goes left up to the threshold,
// where the others go left below it: random numbers do not meet it.
func (f forest) lightGBM() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nmax_feature_idx=%d\nobjective=regression\n\n", forestFeatures-1)
	for i, t := range f {
		var left, right, feature, decision []int
		var threshold, value []float32
		splits, leaves := map[int]int{}, map[int]int{}
		for n := range t.left {
			if t.left[n] < 0 {
				leaves[n] = len(leaves)
			} else {
				splits[n] = len(splits)
			}
		}
		number := func(n int) int {
			if k, ok := splits[n]; ok {
				return k
			}
			return ^leaves[n]
		}
		for n := range t.left {
			if t.left[n] < 0 {
				value = append(value, t.number[n])
				continue
			}
			left, right = append(left, number(t.left[n])), append(right, number(t.right[n]))
			feature, threshold, decision = append(feature, t.feature[n]), append(threshold, t.number[n]), append(decision, 2)
		}
		fmt.Fprintf(&b, "Tree=%d\nnum_leaves=%d\nnum_cat=0\nsplit_feature=%s\nthreshold=%s\ndecision_type=%s\nleft_child=%s\nright_child=%s\nleaf_value=%s\n\n",
			i, len(leaves), joined(feature, " "), joined(threshold, " "), joined(decision, " "), joined(left, " "), joined(right, " "), joined(value, " "))
	}
	b.WriteString("end of trees\n")
	return []byte(b.String())
}

// joined writes numbers so that they read back as the same.
func joined[T int | float32](all []T, sep string) string {
	var b []byte
	for i, x := range all {
		if i > 0 {
			b = append(b, sep...)
		}
		b = strconv.AppendFloat(b, float64(x), 'g', -1, 64)
	}
	return string(b)
}
