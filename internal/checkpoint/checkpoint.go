// Package checkpoint is what a commit says beside its offset, in the metadata
// that the broker keeps with it: which records above the offset are answered,
// and how work on those at it has ended so far. Every intake of a consumer
// group reads and writes the same, so that one may follow on another.
package checkpoint

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Max is the longest metadata, in bytes: the broker's default of
// offset.metadata.max.bytes.
const Max = 4096

// Least is the shortest room that marks need.
const Least = head

// Unknown stands for an offset that is not known.
const Unknown = -1

// Checkpoint is a commit as its lease sees it.
type Checkpoint struct {
	Offset int64
	Epoch  int32
	Marks
	Done Set // answered, above Offset
}

// Marks say how work on what follows a committed offset began and ended.
type Marks struct {
	Open    bool  // a lease is at work; found by the next one, it has ended uncleanly
	Alone   bool  // with Suspect as the one record in flight in its process
	Crowd   int   // unclean ends with other records in flight
	Solo    int   // unclean ends with Suspect alone in flight
	Suspect int64 // offset, or Unknown
	Until   int64 // the last offset that is under suspicion, or Unknown
}

// Unmarked says nothing.
func Unmarked() Marks { return Marks{Suspect: Unknown, Until: Unknown} }

// Ended are the marks of a lease that ends cleanly.
func (m Marks) Ended() Marks {
	m.Open, m.Alone = false, false
	return m
}

// Span is a range of offsets, the last included. Offsets between that no
// record has may be in it.
type Span struct {
	First, Last int64
	Epoch       int32 // leader epoch of its records: the same offset of another is another record
}

// Set is spans in ascending order.
type Set []Span

// Push appends a span, or extends the last one by it.
func (s Set) Push(next Span) Set {
	if n := len(s); n > 0 && s[n-1].Last+1 == next.First && s[n-1].Epoch == next.Epoch {
		s[n-1].Last = next.Last
		return s
	}
	return append(s, next)
}

// From is what of the set is not below an offset.
func (s Set) From(offset int64) Set {
	for len(s) > 0 && s[0].Last < offset {
		s = s[1:]
	}
	return s
}

// Above is what of the set is not below an offset, cut there.
func (s Set) Above(offset int64) Set {
	s = s.From(offset)
	if len(s) == 0 || s[0].First >= offset {
		return s
	}
	s = slices.Clone(s)
	s[0].First = offset
	return s
}

// StartsWith says whether a record is in the set, whose records below it are
// taken off.
func (s Set) StartsWith(offset int64, epoch int32) bool {
	return len(s) > 0 && s[0].First <= offset && s[0].Epoch == epoch
}

// Records is the number of offsets in the set from one on.
func (s Set) Records(from int64) int64 {
	var n int64
	for _, span := range s {
		n += max(0, span.Last-max(span.First, from)+1)
	}
	return n
}

// Overflows says that room bytes could not hold which records among span
// offsets are answered, whichever these are, in at most runs runs.
func Overflows(room int, span int64, runs int) bool {
	return min(span/8, int64(runs)*int64(uvarintLen(span))) > int64(room*3/4-head-epochsRoom)
}

// Fetched yields the checkpoints in a broker's answer, in which the client has
// found the names of topics that came by their ids.
func Fetched(resp *kmsg.OffsetFetchResponse, yield func(topic string, partition int32, cp Checkpoint)) {
	for _, g := range resp.Groups {
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				if p.ErrorCode != 0 || p.Metadata == nil {
					continue
				}
				if cp, ok := Decode(*p.Metadata, p.Offset, p.LeaderEpoch); ok {
					yield(t.Topic, p.Partition, cp)
				}
			}
		}
	}
}
