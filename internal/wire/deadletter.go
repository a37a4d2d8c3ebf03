package wire

import (
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Headers of a dead letter, behind those of its request. The first six are
// named by KIP-1191.
const (
	DeadTopic          = deadPrefix + "topic"
	DeadPartition      = deadPrefix + "partition"
	DeadOffset         = deadPrefix + "offset"
	DeadGroup          = deadPrefix + "group"
	DeadDeliveries     = deadPrefix + "delivery.count"
	DeadMessage        = deadPrefix + "message"
	DeadCode           = deadPrefix + "code"
	DeadModel          = deadPrefix + "model"             // that refused it; absent when none was reached
	DeadModelVersion   = deadPrefix + "model.version"     // likewise
	DeadTime           = deadPrefix + "timestamp"         // of the refusal, RFC 3339
	DeadRequestTime    = deadPrefix + "request.timestamp" // the request's own, RFC 3339 in milliseconds
	DeadPayloadOmitted = deadPrefix + "payload.omitted"   // why the payload is not there
)

const deadPrefix = "__dlq.errors."

// reserved is what all headers about a dead letter begin with.
const reserved = "__dlq."

// Headers of a note that says of a dead letter that it was replayed. It stands
// in the partition of the letter, behind it, and is committed in one
// transaction with the replay.
const (
	ReplayedID   = reserved + "replayed.id"   // of the request that was refused
	ReplayedTime = reserved + "replayed.time" // of that request, as in DeadRequestTime
	ReplayedAs   = reserved + "replayed.as"   // where it stands now: the ce_id of its answer
)

// Headers of a request that is a replay.
const (
	ReplayOf   = "millrace-replay-of"   // where its dead letter stands: topic/partition/offset
	OriginalID = "millrace-original-id" // ce_id of the request as it was first asked; the answer names it too
)

// Reserved says whether a header is about a dead letter and not its request's.
func Reserved(key string) bool { return strings.HasPrefix(key, reserved) }

// WithoutReserved returns a request's own headers. A request that is a dead
// letter put back by hand has others too, which speak of an earlier refusal.
func WithoutReserved(headers []kgo.RecordHeader) []kgo.RecordHeader {
	return slices.DeleteFunc(slices.Clone(headers), func(h kgo.RecordHeader) bool { return Reserved(h.Key) })
}

// timeLayout is RFC 3339 to the millisecond, which is what Kafka keeps.
const timeLayout = "2006-01-02T15:04:05.000Z07:00"

// FormatTime writes a record's timestamp for a header.
func FormatTime(t time.Time) string { return t.UTC().Format(timeLayout) }
