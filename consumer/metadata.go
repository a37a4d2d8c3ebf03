package consumer

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"math"
	"math/bits"
)

// A commit's metadata holds what its offset cannot say: which records above it
// are answered, and how work on the records at it has ended so far. It is text
// of at most metadataMax bytes (the broker's offset.metadata.max.bytes), in
// unpadded base64url:
//
//	version  1 byte
//	flags    1 byte
//	crowd, solo, suspect-offset+1, until-offset+1                  uvarints
//	epochs   a count, then pairs (first-previous first, epoch+1)   uvarints
//	done     pairs (gap, length) as uvarints, or one bit an offset
//	crc32c   4 bytes over all of it and the offset and epoch of the commit
//
// The pairs or the bits are taken, whichever is shorter. The checksum ties the
// text to its commit: what another tool wrote, or moved to another offset, is
// not ours and says nothing.
const (
	metadataMax     = 4096
	metadataVersion = 1
	metadataHead    = 40 // as much as stands around epochs and done
)

const (
	flagOpen = 1 << iota
	flagAlone
	flagBits
	flagAll = 1<<iota - 1
)

// checkpoint is a commit as its lease sees it.
type checkpoint struct {
	offset int64
	epoch  int32
	marks
	done []span // answered, above offset, ascending
}

// marks say how work on what follows a committed offset began and ended.
type marks struct {
	open    bool  // a lease is at work; found by the next one, it has ended uncleanly
	alone   bool  // with suspect as the one record in flight in its process
	crowd   int   // unclean ends with other records in flight
	solo    int   // unclean ends with suspect alone in flight
	suspect int64 // offset, or unknown
	until   int64 // the last offset that is under suspicion, or unknown
}

// span is a range of offsets, the last included. Offsets between that no
// record has may be in it.
type span struct {
	first, last int64
	epoch       int32 // leader epoch of its records: the same offset of another is another record
}

// push appends a span, or extends the last one by it.
func push(spans []span, s span) []span {
	if n := len(spans); n > 0 && spans[n-1].last+1 == s.first && spans[n-1].epoch == s.epoch {
		spans[n-1].last = s.last
		return spans
	}
	return append(spans, s)
}

// encode returns the metadata in at most room bytes. Spans that do not fit are
// left off from the end: their records are answered again after a crash.
func (c *checkpoint) encode(room int) string {
	if c.marks == (marks{suspect: unknown, until: unknown}) && len(c.done) == 0 {
		return ""
	}
	if room < metadataHead {
		return ""
	}
	done, asBits := c.fit(room*3/4 - metadataHead)
	b := append(make([]byte, 0, room), metadataVersion, flag(c.open, flagOpen)|flag(c.alone, flagAlone)|flag(asBits, flagBits))
	for _, n := range []int64{int64(c.crowd), int64(c.solo), c.relative(c.suspect), c.relative(c.until)} {
		b = appendUvarint(b, n)
	}
	b = appendEpochs(b, c.offset, done)
	if asBits {
		b = appendBits(b, c.offset, done)
	} else {
		b = appendRuns(b, c.offset, done)
	}
	b = binary.BigEndian.AppendUint32(b, c.sum(b))
	return base64.RawURLEncoding.EncodeToString(b)
}

func flag(on bool, f byte) byte {
	if on {
		return f
	}
	return 0
}

// fit returns the longest prefix of the spans that room bytes hold, and how.
func (c *checkpoint) fit(room int) (done []span, asBits bool) {
	runs, at, epochs, from := 0, c.offset, 0, c.offset
	for i, s := range c.done {
		if i == 0 || s.epoch != c.done[i-1].epoch {
			epochs += uvarintLen(s.first-from) + uvarintLen(int64(s.epoch)+1)
			from = s.first
		}
		runs += uvarintLen(s.first-at) + uvarintLen(s.last-s.first+1)
		at = s.last + 1
		width := (s.last-c.offset)/8 + 1
		if int64(epochs)+min(int64(runs), width) > int64(room) {
			break
		}
		done, asBits = c.done[:i+1], width < int64(runs)
	}
	return done, asBits
}

func (c *checkpoint) relative(offset int64) int64 {
	if offset < c.offset {
		return 0
	}
	return offset - c.offset + 1
}

func (c *checkpoint) sum(b []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	var commit [12]byte
	binary.BigEndian.PutUint64(commit[:], uint64(c.offset))         //nolint:gosec // Bits, whatever they mean.
	binary.BigEndian.PutUint32(commit[8:], uint32(c.epoch))         //nolint:gosec // Likewise.
	return crc32.Update(crc32.Checksum(b, table), table, commit[:]) // of the text and its commit
}

func appendUvarint(b []byte, n int64) []byte { return binary.AppendUvarint(b, uint64(n)) } //nolint:gosec // Never negative here.

func uvarintLen(n int64) int { return (bits.Len64(uint64(n)|1) + 6) / 7 } //nolint:gosec // Never negative here.

func appendEpochs(b []byte, offset int64, done []span) []byte {
	var table []byte
	n, at := int64(0), offset
	for i, s := range done {
		if i == 0 || s.epoch != done[i-1].epoch {
			table = appendUvarint(table, s.first-at)
			table = appendUvarint(table, int64(s.epoch)+1)
			at = s.first
			n++
		}
	}
	return append(appendUvarint(b, n), table...)
}

func appendRuns(b []byte, at int64, done []span) []byte {
	for _, s := range done {
		b = appendUvarint(b, s.first-at)
		b = appendUvarint(b, s.last-s.first+1)
		at = s.last + 1
	}
	return b
}

func appendBits(b []byte, offset int64, done []span) []byte {
	field := make([]byte, (done[len(done)-1].last-offset)/8+1)
	for _, s := range done {
		for i := s.first - offset; i <= s.last-offset; i++ {
			field[i/8] |= 1 << (i % 8)
		}
	}
	return append(b, field...)
}

// decode reads the metadata of a commit. It returns false for what this
// program did not write for that commit.
func decode(text string, offset int64, epoch int32) (checkpoint, bool) {
	c := checkpoint{offset: offset, epoch: epoch, marks: marks{suspect: unknown, until: unknown}}
	if len(text) > metadataMax || offset < 0 {
		return c, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) < 6 || b[0] != metadataVersion || b[1]&^flagAll != 0 {
		return c, false
	}
	body := b[:len(b)-4]
	if c.sum(body) != binary.BigEndian.Uint32(b[len(b)-4:]) {
		return c, false
	}
	return c, c.read(body[1:])
}

// read takes over what a text says whose checksum is right.
func (c *checkpoint) read(b []byte) bool {
	r := reader{b: b[1:], ok: true}
	c.open, c.alone = b[0]&flagOpen != 0, b[0]&flagAlone != 0
	c.crowd, c.solo = int(r.next(math.MaxInt32)), int(r.next(math.MaxInt32))
	c.suspect, c.until = c.absolute(&r), c.absolute(&r)
	var epochs []span // from first on
	for at, n := c.offset, r.next(metadataMax); n > 0 && r.ok; n-- {
		at += r.next(math.MaxInt64 - at)
		epochs = append(epochs, span{first: at, epoch: int32(r.next(math.MaxInt32)) - 1}) //nolint:gosec // Bounded by next.
	}
	runs := r.runs
	if b[0]&flagBits != 0 {
		runs = r.bits
	}
	for first, last := range runs(c.offset) {
		if !c.add(epochs, first, last) {
			return false
		}
	}
	return r.ok
}

func (c *checkpoint) absolute(r *reader) int64 {
	n := r.next(math.MaxInt64 - c.offset)
	if n == 0 {
		return unknown
	}
	return c.offset + n - 1
}

// add appends a run of offsets, cut where the epoch changes.
func (c *checkpoint) add(epochs []span, first, last int64) bool {
	for i, e := range epochs {
		end := last
		if i+1 < len(epochs) {
			end = min(last, epochs[i+1].first-1)
		}
		if e.first <= first && first <= end {
			c.done = push(c.done, span{first, end, e.epoch})
			first = end + 1
		}
	}
	return first > last // else it is of no epoch
}

// reader reads numbers until one is wrong.
type reader struct {
	b  []byte
	ok bool
}

// next returns the next number, which is from 0 to most.
func (r *reader) next(most int64) int64 {
	n, size := binary.Uvarint(r.b)
	if !r.ok || size <= 0 || n > uint64(most) { //nolint:gosec // most is not negative.
		r.ok = false
		return 0
	}
	r.b = r.b[size:]
	return int64(n) //nolint:gosec // At most most.
}

func (r *reader) runs(at int64) func(func(first, last int64) bool) {
	return func(yield func(int64, int64) bool) {
		for r.ok && len(r.b) > 0 {
			at += r.next(math.MaxInt64 - 1 - at)
			n := r.next(math.MaxInt64 - 1 - at)
			r.ok = r.ok && n > 0
			if !r.ok || !yield(at, at+n-1) {
				return
			}
			at += n
		}
	}
}

func (r *reader) bits(at int64) func(func(first, last int64) bool) {
	return func(yield func(int64, int64) bool) {
		if int64(len(r.b))*8 > math.MaxInt64-1-at {
			r.ok = false
			return
		}
		for i := range int64(len(r.b)) * 8 {
			if r.b[i/8]>>(i%8)&1 != 0 && !yield(at+i, at+i) {
				return
			}
		}
	}
}
