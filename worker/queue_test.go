package worker

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// naive is the queue as one list: the batch is the head's model's, up to n.
type naive []*item

func (q *naive) take(n int) (batch []*item) {
	if len(*q) == 0 {
		return nil
	}
	name := (*q)[0].model
	*q = slices.DeleteFunc(*q, func(it *item) bool {
		if it.model != name || len(batch) == n {
			return false
		}
		batch = append(batch, it)
		return true
	})
	return batch
}

// The queue takes what one list would, whatever is held back, released and
// withdrawn between.
func TestQueueIsOneListByModel(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		var q queue
		var list naive
		held := make(map[string]naive)
		for range 2000 {
			switch op := r.IntN(10); {
			case op < 5:
				it := &item{model: strconv.Itoa(r.IntN(100))}
				if _, loads := held[it.model]; r.IntN(2) == 0 {
					it.model = "flood"
				} else if loads {
					held[it.model] = append(held[it.model], it)
					q.push(it)
					continue
				}
				q.push(it)
				list = append(list, it)
			case op < 8 && q.len > 0:
				n := 1 + r.IntN(20)
				require.Same(t, list[0], q.head())
				got, want := q.take(nil, n), list.take(n)
				require.Equal(t, want, got)
				if got[0].model != "flood" && r.IntN(3) == 0 { // its model turns out to load
					name := got[0].model
					require.True(t, q.hold(got))
					held[name] = got
					list = slices.DeleteFunc(list, func(it *item) bool {
						if it.model == name {
							held[name] = append(held[name], it)
						}
						return it.model == name
					})
				}
			case op == 8:
				for name, items := range held {
					q.release(name)
					list = append(list, items...)
					slices.SortFunc(list, func(a, b *item) int { return int(a.turn) - int(b.turn) })
					delete(held, name)
					break
				}
			case op == 9 && r.IntN(10) == 0:
				gone := func(it *item) bool { return it.turn%7 == seed%7 }
				q.withdraw(gone)
				list = slices.DeleteFunc(list, gone)
				for name := range held {
					held[name] = slices.DeleteFunc(held[name], gone)
				}
			}
			require.Equal(t, len(list), q.len)
		}
		for _, items := range held {
			list = append(list, items...)
		}
		slices.SortFunc(list, func(a, b *item) int { return int(a.turn) - int(b.turn) })
		require.Equal(t, []*item(list), q.empty())
		require.Zero(t, q.len)
	}
}

// Executors that hold back what they took in turn may do so in any order.
func TestHeldRecordsKeepTheirOrder(t *testing.T) {
	var q queue
	for range 12 {
		q.push(&item{model: "m"})
	}
	a, b, c := q.take(nil, 3), q.take(nil, 3), q.take(nil, 3)
	require.True(t, q.hold(b))
	require.False(t, q.hold(c))
	require.False(t, q.hold(a))
	require.Zero(t, q.len)
	q.release("m")
	for i, it := range q.take(nil, 100) {
		require.EqualValues(t, i, it.turn)
	}
	require.Zero(t, q.len)
}

// Names of requests are anybody's: lines do not pile up.
func TestLinesOfNamesThatAreGone(t *testing.T) {
	var q queue
	for i := range 10000 {
		q.push(&item{model: strconv.Itoa(i)})
		q.take(nil, 1)
	}
	require.LessOrEqual(t, len(q.lines), keptLines+1)
}

// BenchmarkTake takes batches out of a long queue of many models: what a record
// costs must not grow with either.
func BenchmarkTake(b *testing.B) {
	for _, models := range []int{1, 10, 1000} {
		b.Run(fmt.Sprint(models, " models"), func(b *testing.B) {
			p := newRig(&fake{}).Pool
			p.cfg.MaxBatch, p.idle = 64, 1
			items := make([]item, 16384)
			for i := range items {
				items[i].model = strconv.Itoa(i % models)
				p.queue.push(&items[i])
			}
			var batch []*item
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				if len(batch) == 0 {
					batch = p.take(batch[:0])
				}
				it := batch[len(batch)-1]
				batch = batch[:len(batch)-1]
				p.queue.push(it)
			}
		})
	}
}
