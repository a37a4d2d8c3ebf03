package consumer

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/internal/checkpoint"
)

// model is the tracker written in the plainest way.
type trackerModel struct {
	offsets   []int64
	done      map[int64]bool
	watermark int64
}

func (m *trackerModel) resolve(o int64) bool {
	if !slices.Contains(m.offsets, o) || m.done[o] {
		return false
	}
	m.done[o] = true
	for len(m.offsets) > 0 && m.done[m.offsets[0]] {
		m.watermark = m.offsets[0] + 1
		delete(m.done, m.offsets[0])
		m.offsets = m.offsets[1:]
	}
	return true
}

// drive reads operations from bytes: an odd one adds after a gap, an even one
// resolves something near the watermark.
func drive(t *testing.T, ops []byte) {
	t.Helper()
	tr, m := newTracker(), trackerModel{done: map[int64]bool{}, watermark: unknown}
	next := int64(7)
	for _, op := range ops {
		if op&1 == 1 {
			next += int64(op>>1) % 5
			require.True(t, tr.add(next, int32(op), time.Unix(next, 0)))
			if m.watermark < 0 {
				m.watermark = next
			}
			m.offsets = append(m.offsets, next)
			require.False(t, tr.add(next, 0, time.Time{}), "the same offset twice")
			next++
		} else {
			o := m.watermark + int64(op>>1)
			require.Equal(t, m.resolve(o), tr.resolve(o), "resolve %d", o)
		}
		require.Equal(t, m.watermark, tr.watermark)
		require.Equal(t, len(m.offsets), tr.n)
		oldest, ok := tr.oldest()
		require.Equal(t, len(m.offsets) > 0, ok)
		if ok {
			require.Equal(t, m.offsets[0], oldest.Unix())
		}
		require.Equal(t, len(m.done), tr.done)
		spans := tr.spans(nil)
		for _, o := range m.offsets {
			require.Equal(t, m.done[o], slices.ContainsFunc(spans, func(s checkpoint.Span) bool { return s.First <= o && o <= s.Last }))
		}
		for i := 1; i < len(spans); i++ {
			require.Less(t, spans[i-1].Last, spans[i].First)
		}
	}
}

func TestTrackerAgainstModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		ops := make([]byte, 400)
		for i := range ops {
			ops[i] = byte(rng.IntN(256))
			if rng.IntN(2) == 0 {
				ops[i] = byte(rng.IntN(8) * 2)
			}
		}
		drive(t, ops)
	}
}

func FuzzTracker(f *testing.F) {
	f.Add([]byte{1, 1, 3, 0, 2, 4})
	f.Add([]byte{9, 9, 9, 8, 6, 4, 2, 0})
	f.Fuzz(drive)
}

func TestTrackerKeepsTheLeaderEpoch(t *testing.T) {
	tr := newTracker()
	tr.add(10, 3, time.Time{})
	tr.add(15, 4, time.Time{})
	require.True(t, tr.resolve(15))
	require.Equal(t, int64(10), tr.watermark)
	require.Equal(t, checkpoint.Set{span(15, 15, 4)}, tr.spans(nil))
	require.Equal(t, int64(15), tr.last())
	require.False(t, tr.skipTo(100), "records wait")
	require.True(t, tr.resolve(10))
	require.Equal(t, int64(16), tr.watermark)
	require.Equal(t, int32(4), tr.epoch)
	require.True(t, tr.skipTo(20))
	require.False(t, tr.follows(19))
}

func BenchmarkTracker(b *testing.B) {
	const window = 4096
	tr := newTracker()
	b.ReportAllocs()
	next, low := int64(0), int64(0)
	for b.Loop() {
		tr.add(next, 0, time.Time{})
		next++
		if next-low == window {
			// Half a window backwards: the worst order that batches bring.
			for o := low + window/2 - 1; o >= low; o-- {
				tr.resolve(o)
			}
			low += window / 2
		}
	}
}
