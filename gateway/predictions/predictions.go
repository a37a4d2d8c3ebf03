// Package predictions keeps the answers of requests that nobody waits for on a
// connection. A topic is the truth: every gateway reads all of it, without a group,
// and so has the same predictions; one that restarts reads them again. What stands
// in the topic, by partition in this order:
//
//   - that a request was accepted, before the request itself is published. Of two
//     with the same id the first counts, on every gateway alike;
//   - its answer, which the worker writes as any reply;
//   - that it was cancelled, that its answer is no longer wanted, or that its request
//     could not be published.
package predictions

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
)

// ID names a prediction. It is the correlation id of its request.
type ID [16]byte

// NewID is one that no other prediction has.
func NewID() (id ID) {
	_, _ = rand.Read(id[:]) // never fails
	return id
}

// KeyID is the id of all requests of a client under one idempotency key.
func KeyID(client, key string) ID {
	h := sha256.New()
	for _, part := range []string{"millrace idempotency key", client, key} {
		_ = binary.Write(h, binary.BigEndian, uint64(len(part))) // a hash never fails
		_, _ = h.Write([]byte(part))
	}
	return ID(h.Sum(nil)[:len(ID{})])
}

// ParseID reads what String wrote.
func ParseID(text string) (ID, error) {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != len(ID{}) {
		return ID{}, errors.New("not an id of 32 hexadecimal digits")
	}
	return ID(raw), nil
}

func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Partition is where all of a prediction stands, of n partitions.
func (id ID) Partition(n int) int32 {
	return int32(binary.BigEndian.Uint64(id[:]) % uint64(n)) //nolint:gosec // below the number of partitions
}

// State of a prediction.
type State string

// The states. Those after pending are final.
const (
	Pending   State = "pending"
	Done      State = "done" // there is an answer, which may be an error
	Cancelled State = "cancelled"
	Expired   State = "expired" // its deadline passed, and no answer came
)

// Prediction is one as it stands. It is a copy.
type Prediction struct {
	ID       ID
	State    State
	Client   string            // who asked, where callers have to say
	Body     [sha256.Size]byte // hash of what was asked
	Created  time.Time
	Deadline time.Time
	Answer   *kgo.Record // when it is done
}

// Headers of the topic's own records.
const (
	headerKind  = "millrace-prediction"
	headerNonce = "millrace-nonce"
	headerBody  = "millrace-body-sha256"

	kindAccepted  = "accepted"
	kindCancelled = "cancelled"
	kindWithdrawn = "withdrawn"
	kindFence     = "fence"
)

// Accepted is the record that begins a prediction; nonce tells it from another of
// the same id.
func Accepted(p *Prediction, nonce ID) *kgo.Record {
	return &kgo.Record{Key: p.ID[:], Timestamp: p.Created, Headers: []kgo.RecordHeader{
		{Key: headerKind, Value: []byte(kindAccepted)},
		{Key: headerNonce, Value: nonce[:]},
		{Key: headerBody, Value: p.Body[:]},
		{Key: wire.Client, Value: []byte(p.Client)},
		{Key: wire.ExpiryTime, Value: p.Deadline.UTC().AppendFormat(nil, time.RFC3339Nano)},
	}}
}

// Dropped is the record that cancels a prediction, or gives up its answer.
func Dropped(id ID) *kgo.Record { return mark(id, kindCancelled) }

// Withdrawn is the record that takes back an acceptance, as its request could not be
// published: the id is free again.
func Withdrawn(id ID) *kgo.Record { return mark(id, kindWithdrawn) }

func mark(id ID, kind string) *kgo.Record {
	return &kgo.Record{Key: id[:], Headers: []kgo.RecordHeader{{Key: headerKind, Value: []byte(kind)}}}
}

// Fence is a record that changes nothing: who has read it has read all before it.
func Fence(id, nonce ID) *kgo.Record {
	return &kgo.Record{Key: id[:], Headers: []kgo.RecordHeader{
		{Key: headerKind, Value: []byte(kindFence)}, {Key: headerNonce, Value: nonce[:]},
	}}
}
