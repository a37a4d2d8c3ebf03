package trees

import (
	"errors"
	"fmt"
	"math"
)

// number is what a library computes with: XGBoost in float32, LightGBM in
// float64.
type number interface{ float32 | float64 }

// ordered is the type of a number's keys.
type ordered interface{ int32 | int64 }

// node is a step of a walk: on to left, or to left + 1 when the column's key is
// above. A leaf has no key above its own, and is its own left.
type node[K ordered] struct {
	key  K
	left int32
	col  int32
}

// column is what splits compare: a feature, looked at in one way.
type column struct {
	feature int32
	kind    kind
}

// lookup is where the bits of a set are: limit is the last of them.
type lookup struct {
	offset, limit uint32
}

// walk is a tree of a forest.
type walk struct {
	root  int32
	depth int32 // steps to its deepest leaf
	group int32
	sets  bool // there are splits by category
}

// forest is trees laid out for walking. Every index in it was checked when it
// was laid out, so that a walk needs no checks.
type forest[K ordered, F number] struct {
	nodes   []node[K]
	values  []F      // of leaves, by node
	sets    []int32  // of splits by category, by node: an index of lookups; nil when there are none
	lookups []lookup // the first has one bit, of 0: that of splits by number
	bits    []uint32 // of all sets
	columns []column
	walks   []walk

	features int
	groups   int
	base     []F // what each group's sum begins with
	top      K   // the key that none is above
	key      func(threshold float64) K
	fill     func(k kind, dst *[width]K, src []F, stride, rows int)
}

// limits of what a file may ask for, far beyond what is trained.
const (
	maxNodes    = math.MaxInt32 - 1
	maxFeatures = 1 << 20
	maxGroups   = 1 << 16
	fewGroups   = 1 << 8  // outputs that need not have a tree each
	maxSets     = 1 << 24 // words of the bits of all sets
)

// lay makes a forest of the trees.
func (f *forest[K, F]) lay(all []*tree) error {
	if f.features > maxFeatures || f.groups < 1 || f.groups > maxGroups {
		return fmt.Errorf("%d features and %d outputs", f.features, f.groups)
	}
	if f.groups > max(len(all), fewGroups) {
		return fmt.Errorf("%d outputs of %d trees", f.groups, len(all))
	}
	f.lookups, f.bits = []lookup{{}}, []uint32{0}
	at := map[column]int32{}
	for i, t := range all {
		if t.group < 0 || t.group >= f.groups {
			return fmt.Errorf("tree %d is of output %d, there are %d", i, t.group, f.groups)
		}
		order, depth, err := t.order(f.features)
		if err != nil {
			return fmt.Errorf("tree %d: %w", i, err)
		}
		if len(f.nodes)+len(order) > maxNodes {
			return errors.New("too many nodes")
		}
		if err := f.plant(t, order, depth, at); err != nil {
			return fmt.Errorf("tree %d: %w", i, err)
		}
	}
	if len(f.columns) == 0 { // a forest of leaves, whose nodes still name a column
		if f.features == 0 {
			return errors.New("there are no features")
		}
		f.columns = []column{{}}
	}
	return nil
}

// plant lays out a tree whose nodes are in order.
func (f *forest[K, F]) plant(t *tree, order []int32, depth int, at map[column]int32) error {
	base := len(f.nodes)
	w := walk{root: int32(base), depth: int32(depth), group: int32(t.group)} //nolint:gosec // bounded by maxNodes and maxGroups
	next := base + 1                                                         // where the children of the next split are
	for _, n := range order {
		if t.left[n] < 0 {
			f.nodes = append(f.nodes, node[K]{key: f.top, left: int32(len(f.nodes))}) //nolint:gosec // likewise
			f.values = append(f.values, F(t.value[n]))
			continue
		}
		c := column{t.feature[n], t.kind[n]}
		col, ok := at[c]
		if !ok {
			col = int32(len(f.columns)) //nolint:gosec // at most one a node
			at[c] = col
			f.columns = append(f.columns, c)
		}
		step := node[K]{left: int32(next), col: col} //nolint:gosec // likewise
		next += 2
		if c.kind == category {
			w.sets = true
			step.key = f.top
			if err := f.addSet(t.sets[t.set[n]]); err != nil {
				return err
			}
		} else {
			step.key = f.key(t.threshold[n])
		}
		f.nodes = append(f.nodes, step)
		f.values = append(f.values, 0)
	}
	if f.sets != nil { // of nodes without a set it is 0
		f.sets = append(f.sets, make([]int32, len(f.nodes)-len(f.sets))...)
	}
	f.walks = append(f.walks, w)
	return nil
}

// addSet gives the node that comes next its set.
func (f *forest[K, F]) addSet(s set) error {
	if len(f.bits)+len(s) > maxSets {
		return unsupported("sets of categories that take more than %d MB", maxSets*4>>20)
	}
	f.sets = append(f.sets, make([]int32, len(f.nodes)+1-len(f.sets))...)
	f.sets[len(f.nodes)] = int32(len(f.lookups))                                                     //nolint:gosec // bounded by maxSets
	f.lookups = append(f.lookups, lookup{offset: uint32(len(f.bits)), limit: uint32(len(s)*32 - 1)}) //nolint:gosec // likewise
	f.bits = append(f.bits, s...)
	return nil
}
