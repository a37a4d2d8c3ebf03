package trees

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// grow makes a tree of random splits of all kinds, as uneven as trees that grow
// by leaves are.
func grow(r *rand.Rand, leaves, features, group int, kinds []kind) *tree {
	t := newTree(2*leaves - 1)
	t.group = group
	for i := range t.left {
		t.left[i], t.right[i] = -1, -1
		t.value[i] = float64(float32(r.NormFloat64()))
	}
	open := []int32{0}
	for next := int32(1); int(next) < len(t.left); next += 2 {
		k := r.IntN(len(open))
		n := open[k]
		open[k] = next
		open = append(open, next+1)
		t.left[n], t.right[n] = next, next+1
		if r.IntN(2) == 0 {
			t.left[n], t.right[n] = next+1, next
		}
		t.feature[n], t.kind[n] = int32(r.IntN(features)), kinds[r.IntN(len(kinds))]
		t.threshold[n] = special(r)
		if t.kind[n] == category {
			s := newSet(40, r.IntN(2) == 0, r.IntN(2) == 0)
			for c := range 40 {
				s.put(c, r.IntN(2) == 0)
			}
			t.set[n] = int32(len(t.sets))
			t.sets = append(t.sets, s)
		}
	}
	return t
}

// special is a number that float32 holds, often one of those that are told
// apart.
func special(r *rand.Rand) float64 {
	some := []float64{math.NaN(), 0, math.Copysign(0, -1), math.Inf(1), math.Inf(-1), math.MaxFloat32, 1e-40, -1e-40, 1, 5, 39, 40, 41, 63, 200, -1, -0.5, 1 << 24, 1 << 31, 1e30}
	if r.IntN(3) == 0 {
		return float64(float32(some[r.IntN(len(some))]))
	}
	return float64(float32(r.NormFloat64() * 10))
}

// plainly walks as the libraries do, node by node. right says how a library
// compares.
func (t *tree) plainly(x []float64, right func(x, threshold float64) bool, code func(x float64) int) float64 {
	n := int32(0)
	for t.left[n] >= 0 {
		v, k := x[t.feature[n]], t.kind[n]
		missing := v != v
		if k >= nanZero && k <= zeroLeft && missing {
			v, missing = 0, false
		}
		var goes bool
		switch {
		case k == category:
			s := t.sets[t.set[n]]
			c := code(v) + 1
			if missing {
				c = 0
			} else if c < 1 || c > 40 {
				c = 41
			}
			goes = s[c/32]>>(c%32)&1 == 1
		case k == nanRight && missing, k == zeroRight && v == 0:
			goes = true
		case k == nanLeft && missing, k == zeroLeft && v == 0:
			goes = false
		default:
			goes = right(v, t.threshold[n])
		}
		n = map[bool]int32{true: t.right[n], false: t.left[n]}[goes]
	}
	return t.value[n]
}

func lightForest(features, groups int) *forest[int64, float64] {
	return &forest[int64, float64]{features: features, groups: groups, base: make([]float64, groups), top: math.MaxInt64, key: upTo, fill: fill64}
}

func boostForest(features, groups int) *forest[int32, float32] {
	f := &forest[int32, float32]{features: features, groups: groups, base: make([]float32, groups), top: math.MaxInt32, key: below, fill: fill32}
	for i := range f.base {
		f.base[i] = float32(i) / 3
	}
	return f
}

// Walking eight rows side by side comes to the leaves that a plain walk does,
// for every kind of split, and adds them up in the same order.
func TestWalksAsLightGBM(t *testing.T) {
	code := func(x float64) int {
		if x >= math.MaxInt32 {
			return -1
		}
		return int(x)
	}
	right := func(x, threshold float64) bool { return !(x <= threshold) }
	walksAlike(t, lightForest, []kind{nanRight, nanLeft, nanZero, zeroRight, zeroLeft, category}, func(tr *tree, x []float64) float64 {
		flushed := make([]float64, len(x))
		for i, v := range x {
			if flushed[i] = v; math.Abs(v) <= 1e-35 {
				flushed[i] = 0
			}
		}
		return tr.plainly(flushed, right, code)
	})
}

func TestWalksAsXGBoost(t *testing.T) {
	code := func(x float64) int {
		if x < 0 || x >= 1<<24 {
			return -1
		}
		return int(x)
	}
	right := func(x, threshold float64) bool { return !(x < threshold) }
	walksAlike(t, boostForest, []kind{nanRight, nanLeft, category}, func(tr *tree, x []float64) float64 {
		return tr.plainly(x, right, code)
	})
}

func walksAlike[K ordered, F number](t *testing.T, build func(features, groups int) *forest[K, F], kinds []kind, plainly func(*tree, []float64) float64) {
	t.Helper()
	const features = 7
	r := rand.New(rand.NewPCG(5, 6))
	pool := &sync.Pool{New: func() any { return new(scratch[K, F]) }}
	for round := range 40 {
		groups := 1 + round%3
		some := kinds
		if round%2 == 0 { // without categories
			some = kinds[:len(kinds)-1]
		}
		var all []*tree
		for i := range groups * (1 + r.IntN(12)) {
			all = append(all, grow(r, 1+r.IntN(40), features, i%groups, some))
		}
		f := build(features, groups)
		require.NoError(t, f.lay(all))
		for _, rows := range []int{0, 1, 3, 4, 5, 8, 9, 13, 600} {
			x := make([]F, rows*features)
			for i := range x {
				x[i] = F(special(r))
			}
			want := make([]F, rows*groups)
			for row := range rows {
				copy(want[row*groups:], f.base)
				wide := make([]float64, features)
				for k := range wide {
					wide[k] = float64(x[row*features+k])
				}
				for _, tr := range all {
					want[row*groups+tr.group] += F(plainly(tr, wide))
				}
			}
			got := make([]F, rows*groups)
			require.NoError(t, f.margins(t.Context(), pool, x, got))
			require.Equal(t, want, got, fmt.Sprint(round, rows))
		}
	}
}

func TestWhatIsNoTree(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(t *tree)
		want  string
	}{
		"child too large":  {func(t *tree) { t.left[0] = 3 }, "has the child 3"},
		"negative child":   {func(t *tree) { t.right[0] = -7 }, "has the child -7"},
		"one child":        {func(t *tree) { t.right[0] = -1 }, "has the child -1"},
		"cycle":            {func(t *tree) { t.left[1], t.right[1] = 0, 2 }, "node 0 is reached twice"},
		"shared":           {func(t *tree) { t.right[0] = 1 }, "node 1 is reached twice"},
		"itself":           {func(t *tree) { t.left[0] = 0 }, "node 0 is reached twice"},
		"feature":          {func(t *tree) { t.feature[0] = 2 }, "splits by feature 2"},
		"negative feature": {func(t *tree) { t.feature[0] = -1 }, "splits by feature -1"},
		"no set":           {func(t *tree) { t.kind[0] = category }, "a set of categories that is not there"},
		"group":            {func(t *tree) { t.group = 1 }, "of output 1"},
		"no nodes":         {func(t *tree) { *t = *newTree(0) }, "no nodes"},
	} {
		t.Run(name, func(t *testing.T) {
			tr := newTree(3)
			tr.left, tr.right = []int32{1, -1, -1}, []int32{2, -1, -1}
			require.NoError(t, lightForest(2, 1).lay([]*tree{tr}))
			c.spoil(tr)
			require.ErrorContains(t, lightForest(2, 1).lay([]*tree{tr}), c.want)
		})
	}
	big := newTree(3)
	big.left, big.right, big.kind[0] = []int32{1, -1, -1}, []int32{2, -1, -1}, category
	big.sets = []set{make(set, maxSets)}
	require.ErrorIs(t, boostForest(1, 1).lay([]*tree{big}), ErrUnsupported)
	require.ErrorContains(t, boostForest(0, 1).lay(nil), "no features")
	require.ErrorContains(t, boostForest(1, 0).lay(nil), "0 outputs")
}
