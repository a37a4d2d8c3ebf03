package consumer

import (
	"sort"
	"time"

	"github.com/millrace/millrace/internal/checkpoint"
)

// tracker holds the records of one partition from the first that is not
// resolved on, in offset order, and moves the watermark over those that are.
// Offsets may have gaps (compaction, transactions): what follows a resolved
// record is the next record tracked, whatever its offset.
//
// It is a ring: adding and resolving cost O(1), and its memory is what the
// distance from the watermark to the last record needs. Which slots above the
// watermark are resolved is what a commit's metadata carries.
type tracker struct {
	slots []slot // length is a power of two
	head  int    // index of the first unresolved slot
	n     int    // slots in use
	done  int    // of them, resolved

	watermark int64 // the offset to commit; unknown when below 0
	epoch     int32 // leader epoch of the record below the watermark, -1 when unknown
}

type slot struct {
	offset    int64
	timestamp time.Time
	epoch     int32
	resolved  bool
}

const unknown = checkpoint.Unknown

func newTracker() tracker { return tracker{watermark: unknown, epoch: -1} }

func (t *tracker) at(i int) *slot { return &t.slots[(t.head+i)&(len(t.slots)-1)] }

// add tracks a record. Its offset must be above all that were added; one that
// is not is refused.
func (t *tracker) add(offset int64, epoch int32, timestamp time.Time) bool {
	if !t.follows(offset) {
		return false
	}
	if t.watermark < 0 {
		t.watermark = offset
	}
	if t.n == len(t.slots) {
		t.grow()
	}
	t.n++
	*t.at(t.n - 1) = slot{offset: offset, epoch: epoch, timestamp: timestamp}
	return true
}

// follows says whether an offset is above all that were added.
func (t *tracker) follows(offset int64) bool {
	if t.n > 0 {
		return offset > t.at(t.n-1).offset
	}
	return offset >= t.watermark
}

func (t *tracker) grow() {
	bigger := make([]slot, max(64, 2*len(t.slots)))
	for i := range t.n {
		bigger[i] = *t.at(i)
	}
	t.slots, t.head = bigger, 0
}

// resolve marks a record as done. It returns false for one that is not
// tracked or was resolved before.
func (t *tracker) resolve(offset int64) bool {
	i := t.find(offset)
	if i < 0 || t.at(i).resolved {
		return false
	}
	t.at(i).resolved = true
	t.done++
	if i == 0 {
		t.advance()
	}
	return true
}

func (t *tracker) advance() {
	for t.n > 0 && t.at(0).resolved {
		s := t.at(0)
		t.watermark, t.epoch = s.offset+1, s.epoch
		*s = slot{}
		t.head = (t.head + 1) & (len(t.slots) - 1)
		t.n--
		t.done--
	}
}

// last is the highest offset that was added, or the one below the watermark.
func (t *tracker) last() int64 {
	if t.n == 0 {
		return t.watermark - 1
	}
	return t.at(t.n - 1).offset
}

// find returns the place of a record above head, or below 0.
func (t *tracker) find(offset int64) int {
	if t.n == 0 || offset < t.at(0).offset {
		return -1
	}
	// Without gaps the place is the distance; each gap only brings it nearer.
	far := int(min(offset-t.at(0).offset, int64(t.n-1)))
	if t.at(far).offset == offset {
		return far
	}
	i := sort.Search(far, func(i int) bool { return t.at(i).offset >= offset })
	if i < far && t.at(i).offset == offset {
		return i
	}
	return -1
}

// skipTo moves an idle watermark over records that the log has no more.
func (t *tracker) skipTo(offset int64) bool {
	if t.n > 0 || t.watermark >= offset {
		return false
	}
	t.watermark, t.epoch = offset, -1
	return true
}

// oldest is the timestamp of the first unresolved record.
func (t *tracker) oldest() (time.Time, bool) {
	if t.n == 0 {
		return time.Time{}, false
	}
	return t.at(0).timestamp, true
}

// first is the offset of the first unresolved record.
func (t *tracker) first() (int64, bool) {
	if t.n == 0 {
		return 0, false
	}
	return t.at(0).offset, true
}

// spans appends the resolved records above the watermark. What lies between
// two of them that follow on each other is no record, and may count as one.
func (t *tracker) spans(to checkpoint.Set) checkpoint.Set {
	follows := false
	for i := range t.n {
		s := t.at(i)
		switch {
		case !s.resolved:
			follows = false
			continue
		case follows && to[len(to)-1].Epoch == s.epoch:
			to[len(to)-1].Last = s.offset
		default:
			to = append(to, checkpoint.Span{First: s.offset, Last: s.offset, Epoch: s.epoch})
		}
		follows = true
	}
	return to
}
