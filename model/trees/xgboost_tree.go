package trees

import (
	"fmt"
	"math"
)

// xgbTree is a tree's lists, an item a node, but for those of categories.
type xgbTree struct {
	params      map[string]string
	left, right []int32
	feature     []int32
	condition   []float32 // thresholds of splits, values of leaves
	defaultLeft []int32
	splitType   []int32 // 1 for a split by category; nil in older files

	// Of the splits by category: which nodes they are, and where in categories
	// theirs begin, and how many they are.
	categories, nodes, segments, sizes []int32
}

// readXGBTree reads a tree. words is the size of all trees' sets so far.
func readXGBTree(r reader, words *int) (*tree, error) {
	var t xgbTree
	err := r.object(func(key string) (err error) {
		switch key {
		case "tree_param":
			t.params, err = readTexts(r)
		case "left_children":
			t.left, err = r.ints()
		case "right_children":
			t.right, err = r.ints()
		case "split_indices":
			t.feature, err = r.ints()
		case "split_conditions":
			t.condition, err = r.floats()
		case "default_left":
			t.defaultLeft, err = r.ints()
		case "split_type":
			t.splitType, err = r.ints()
		case "categories":
			t.categories, err = r.ints()
		case "categories_nodes":
			t.nodes, err = r.ints()
		case "categories_segments":
			t.segments, err = r.ints()
		case "categories_sizes":
			t.sizes, err = r.ints()
		default:
			err = r.skip()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return t.convert(words)
}

func (t *xgbTree) convert(words *int) (*tree, error) {
	vector, err := numberOf(t.params, "size_leaf_vector", 0, 0, math.MaxInt32)
	if err != nil {
		return nil, err
	}
	if vector > 1 {
		return nil, unsupported("leaves of several outputs (multi_strategy=multi_output_tree)")
	}
	n := len(t.left)
	if len(t.right) != n || len(t.feature) != n || len(t.condition) != n || len(t.defaultLeft) != n || t.splitType != nil && len(t.splitType) != n {
		return nil, fmt.Errorf("its lists do not all have %d items", n)
	}
	out := newTree(n)
	for i := range n {
		out.left[i], out.right[i] = t.left[i], t.right[i]
		if t.left[i] == -1 {
			out.right[i] = -1
			out.value[i] = float64(t.condition[i])
			continue
		}
		out.feature[i] = t.feature[i]
		out.threshold[i] = float64(t.condition[i])
		if t.defaultLeft[i] != 0 {
			out.kind[i] = nanLeft
		}
		if t.splitType != nil && t.splitType[i] == 1 {
			out.kind[i], out.set[i] = category, -1
		}
	}
	return out, t.putSets(out, words)
}

// putSets makes the sets of categories: what is in one goes right, all else
// left, and missing values by the node's default.
func (t *xgbTree) putSets(out *tree, words *int) error {
	if len(t.segments) != len(t.nodes) || len(t.sizes) != len(t.nodes) {
		return fmt.Errorf("the lists of its categories do not all have %d items", len(t.nodes))
	}
	const most = 1 << 24 // beyond which XGBoost has no categories
	read := 0            // in all: lists that overlap would take long to read
	for i, n := range t.nodes {
		if n < 0 || int(n) >= len(out.set) {
			return fmt.Errorf("categories of node %d, there are %d", n, len(out.set))
		}
		from, size := int(t.segments[i]), int(t.sizes[i])
		if read += max(0, size); from < 0 || size < 0 || from > len(t.categories) || size > len(t.categories)-from || read > len(t.categories) {
			return fmt.Errorf("categories %d to %d, there are %d", from, from+size, len(t.categories))
		}
		members, highest := t.categories[from:from+size], int32(-1)
		for _, c := range members {
			if c < 0 || c >= most {
				return fmt.Errorf("category %d is out of range", c)
			}
			highest = max(highest, c)
		}
		const bits = 32
		if *words += int(highest)/bits + 1; *words > maxSets {
			return unsupported("sets of categories that take more than %d MB", maxSets*4>>20)
		}
		s := newSet(int(highest)+1, t.defaultLeft[n] == 0, false)
		for _, c := range members {
			s.put(int(c), true)
		}
		out.set[n] = int32(len(out.sets)) //nolint:gosec // at most one a node
		out.sets = append(out.sets, s)
	}
	return nil
}
