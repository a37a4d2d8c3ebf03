package follow

import (
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/model"
)

// outcomes is how a version has done of late. It is written by every executor
// at once, and costs each a few additions a call.
type outcomes struct {
	recent atomic.Pointer[tally]
	last   atomic.Pointer[tally] // the period before, complete
}

func newOutcomes() *outcomes {
	o := &outcomes{}
	o.recent.Store(&tally{})
	o.last.Store(&tally{})
	return o
}

// rotate forgets what is older than the period that begins.
func (o *outcomes) rotate() { o.last.Store(o.recent.Swap(&tally{})) }

// Observe notes a call of a snapshot's model: that n requests were answered, or
// that they failed by the model's fault, and how long the call took. It is safe
// for concurrent use. A snapshot that is not the follower's is ignored.
func (f *Follower) Observe(s *model.Snapshot, ok bool, took time.Duration, n int) {
	if c, known := s.Model.(*lateCloser); known {
		c.outcomes.recent.Load().add(ok, took, n)
	}
}

// tally counts the outcomes of a period.
type tally struct {
	ok, failed atomic.Uint64 // requests
	// Calls by their number of requests, since a call of 64 takes longer than
	// one of 1, and how many there are of each changes with the load.
	calls [sizes]histogram
}

func (t *tally) all() []*histogram {
	hs := make([]*histogram, sizes)
	for i := range t.calls {
		hs[i] = &t.calls[i]
	}
	return hs
}

// sizes are powers of two: 1, 2-3, 4-7 and so on, the last without an end.
const sizes = 13

func (t *tally) add(ok bool, took time.Duration, n int) {
	if !ok {
		t.failed.Add(uint64(n)) //nolint:gosec // a count
		return
	}
	t.ok.Add(uint64(n)) //nolint:gosec // a count
	t.calls[min(max(bits.Len(uint(n))-1, 0), sizes-1)].buckets[bucket(took)].Add(1)
}

// shareOf is how many of the requests failed, of all in ts.
func shareOf(ts ...*tally) (share float64, requests uint64) {
	failed := uint64(0)
	for _, t := range ts {
		failed += t.failed.Load()
		requests += t.ok.Load()
	}
	if requests += failed; requests == 0 {
		return 0, 0
	}
	return float64(failed) / float64(requests), requests
}

// histogram counts durations in buckets that grow by a quarter at most: four an octave,
// from a microsecond to a minute.
type histogram struct{ buckets [4 * octaves]atomic.Uint32 }

const (
	octaves  = 27
	smallest = 10 // the first octave begins at 2^10 ns
)

func bucket(d time.Duration) int {
	if d < 1<<smallest {
		return 0
	}
	octave := bits.Len64(uint64(d)) - 1
	quarter := int(d>>(octave-2)) & 3
	return min(4*(octave-smallest)+quarter, 4*octaves-1)
}

// upper is the end of a bucket.
func upper(i int) time.Duration { return time.Duration(5+i%4) << (smallest + i/4 - 2) }

// p95 is the upper bound of the bucket that holds the 95th percentile of the
// durations in all of hs, and how many there are.
func p95(hs ...*histogram) (at time.Duration, n uint64) {
	var sum [4 * octaves]uint64
	for _, h := range hs {
		for i := range h.buckets {
			c := uint64(h.buckets[i].Load())
			sum[i] += c
			n += c
		}
	}
	rest := n / 20 // may lie above
	for i := len(sum) - 1; i >= 0; i-- {
		if sum[i] > rest {
			return upper(i), n
		}
		rest -= sum[i]
	}
	return 0, 0
}
