package consumer

import (
	"encoding/base64"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var unmarked = marks{suspect: unknown, until: unknown}

// above is the spans of a window in which done says who is answered.
func above(offset int64, epoch int32, n int, done func(int) bool) []span {
	var spans []span
	for i := range n {
		if done(i) {
			spans = push(spans, span{offset + int64(i), offset + int64(i), epoch})
		}
	}
	return spans
}

func TestMetadataRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, tt := range []struct {
		name string
		cp   checkpoint
		most int // bytes
	}{
		{"nothing to say", checkpoint{offset: 7, epoch: 1, marks: unmarked}, 0},
		{"at work", checkpoint{offset: 7, epoch: 1, marks: marks{open: true, suspect: unknown, until: unknown}}, 20},
		{"all marks", checkpoint{offset: 7, epoch: -1, marks: marks{open: true, alone: true, crowd: 2, solo: 3, suspect: 7, until: 70}}, 20},
		{"one run", checkpoint{offset: 1 << 40, epoch: 9, marks: unmarked, done: []span{{1<<40 + 5, 1<<40 + 100000, 9}}}, 24},
		{"far apart", checkpoint{offset: 0, marks: unmarked, done: []span{{1 << 50, 1 << 50, 0}, {1 << 60, 1<<60 + 1, 0}}}, 60},
		{"every other", checkpoint{offset: 3, epoch: 2, marks: unmarked, done: above(3, 2, 23900, func(i int) bool { return i%2 == 1 })}, metadataMax},
		{"at random", checkpoint{offset: 3, epoch: 2, marks: unmarked, done: above(3, 2, 4096, func(i int) bool { return i > 0 && rng.IntN(3) == 0 })}, 800},
		{"a new leader on the way", checkpoint{offset: 3, epoch: 2, marks: unmarked, done: []span{{5, 9, 2}, {10, 12, 3}, {14, 14, 3}, {20, 25, 4}}}, 50},
		{"no epochs", checkpoint{offset: 3, epoch: -1, marks: unmarked, done: []span{{5, 9, -1}}}, 24},
		{"the last offsets", checkpoint{offset: math.MaxInt64 - 10, marks: unmarked, done: []span{{math.MaxInt64 - 8, math.MaxInt64 - 7, 0}}}, 24},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := tt.cp.encode(metadataMax)
			require.LessOrEqual(t, len(text), tt.most)
			if text == "" {
				return
			}
			got, ok := decode(text, tt.cp.offset, tt.cp.epoch)
			require.True(t, ok)
			require.Equal(t, tt.cp, got)
			_, ok = decode(text, tt.cp.offset+1, tt.cp.epoch)
			require.False(t, ok, "another offset")
			_, ok = decode(text, tt.cp.offset, tt.cp.epoch+1)
			require.False(t, ok, "another epoch")
		})
	}
}

func TestMetadataLeavesOffWhatDoesNotFit(t *testing.T) {
	cp := checkpoint{marks: marks{open: true, suspect: unknown, until: unknown}, done: above(0, 0, 100000, func(i int) bool { return i%2 == 1 })}
	for _, room := range []int{metadataMax, 2048, 200, 100} {
		text := cp.encode(room)
		require.LessOrEqual(t, len(text), room)
		got, ok := decode(text, 0, 0)
		require.True(t, ok)
		require.True(t, got.open)
		require.NotEmpty(t, got.done)
		require.Equal(t, cp.done[:len(got.done)], got.done)
	}
	require.Empty(t, cp.encode(0))
}

func TestForeignMetadataSaysNothing(t *testing.T) {
	ours := (&checkpoint{offset: 5, marks: marks{open: true, suspect: unknown, until: unknown}}).encode(metadataMax)
	next := []byte(ours)
	next[0]++ // another version
	for _, text := range []string{
		"", "kgo-5c0ffee", "NO_METADATA", "{\"a\":1}", strings.Repeat("A", 5000), ours[:len(ours)-1], ours + "A", string(next),
		base64.RawURLEncoding.EncodeToString(make([]byte, 30)), "\x00\xff", "äöü",
	} {
		_, ok := decode(text, 5, 0)
		require.False(t, ok, "%q", text)
	}
	_, ok := decode(ours, -1, 0)
	require.False(t, ok)
}

// FuzzMetadata builds a set from bytes and holds that it comes back, and that
// a text of ours with anything in it but the checksum is read or refused.
func FuzzMetadata(f *testing.F) {
	f.Add("kgo-1", []byte{1, 2, 3, 200, 7, 0, 0, 1}, int64(5), int32(2), true)
	f.Add("AQAAAAAAAA", []byte{255, 255, 255, 255}, int64(0), int32(-1), false)
	f.Add("\x01\x04\x00\x00\x00\x00\x01\x00\x01\xff", []byte(nil), int64(1<<62), int32(0), false)
	f.Fuzz(func(t *testing.T, text string, ops []byte, offset int64, epoch int32, open bool) {
		offset, epoch = max(0, min(offset, 1<<62)), max(-1, epoch)
		_, _ = decode(text, offset, epoch)

		// The same text as a body whose checksum is right.
		raw := checkpoint{offset: offset, epoch: epoch}
		if body := []byte(text); len(body) > 1 && len(body) <= metadataMax*3/4 && raw.read(body) {
			raw.epoch = epoch
			again := raw.encode(metadataMax)
			if got, ok := decode(again, offset, epoch); again != "" {
				require.True(t, ok)
				require.Equal(t, raw.marks, got.marks)
				require.Equal(t, raw.done[:len(got.done)], got.done)
			}
		}

		want := checkpoint{offset: offset, epoch: epoch, marks: marks{open: open, crowd: len(ops) % 7, suspect: unknown, until: offset + 3}}
		at, e := offset, int32(0)
		for i, op := range ops {
			if i%16 == 15 {
				e = int32(op)
			}
			at += int64(op >> 4)
			want.done = push(want.done, span{at, at + int64(op&15), e})
			at += int64(op&15) + 1
		}
		out := want.encode(metadataMax)
		require.LessOrEqual(t, len(out), metadataMax)
		got, ok := decode(out, offset, epoch)
		require.True(t, ok)
		require.Equal(t, want.marks, got.marks)
		require.Equal(t, want.done[:len(got.done)], got.done)
		if len(ops) < 64 {
			require.Len(t, got.done, len(want.done))
		}
	})
}

func BenchmarkMetadata(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	for name, done := range map[string]func(int) bool{
		"runs":   func(i int) bool { return i > 0 && i/64%2 == 1 },
		"random": func(i int) bool { return i > 0 && rng.IntN(2) == 0 },
	} {
		l := newLease(b.Context(), "t", 0, 1)
		for i := range 4096 {
			l.tracker.add(int64(i), 0, l.moved)
		}
		for i := range 4096 {
			if done(i) {
				l.tracker.resolve(int64(i))
			}
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			size := 0
			for b.Loop() {
				l.changes++
				due, _ := l.toCommit()
				size = len(due.encode(metadataMax))
			}
			b.ReportMetric(float64(size), "bytes")
		})
	}
}
