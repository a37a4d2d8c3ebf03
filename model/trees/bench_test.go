package trees

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
)

// random is a complete tree of random splits.
func random(r *rand.Rand, depth, features int) *tree {
	n := 1<<(depth+1) - 1
	t := newTree(n)
	for i := range n {
		t.left[i], t.right[i] = -1, -1
		if i < 1<<depth-1 {
			t.left[i], t.right[i] = int32(2*i+1), int32(2*i+2)
			t.feature[i] = int32(r.IntN(features))
			t.threshold[i] = float64(float32(r.NormFloat64()))
		}
		t.value[i] = float64(float32(r.NormFloat64()))
	}
	return t
}

func BenchmarkMargins(b *testing.B) {
	const features, varied = 32, 64
	for _, depth := range []int{6, 10} {
		r := rand.New(rand.NewPCG(1, 2))
		var all []*tree
		for range 100 {
			all = append(all, random(r, depth, features))
		}
		f32 := &forest[int32, float32]{features: features, groups: 1, base: []float32{0}, top: math.MaxInt32, key: below, fill: fill32}
		f64 := &forest[int64, float64]{features: features, groups: 1, base: []float64{0}, top: math.MaxInt64, key: upTo, fill: fill64}
		if f32.lay(all) != nil || f64.lay(all) != nil {
			b.Fatal()
		}
		for _, batch := range []int{1, 8, 64, 512} {
			b.Run(fmt.Sprintf("float32/depth%d/batch%d", depth, batch), func(b *testing.B) { measure(b, f32, batch*features, varied) })
			b.Run(fmt.Sprintf("float64/depth%d/batch%d", depth, batch), func(b *testing.B) { measure(b, f64, batch*features, varied) })
		}
	}
}

func measure[K ordered, F number](b *testing.B, f *forest[K, F], n, varied int) {
	b.Helper()
	r := rand.New(rand.NewPCG(3, 4))
	x := make([]F, varied*n)
	for i := range x {
		x[i] = F(r.NormFloat64())
	}
	pool := &sync.Pool{New: func() any { return new(scratch[K, F]) }}
	rows := n / f.features
	dst := make([]F, rows)
	i := 0
	for b.Loop() {
		if err := f.margins(context.Background(), pool, x[i%varied*n:][:n], dst); err != nil {
			b.Fatal(err)
		}
		i++
	}
	b.ReportMetric(float64(b.N*rows)/b.Elapsed().Seconds(), "rows/s")
}
