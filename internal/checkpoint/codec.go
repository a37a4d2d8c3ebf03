package checkpoint

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"math"
	"math/bits"
)

// A commit's metadata holds what its offset cannot say: which records above it
// are answered, and how work on the records at it has ended so far. It is text
// of at most Max bytes (the broker's offset.metadata.max.bytes), in
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
	version    = 1
	head       = 40 // as much as stands around epochs and done
	epochsRoom = 32 // what two leader epochs take
)

const (
	flagOpen = 1 << iota
	flagAlone
	flagBits
	flagAll = 1<<iota - 1
)

// Encode returns the metadata in at most room bytes. Spans that do not fit are
// left off from the end: their records are answered again after a crash.
func (c *Checkpoint) Encode(room int) string {
	if c.Marks == Unmarked() && len(c.Done) == 0 {
		return ""
	}
	if room < Least {
		return ""
	}
	done, asBits := c.fit(room*3/4 - head)
	b := append(make([]byte, 0, room), version, flag(c.Open, flagOpen)|flag(c.Alone, flagAlone)|flag(asBits, flagBits))
	for _, n := range []int64{int64(c.Crowd), int64(c.Solo), c.relative(c.Suspect), c.relative(c.Until)} {
		b = appendUvarint(b, n)
	}
	b = appendEpochs(b, c.Offset, done)
	if asBits {
		b = appendBits(b, c.Offset, done)
	} else {
		b = appendRuns(b, c.Offset, done)
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
func (c *Checkpoint) fit(room int) (done Set, asBits bool) {
	runs, at, epochs, from := 0, c.Offset, 0, c.Offset
	for i, s := range c.Done {
		if i == 0 || s.Epoch != c.Done[i-1].Epoch {
			epochs += uvarintLen(s.First-from) + uvarintLen(int64(s.Epoch)+1)
			from = s.First
		}
		runs += uvarintLen(s.First-at) + uvarintLen(s.Last-s.First+1)
		at = s.Last + 1
		width := (s.Last-c.Offset)/8 + 1
		if int64(epochs)+min(int64(runs), width) > int64(room) {
			break
		}
		done, asBits = c.Done[:i+1], width < int64(runs)
	}
	return done, asBits
}

func (c *Checkpoint) relative(offset int64) int64 {
	if c.ahead(offset) == Unknown {
		return 0
	}
	return offset - c.Offset + 1
}

// ahead is an offset as the text can say it, which has none below the commit's.
func (c *Checkpoint) ahead(offset int64) int64 {
	if offset < c.Offset {
		return Unknown
	}
	return offset
}

func (c *Checkpoint) sum(b []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	var commit [12]byte
	binary.BigEndian.PutUint64(commit[:], uint64(c.Offset))         //nolint:gosec // Bits, whatever they mean.
	binary.BigEndian.PutUint32(commit[8:], uint32(c.Epoch))         //nolint:gosec // Likewise.
	return crc32.Update(crc32.Checksum(b, table), table, commit[:]) // of the text and its commit
}

func appendUvarint(b []byte, n int64) []byte { return binary.AppendUvarint(b, uint64(n)) } //nolint:gosec // Never negative here.

func uvarintLen(n int64) int { return (bits.Len64(uint64(n)|1) + 6) / 7 } //nolint:gosec // Never negative here.

func appendEpochs(b []byte, offset int64, done Set) []byte {
	var table []byte
	n, at := int64(0), offset
	for i, s := range done {
		if i == 0 || s.Epoch != done[i-1].Epoch {
			table = appendUvarint(table, s.First-at)
			table = appendUvarint(table, int64(s.Epoch)+1)
			at = s.First
			n++
		}
	}
	return append(appendUvarint(b, n), table...)
}

func appendRuns(b []byte, at int64, done Set) []byte {
	for _, s := range done {
		b = appendUvarint(b, s.First-at)
		b = appendUvarint(b, s.Last-s.First+1)
		at = s.Last + 1
	}
	return b
}

func appendBits(b []byte, offset int64, done Set) []byte {
	field := make([]byte, (done[len(done)-1].Last-offset)/8+1)
	for _, s := range done {
		for i := s.First - offset; i <= s.Last-offset; i++ {
			field[i/8] |= 1 << (i % 8)
		}
	}
	return append(b, field...)
}

// Decode reads the metadata of a commit. It returns false for what this
// program did not write for that commit.
func Decode(text string, offset int64, epoch int32) (Checkpoint, bool) {
	c := Checkpoint{Offset: offset, Epoch: epoch, Marks: Unmarked()}
	if len(text) > Max || offset < 0 {
		return c, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) < 6 || b[0] != version || b[1]&^flagAll != 0 {
		return c, false
	}
	body := b[:len(b)-4]
	if c.sum(body) != binary.BigEndian.Uint32(b[len(b)-4:]) {
		return c, false
	}
	return c, c.read(body[1:])
}

// read takes over what a text says whose checksum is right.
func (c *Checkpoint) read(b []byte) bool {
	r := reader{b: b[1:], ok: true}
	c.Open, c.Alone = b[0]&flagOpen != 0, b[0]&flagAlone != 0
	c.Crowd, c.Solo = int(r.next(math.MaxInt32)), int(r.next(math.MaxInt32))
	c.Suspect, c.Until = c.absolute(&r), c.absolute(&r)
	var epochs Set // from first on
	for at, n := c.Offset, r.next(Max); n > 0 && r.ok; n-- {
		at += r.next(math.MaxInt64 - at)
		epochs = append(epochs, Span{First: at, Epoch: int32(r.next(math.MaxInt32)) - 1}) //nolint:gosec // Bounded by next.
	}
	runs := r.runs
	if b[0]&flagBits != 0 {
		runs = r.bits
	}
	for first, last := range runs(c.Offset) {
		if !c.add(epochs, first, last) {
			return false
		}
	}
	return r.ok
}

func (c *Checkpoint) absolute(r *reader) int64 {
	n := r.next(math.MaxInt64 - c.Offset)
	if n == 0 {
		return Unknown
	}
	return c.Offset + n - 1
}

// add appends a run of offsets, cut where the epoch changes.
func (c *Checkpoint) add(epochs Set, first, last int64) bool {
	for i, e := range epochs {
		end := last
		if i+1 < len(epochs) {
			end = min(last, epochs[i+1].First-1)
		}
		if e.First <= first && first <= end {
			c.Done = c.Done.Push(Span{first, end, e.Epoch})
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
