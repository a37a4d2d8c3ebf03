package split

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
)

// Buckets is how many parts the keys are divided into.
const Buckets = 10_000

// Bucket is where a key stands in the experiment of that name: the first four
// bytes of SHA-256 of the name, a line feed and the key, as a big-endian number,
// modulo [Buckets]. It is the same in every release, and every language has what
// it takes:
//
//	int.from_bytes(hashlib.sha256(name + b"\n" + key).digest()[:4]) % 10000
//
// The name salts it, so that experiments are independent of each other. It is
// not the hash that partitions a topic: a share is taken from every partition.
func Bucket(name string, key []byte) int {
	var room [128]byte
	sum := sha256.Sum256(append(append(append(room[:0], name...), '\n'), key...))
	return int(binary.BigEndian.Uint32(sum[:]) % Buckets)
}

// Key is what a request is assigned by: the record's key, so that all requests
// of a key see one version; without one its correlation id; else where it
// stands, as "topic/partition/offset", which of a replay is where it first stood.
func Key(dst []byte, r *kgo.Record) []byte {
	if len(r.Key) > 0 {
		return r.Key
	}
	for _, name := range []string{wire.CorrelationID, wire.OriginalID} {
		if v, ok := wire.Header(r, name); ok && len(v) > 0 {
			return v
		}
	}
	return wire.AppendID(dst, r)
}

// Weight is a share in hundredths of a percent, of [Buckets] in all.
type Weight int

// Ratio is the share from 0 to 1.
func (w Weight) Ratio() float64 { return float64(w) / Buckets }

// String is the share in percent, such as "2.5".
func (w Weight) String() string { return strconv.FormatFloat(float64(w)/100, 'f', -1, 64) }

// ParseWeight reads a share in percent, "10", "2.5" or "0.01%".
func ParseWeight(text string) (Weight, error) {
	number := strings.TrimSuffix(strings.TrimSpace(text), "%")
	whole, fraction, _ := strings.Cut(number, ".")
	n, err := strconv.ParseUint(whole+(fraction + "00")[:2], 10, 32)
	if err != nil || whole == "" || len(fraction) > 2 || n > Buckets {
		return 0, fmt.Errorf("%q is no share in percent, from 0 to 100 in steps of 0.01", text)
	}
	return Weight(n), nil
}

// In says whether a request belongs to a share of the experiment of that name.
// Raising the weight only adds keys to it.
func (w Weight) In(name string, r *kgo.Record) bool {
	switch w {
	case 0:
		return false
	case Buckets:
		return true
	}
	var room [64]byte
	return Bucket(name, Key(room[:0], r)) < int(w)
}
