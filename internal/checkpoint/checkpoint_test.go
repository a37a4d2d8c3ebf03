package checkpoint

import (
	"encoding/base64"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// above is the spans of a window in which done says who is answered.
func above(offset int64, epoch int32, n int, done func(int) bool) Set {
	var spans Set
	for i := range n {
		if done(i) {
			spans = spans.Push(Span{offset + int64(i), offset + int64(i), epoch})
		}
	}
	return spans
}

func TestMetadataRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, tt := range []struct {
		name string
		cp   Checkpoint
		most int // bytes
	}{
		{"nothing to say", Checkpoint{Offset: 7, Epoch: 1, Marks: Unmarked()}, 0},
		{"at work", Checkpoint{Offset: 7, Epoch: 1, Marks: Marks{Open: true, Suspect: Unknown, Until: Unknown}}, 20},
		{"all marks", Checkpoint{Offset: 7, Epoch: -1, Marks: Marks{Open: true, Alone: true, Crowd: 2, Solo: 3, Suspect: 7, Until: 70}}, 20},
		{"one run", Checkpoint{Offset: 1 << 40, Epoch: 9, Marks: Unmarked(), Done: Set{{1<<40 + 5, 1<<40 + 100000, 9}}}, 24},
		{"far apart", Checkpoint{Offset: 0, Marks: Unmarked(), Done: Set{{1 << 50, 1 << 50, 0}, {1 << 60, 1<<60 + 1, 0}}}, 60},
		{"every other", Checkpoint{Offset: 3, Epoch: 2, Marks: Unmarked(), Done: above(3, 2, 23900, func(i int) bool { return i%2 == 1 })}, Max},
		{"at random", Checkpoint{Offset: 3, Epoch: 2, Marks: Unmarked(), Done: above(3, 2, 4096, func(i int) bool { return i > 0 && rng.IntN(3) == 0 })}, 800},
		{"a new leader on the way", Checkpoint{Offset: 3, Epoch: 2, Marks: Unmarked(), Done: Set{{5, 9, 2}, {10, 12, 3}, {14, 14, 3}, {20, 25, 4}}}, 50},
		{"no epochs", Checkpoint{Offset: 3, Epoch: -1, Marks: Unmarked(), Done: Set{{5, 9, -1}}}, 24},
		{"the last offsets", Checkpoint{Offset: math.MaxInt64 - 10, Marks: Unmarked(), Done: Set{{math.MaxInt64 - 8, math.MaxInt64 - 7, 0}}}, 24},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := tt.cp.Encode(Max)
			require.LessOrEqual(t, len(text), tt.most)
			if text == "" {
				return
			}
			got, ok := Decode(text, tt.cp.Offset, tt.cp.Epoch)
			require.True(t, ok)
			require.Equal(t, tt.cp, got)
			_, ok = Decode(text, tt.cp.Offset+1, tt.cp.Epoch)
			require.False(t, ok, "another offset")
			_, ok = Decode(text, tt.cp.Offset, tt.cp.Epoch+1)
			require.False(t, ok, "another epoch")
		})
	}
}

func TestMetadataLeavesOffWhatDoesNotFit(t *testing.T) {
	cp := Checkpoint{Marks: Marks{Open: true, Suspect: Unknown, Until: Unknown}, Done: above(0, 0, 100000, func(i int) bool { return i%2 == 1 })}
	for _, room := range []int{Max, 2048, 200, 100} {
		text := cp.Encode(room)
		require.LessOrEqual(t, len(text), room)
		got, ok := Decode(text, 0, 0)
		require.True(t, ok)
		require.True(t, got.Open)
		require.NotEmpty(t, got.Done)
		require.Equal(t, cp.Done[:len(got.Done)], got.Done)
	}
	require.Empty(t, cp.Encode(0))
}

func TestForeignMetadataSaysNothing(t *testing.T) {
	ours := (&Checkpoint{Offset: 5, Marks: Marks{Open: true, Suspect: Unknown, Until: Unknown}}).Encode(Max)
	next := []byte(ours)
	next[0]++ // another version
	for _, text := range []string{
		"", "kgo-5c0ffee", "NO_METADATA", "{\"a\":1}", strings.Repeat("A", 5000), ours[:len(ours)-1], ours + "A", string(next),
		base64.RawURLEncoding.EncodeToString(make([]byte, 30)), "\x00\xff", "äöü",
	} {
		_, ok := Decode(text, 5, 0)
		require.False(t, ok, "%q", text)
	}
	_, ok := Decode(ours, -1, 0)
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
		_, _ = Decode(text, offset, epoch)

		// The same text as a body whose checksum is right.
		raw := Checkpoint{Offset: offset, Epoch: epoch}
		if body := []byte(text); len(body) > 1 && len(body) <= Max*3/4 && raw.read(body) {
			raw.Epoch = epoch
			again := raw.Encode(Max)
			if got, ok := Decode(again, offset, epoch); again != "" {
				require.True(t, ok)
				require.Equal(t, raw.Marks, got.Marks)
				require.Equal(t, raw.Done[:len(got.Done)], got.Done)
			}
		}

		want := Checkpoint{Offset: offset, Epoch: epoch, Marks: Marks{Open: open, Crowd: len(ops) % 7, Suspect: Unknown, Until: offset + 3}}
		at, e := offset, int32(0)
		for i, op := range ops {
			if i%16 == 15 {
				e = int32(op)
			}
			at += int64(op >> 4)
			want.Done = want.Done.Push(Span{at, at + int64(op&15), e})
			at += int64(op&15) + 1
		}
		out := want.Encode(Max)
		require.LessOrEqual(t, len(out), Max)
		got, ok := Decode(out, offset, epoch)
		require.True(t, ok)
		require.Equal(t, want.Marks, got.Marks)
		require.Equal(t, want.Done[:len(got.Done)], got.Done)
		if len(ops) < 64 {
			require.Len(t, got.Done, len(want.Done))
		}
	})
}

func BenchmarkMetadata(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	for name, done := range map[string]func(int) bool{
		"runs":   func(i int) bool { return i > 0 && i/64%2 == 1 },
		"random": func(i int) bool { return i > 0 && rng.IntN(2) == 0 },
	} {
		cp := Checkpoint{Marks: Unmarked(), Done: above(0, 0, 4096, done)}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			size := 0
			for b.Loop() {
				size = len(cp.Encode(Max))
			}
			b.ReportMetric(float64(size), "bytes")
		})
	}
}

func TestSet(t *testing.T) {
	s := Set{{6, 8, 3}, {10, 12, 4}}
	require.Equal(t, int64(6), s.Records(0))
	require.Equal(t, int64(4), s.Records(8))
	require.False(t, s.StartsWith(5, 3))
	require.True(t, s.StartsWith(6, 3))
	require.False(t, s.From(7).StartsWith(7, 4), "of another leader epoch")
	require.Equal(t, s[1:], s.From(9))
	require.False(t, s.From(9).StartsWith(9, 4))
	require.True(t, s.From(12).StartsWith(12, 4))
	require.Empty(t, s.From(13))
	require.Equal(t, Set{{8, 8, 3}, {10, 12, 4}}, s.Above(8))
	require.Equal(t, s, s.Above(6))
	require.Equal(t, int64(6), s[0].First, "the set itself stays")
}

func TestOverflows(t *testing.T) {
	require.False(t, Overflows(Max, 20000, 20000))
	require.True(t, Overflows(Max, 30000, 20000))
	require.False(t, Overflows(Max, 1<<40, 100), "few runs")
}

func TestFetched(t *testing.T) {
	cp := Checkpoint{Offset: 5, Epoch: 2, Marks: Marks{Open: true, Suspect: Unknown, Until: Unknown}}
	text, other := cp.Encode(Max), "kgo-1"
	resp := &kmsg.OffsetFetchResponse{Groups: []kmsg.OffsetFetchResponseGroup{{Topics: []kmsg.OffsetFetchResponseGroupTopic{{
		Topic: "in", Partitions: []kmsg.OffsetFetchResponseGroupTopicPartition{
			{Partition: 0, Offset: 5, LeaderEpoch: 2, Metadata: &text},
			{Partition: 1, Offset: 5, LeaderEpoch: 2, Metadata: &other},
			{Partition: 2, Offset: 5, LeaderEpoch: 2, Metadata: &text, ErrorCode: 88},
			{Partition: 3, Offset: 5, LeaderEpoch: 2},
		},
	}}}}}
	got := map[int32]Checkpoint{}
	Fetched(resp, func(topic string, partition int32, cp Checkpoint) {
		require.Equal(t, "in", topic)
		got[partition] = cp
	})
	require.Equal(t, map[int32]Checkpoint{0: cp}, got)
}
