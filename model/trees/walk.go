package trees

import (
	"context"
	"sync"
	"unsafe"
)

// scratch is the memory of a call.
type scratch[K ordered, F number] struct {
	keys []([width]K) // of the groups of rows, column by column
	sums []([width]F) // of the groups of rows, output by output
}

// blockKeys is how many keys may be made before the trees are walked: they stay
// in the processor's caches while all trees pass.
const blockKeys = 1 << 13

// blockGroups is how many groups of rows are walked together.
func (f *forest[K, F]) blockGroups() int {
	return max(1, min(blockKeys/width/len(f.columns), blockKeys/width/f.groups, 512/width))
}

// margins sums up the leaves that each row of x comes to, onto what the sums
// begin with: dst gets groups numbers a row, in the order of the trees, as the
// libraries add them. ctx is looked at every few hundred rows.
func (f *forest[K, F]) margins(ctx context.Context, pool *sync.Pool, x, dst []F) error {
	s := pool.Get().(*scratch[K, F]) //nolint:forcetypeassert // nothing else is put there
	defer pool.Put(s)
	block := f.blockGroups() * width
	rows := len(dst) / f.groups
	for from := 0; from < rows; from += block {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		n := min(block, rows-from)
		f.block(s, x[from*f.features:(from+n)*f.features], n)
		for r := range n {
			for g := range f.groups {
				dst[(from+r)*f.groups+g] = s.sums[r/width*f.groups+g][r%width]
			}
		}
	}
	return nil
}

// block walks rows rows through all trees, to s.sums.
func (f *forest[K, F]) block(s *scratch[K, F], x []F, rows int) {
	groups := (rows + width - 1) / width
	cols := len(f.columns)
	s.keys = grown(s.keys, groups*cols)
	s.sums = grown(s.sums, groups*f.groups)
	for g := range groups {
		n := min(width, rows-g*width)
		for c, col := range f.columns {
			f.fill(col.kind, &s.keys[g*cols+c], x[g*width*f.features+int(col.feature):], f.features, n)
		}
		for k := range f.groups {
			sum := &s.sums[g*f.groups+k]
			for lane := range sum {
				sum[lane] = f.base[k]
			}
		}
	}
	if len(f.walks) == 0 {
		return
	}
	// A group of a few rows costs as much as a full one, so its rows go one by
	// one, each through several trees at a time.
	full := groups
	if last := rows % width; last > 0 && last <= width/2 {
		full--
		for lane := range last {
			f.single(s.keys[full*cols:], s.sums[full*f.groups:], lane)
		}
	}
	for i := range f.walks {
		w := &f.walks[i]
		for g := range full {
			keys, sum := &s.keys[g*cols], &s.sums[g*f.groups+int(w.group)]
			if w.sets {
				f.walkSets(w, keys, sum)
			} else {
				f.walk(w, keys, sum)
			}
		}
	}
}

func grown[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// at is p[i] without a check. Nodes, columns and sets name only what is there:
// lay has seen to it.
func at[T any](p *T, i int32) *T {
	return (*T)(unsafe.Add(unsafe.Pointer(p), uintptr(uint32(i))*unsafe.Sizeof(*p))) //nolint:gosec // see above
}

// above is 1 when a > b, without a branch.
func above[K ordered](a, b K) int32 {
	if a > b {
		return 1
	}
	return 0
}

// sure is how many steps are walked before it is asked whether all rows have
// come to a leaf. Trees that grew by leaves have a few that are far deeper than
// the others.
const sure, stride = 7, 3

// walk takes the rows of a group through a tree, side by side.
func (f *forest[K, F]) walk(w *walk, keys *[width]K, sum *[width]F) {
	nodes := &f.nodes[0]
	a, b, c, d := w.root, w.root, w.root, w.root
	p, q, r, s := a, a, a, a
	left := w.depth
	steps := left
	if steps > sure+1 {
		steps = sure
	}
	for {
		left -= steps
		for ; steps > 0; steps-- {
			na, nb, nc, nd := at(nodes, a), at(nodes, b), at(nodes, c), at(nodes, d)
			a = na.left + above(at(keys, na.col)[0], na.key)
			b = nb.left + above(at(keys, nb.col)[1], nb.key)
			c = nc.left + above(at(keys, nc.col)[2], nc.key)
			d = nd.left + above(at(keys, nd.col)[3], nd.key)
			np, nq, nr, ns := at(nodes, p), at(nodes, q), at(nodes, r), at(nodes, s)
			p = np.left + above(at(keys, np.col)[4], np.key)
			q = nq.left + above(at(keys, nq.col)[5], nq.key)
			r = nr.left + above(at(keys, nr.col)[6], nr.key)
			s = ns.left + above(at(keys, ns.col)[7], ns.key)
		}
		if left == 0 || f.home(a, b, c, d) && f.home(p, q, r, s) {
			break
		}
		steps = min(left, stride)
	}
	values := &f.values[0]
	sum[0] += *at(values, a)
	sum[1] += *at(values, b)
	sum[2] += *at(values, c)
	sum[3] += *at(values, d)
	sum[4] += *at(values, p)
	sum[5] += *at(values, q)
	sum[6] += *at(values, r)
	sum[7] += *at(values, s)
}

// home says whether all four nodes are leaves.
func (f *forest[K, F]) home(a, b, c, d int32) bool {
	nodes := &f.nodes[0]
	return (at(nodes, a).left^a)|(at(nodes, b).left^b)|(at(nodes, c).left^c)|(at(nodes, d).left^d) == 0
}

// walkSets is walk for a tree with splits by category, whose keys are none that
// a column's is above; the bit of a split by number is 0.
func (f *forest[K, F]) walkSets(w *walk, keys *[width]K, sum *[width]F) {
	var here [width]int32
	for lane := range here {
		here[lane] = w.root
	}
	for range w.depth {
		for lane := range here {
			here[lane] = f.step(here[lane], keys, lane)
		}
	}
	for lane := range here {
		sum[lane] += f.values[here[lane]]
	}
}

// step goes on from a node that may split by category.
func (f *forest[K, F]) step(i int32, keys *[width]K, lane int) int32 {
	n := at(&f.nodes[0], i)
	x := at(keys, n.col)[lane]
	l := at(&f.lookups[0], *at(&f.sets[0], i))
	bit := min(uint32(x), l.limit)                  // of a split by category; of others the limit is 0
	word := *at(&f.bits[0], int32(l.offset+bit/32)) //nolint:gosec // bounded by maxSets
	return n.left + above(x, n.key) + int32(word>>(bit%32)&1)
}

// single takes one row, in its lane, through all trees, several at a time. The
// order in which they add up is that of walk.
func (f *forest[K, F]) single(keys [][width]K, sums [][width]F, lane int) {
	nodes, base := &f.nodes[0], &keys[0]
	var here [width]int32
	for i := 0; i < len(f.walks); i += width {
		some := f.walks[i:min(i+width, len(f.walks))]
		depth, sets := int32(0), false
		for k := range some {
			here[k] = some[k].root
			depth, sets = max(depth, some[k].depth), sets || some[k].sets
		}
		for k := len(some); k < width; k++ {
			here[k] = here[0]
		}
		if sets {
			for k := range some {
				for range some[k].depth {
					here[k] = f.step(here[k], base, lane)
				}
			}
		} else {
			f.side(nodes, base, lane, depth, &here)
		}
		for k := range some {
			sums[some[k].group][lane] += f.values[here[k]]
		}
	}
}

// side walks one row through several trees side by side.
func (f *forest[K, F]) side(nodes *node[K], keys *[width]K, lane int, depth int32, here *[width]int32) {
	own := &keys[lane] // and on from it, by columns
	a, b, c, d, p, q, r, s := here[0], here[1], here[2], here[3], here[4], here[5], here[6], here[7]
	for ; depth > 0; depth-- {
		na, nb, nc, nd := at(nodes, a), at(nodes, b), at(nodes, c), at(nodes, d)
		a = na.left + above(*at(own, na.col*width), na.key)
		b = nb.left + above(*at(own, nb.col*width), nb.key)
		c = nc.left + above(*at(own, nc.col*width), nc.key)
		d = nd.left + above(*at(own, nd.col*width), nd.key)
		np, nq, nr, ns := at(nodes, p), at(nodes, q), at(nodes, r), at(nodes, s)
		p = np.left + above(*at(own, np.col*width), np.key)
		q = nq.left + above(*at(own, nq.col*width), nq.key)
		r = nr.left + above(*at(own, nr.col*width), nr.key)
		s = ns.left + above(*at(own, ns.col*width), ns.key)
	}
	*here = [width]int32{a, b, c, d, p, q, r, s}
}
