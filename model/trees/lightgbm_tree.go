package trees

import (
	"errors"
	"fmt"
	"math"
	"strconv"
)

// A split's decision_type.
const (
	lgbCategory    = 1 << 0
	lgbDefaultLeft = 1 << 1
	lgbMissing     = 3 << 2 // which values are missing:
	lgbMissingNone = 0 << 2
	lgbMissingZero = 1 << 2
	lgbMissingNaN  = 2 << 2
)

// lgbTree is the lines of a tree.
type lgbTree struct {
	leaves, cats  int
	feature       []int32
	threshold     []float64
	decision      []int32
	left, right   []int32
	value         []float64
	catBoundaries []int32
	catThreshold  []uint32
	linear        bool
}

// tree reads one up to the empty line behind it.
func (p *lgbParser) tree() (*tree, error) {
	var t lgbTree
	var err error
	for {
		k, v, ok := p.line()
		if !ok {
			return nil, errors.New("the file ends within it: it was cut off")
		}
		if k == "" {
			return t.convert()
		}
		switch k {
		case "num_leaves":
			t.leaves, err = count(k, v, 1, maxNodes/2)
		case "num_cat":
			t.cats, err = count(k, v, 0, maxNodes)
		case "split_feature":
			t.feature, err = ints(v)
		case "threshold":
			t.threshold, err = floats(v)
		case "decision_type":
			t.decision, err = ints(v)
		case "left_child":
			t.left, err = ints(v)
		case "right_child":
			t.right, err = ints(v)
		case "leaf_value":
			t.value, err = floats(v)
		case "cat_boundaries":
			t.catBoundaries, err = ints(v)
		case "cat_threshold":
			t.catThreshold, err = words(v)
		case "is_linear":
			t.linear = v != "0"
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", k, err)
		}
	}
}

// convert numbers the splits as the file does, and the leaves behind them.
func (t *lgbTree) convert() (*tree, error) {
	if t.linear {
		return nil, unsupported("linear trees (linear_tree=true)")
	}
	splits := t.leaves - 1
	if t.leaves < 1 || len(t.value) != t.leaves {
		return nil, fmt.Errorf("%d values of %d leaves", len(t.value), t.leaves)
	}
	if splits > 0 && (len(t.feature) != splits || len(t.threshold) != splits || len(t.decision) != splits || len(t.left) != splits || len(t.right) != splits) {
		return nil, fmt.Errorf("the lines of its splits do not all have %d items", splits)
	}
	out := newTree(splits + t.leaves)
	var err error
	if out.sets, err = t.sets(); err != nil {
		return nil, err
	}
	for i := range splits {
		out.left[i], out.right[i] = t.child(t.left[i], splits), t.child(t.right[i], splits)
		out.feature[i] = t.feature[i]
		if t.decision[i]&lgbCategory != 0 {
			out.kind[i] = category
			out.set[i] = -1
			if c := t.threshold[i]; c >= 0 && c < math.MaxInt32 {
				out.set[i] = int32(c)
			}
			continue
		}
		out.threshold[i] = t.threshold[i]
		if out.kind[i], err = missingOf(t.decision[i]); err != nil {
			return nil, err
		}
	}
	for i, v := range t.value {
		out.left[splits+i], out.right[splits+i] = -1, -1
		out.value[splits+i] = v
	}
	return out, nil
}

// child is a node's number: negative ones are those of leaves, as ~leaf. What
// is no node becomes one that is not there.
func (t *lgbTree) child(c int32, splits int) int32 {
	if c >= 0 && int(c) < splits {
		return c
	}
	if leaf := int(^c); c < 0 && leaf < t.leaves {
		return int32(splits + leaf) //nolint:gosec // bounded by maxNodes
	}
	return math.MaxInt32
}

func missingOf(decision int32) (kind, error) {
	left := decision&lgbDefaultLeft != 0
	switch decision & lgbMissing {
	case lgbMissingNone:
		return nanZero, nil
	case lgbMissingZero:
		if left {
			return zeroLeft, nil
		}
		return zeroRight, nil
	case lgbMissingNaN:
		if left {
			return nanLeft, nil
		}
		return nanRight, nil
	default:
		return 0, fmt.Errorf("decision_type %d names no kind of missing values", decision)
	}
}

// sets are those of the splits by category: what is in one goes left, all else
// right, missing values among it.
func (t *lgbTree) sets() ([]set, error) {
	if t.cats == 0 {
		return nil, nil
	}
	if len(t.catBoundaries) != t.cats+1 {
		return nil, fmt.Errorf("cat_boundaries has %d items, where there are %d sets", len(t.catBoundaries), t.cats)
	}
	sets := make([]set, t.cats)
	for i := range sets {
		from, to := t.catBoundaries[i], t.catBoundaries[i+1]
		if from < 0 || to < from || int(to) > len(t.catThreshold) {
			return nil, fmt.Errorf("cat_boundaries %d to %d, where cat_threshold has %d items", from, to, len(t.catThreshold))
		}
		bits := t.catThreshold[from:to]
		sets[i] = newSet(len(bits)*32, true, true)
		for c := range len(bits) * 32 {
			if bits[c/32]>>(c%32)&1 == 1 {
				sets[i].put(c, false)
			}
		}
	}
	return sets, nil
}

// fields calls item with each of the words of a line.
func fields(line string, item func(word string) error) error {
	for len(line) > 0 {
		n := 0
		for n < len(line) && line[n] != ' ' {
			n++
		}
		if n > 0 {
			if err := item(line[:n]); err != nil {
				return err
			}
		}
		line = line[min(len(line), n+1):]
	}
	return nil
}

func ints(line string) (out []int32, err error) {
	err = fields(line, func(w string) error {
		n, err := strconv.ParseInt(w, 10, 32)
		out = append(out, int32(n))
		return err
	})
	return out, err
}

func words(line string) (out []uint32, err error) {
	err = fields(line, func(w string) error {
		n, err := strconv.ParseUint(w, 10, 32)
		out = append(out, uint32(n))
		return err
	})
	return out, err
}

// floats reads numbers; those that are too large are infinite, as in C.
func floats(line string) (out []float64, err error) {
	err = fields(line, func(w string) error {
		x, err := strconv.ParseFloat(w, 64)
		if errors.Is(err, strconv.ErrRange) {
			err = nil
		}
		out = append(out, x)
		return err
	})
	return out, err
}
