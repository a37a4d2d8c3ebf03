package trees

import (
	"errors"
	"fmt"
)

// ErrUnsupported is a model that the library serves and this package does not.
// The error around it names what it is.
var ErrUnsupported = errors.New("not supported")

func unsupported(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, ErrUnsupported)...)
}

// kind is how a split looks at its feature, and so which column of keys it
// compares.
type kind uint8

const (
	nanRight  kind = iota // a missing value goes right
	nanLeft               // a missing value goes left
	nanZero               // a missing value is 0
	zeroRight             // a missing value and 0 go right
	zeroLeft              // a missing value and 0 go left
	category              // a code, looked up in a set
)

// tree is a tree as it was parsed. Nodes are numbered as in the file, the root
// is 0; all slices but sets have one element a node.
type tree struct {
	left, right []int32 // children; both -1 in a leaf
	feature     []int32
	kind        []kind
	threshold   []float64 // of a split by number: above goes right, or at it too, by the library
	set         []int32   // of a split by category: which of sets
	value       []float64 // of a leaf
	sets        []set
	group       int // which of the outputs it adds to
}

func newTree(n int) *tree {
	return &tree{
		left: make([]int32, n), right: make([]int32, n), feature: make([]int32, n), kind: make([]kind, n),
		threshold: make([]float64, n), set: make([]int32, n), value: make([]float64, n),
	}
}

// set says where the categories of a split go, as bits that are 1 for the
// right: first that of a missing value, then those of the categories from 0 on,
// and last that of all others.
type set []uint32

// newSet has room for the categories below n. Missing and other values go as
// they say, as do categories that put does not name.
func newSet(n int, missing, others bool) set {
	s := make(set, (n+2+31)/32)
	if others {
		for i := range s {
			s[i] = ^uint32(0)
		}
	}
	s.put(-1, missing)
	return s
}

// put sends a category right, or left.
func (s set) put(c int, right bool) {
	i := c + 1
	if s[i/32] &^= 1 << (i % 32); right {
		s[i/32] |= 1 << (i % 32)
	}
}

// order returns the nodes from the root down, level by level, and the number of
// levels below the root. It fails on children that are not there, and on nodes
// that are reached twice, as in a cycle: so its result is a tree, whatever came.
func (t *tree) order(features int) (nodes []int32, depth int, err error) {
	if len(t.left) == 0 {
		return nil, 0, errors.New("a tree has no nodes")
	}
	seen := make([]bool, len(t.left))
	seen[0] = true
	nodes = append(nodes, 0)
	for from := 0; ; depth++ {
		level := nodes[from:]
		from = len(nodes)
		for _, n := range level {
			if t.left[n] == -1 && t.right[n] == -1 {
				continue
			}
			if f := t.feature[n]; f < 0 || int(f) >= features {
				return nil, 0, fmt.Errorf("node %d splits by feature %d, there are %d", n, f, features)
			}
			if t.kind[n] == category && (t.set[n] < 0 || int(t.set[n]) >= len(t.sets)) {
				return nil, 0, fmt.Errorf("node %d splits by a set of categories that is not there", n)
			}
			for _, child := range [2]int32{t.left[n], t.right[n]} {
				switch {
				case child < 0 || int(child) >= len(t.left):
					return nil, 0, fmt.Errorf("node %d has the child %d, there are %d nodes", n, child, len(t.left))
				case seen[child]:
					return nil, 0, fmt.Errorf("node %d is reached twice", child)
				}
				seen[child] = true
				nodes = append(nodes, child)
			}
		}
		if len(nodes) == from {
			return nodes, depth, nil
		}
	}
}
