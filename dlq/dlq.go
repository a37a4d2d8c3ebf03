// Package dlq reads the dead-letter topic and puts requests back.
//
// A dead letter is a request that got no prediction, with the reason in its
// headers (package wire). A replay publishes it again, and in the same
// transaction a note behind the letter, in its partition: the topic is its own
// ledger. What a note says was replayed is not replayed again, so that a replay
// may be killed at any point and begun anew.
package dlq

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
)

// Position is where a record stands.
type Position struct {
	Topic     string
	Partition int32
	Offset    int64
}

// String is the form of an answer's ce_id: topic/partition/offset.
func (p Position) String() string { return fmt.Sprintf("%s/%d/%d", p.Topic, p.Partition, p.Offset) }

// ParsePosition reads topic/partition/offset.
func ParsePosition(text string) (Position, error) {
	parts := strings.Split(text, "/")
	if len(parts) != 3 || parts[0] == "" {
		return Position{}, fmt.Errorf("%q is not topic/partition/offset", text)
	}
	return position(parts[0], parts[1], parts[2])
}

func position(topic, partition, offset string) (Position, error) {
	p, err := strconv.ParseInt(partition, 10, 32)
	if err != nil || p < 0 {
		return Position{}, fmt.Errorf("%q is not a partition", partition)
	}
	o, err := strconv.ParseInt(offset, 10, 64)
	if err != nil || o < 0 {
		return Position{}, fmt.Errorf("%q is not an offset", offset)
	}
	return Position{topic, int32(p), o}, nil
}

// Letter is a dead letter. What its record does not tell is empty: one that the
// broker wrote (KIP-1191) has no code, model or time of the request.
type Letter struct {
	At       Position    // where the letter stands
	Time     time.Time   // its record's timestamp
	Request  Position    // of the request that was refused
	Asked    time.Time   // that request's timestamp
	Original string      // ce_id of the request as it was first asked, when the one refused was a replay
	Replayed string      // where its replay stands, when it was replayed
	Code     string      // why there is no prediction
	Message  string      // in words
	Group    string      // consumer group that refused it
	Tries    string      // deliveries
	Model    string      // that refused it, "" when none was reached
	Version  string      // likewise
	Wanted   string      // the request's header model
	Missing  string      // why the payload is not there, "" when it is
	Headers  Headers     // the request's own
	Record   *kgo.Record // the letter
}

// Headers are a request's own.
type Headers []kgo.RecordHeader

// key identifies the request that was refused. Its timestamp is part of it, for
// a topic that is made anew counts from 0 again.
type key struct {
	request Position
	asked   int64 // Unix milliseconds, 0 when not known
}

func keyOf(request Position, asked time.Time) key {
	if asked.IsZero() {
		return key{request, 0}
	}
	return key{request, asked.UnixMilli()}
}

func (l *Letter) key() key { return keyOf(l.Request, l.Asked) }

// original is the ce_id of the request as it was first asked.
func (l *Letter) original() string {
	if l.Original != "" {
		return l.Original
	}
	return l.Request.String()
}

// readLetter returns false for a record that is no dead letter. Headers of the
// same name as ours may have come from the request: ours are the last.
func readLetter(r *kgo.Record) (Letter, bool) {
	told := make(map[string]string, 12)
	for _, h := range r.Headers {
		if wire.Reserved(h.Key) {
			told[h.Key] = string(h.Value)
		}
	}
	request, err := position(told[wire.DeadTopic], told[wire.DeadPartition], told[wire.DeadOffset])
	if err != nil || request.Topic == "" {
		return Letter{}, false
	}
	l := Letter{
		At: Position{r.Topic, r.Partition, r.Offset}, Time: r.Timestamp, Request: request,
		Asked: parseTime(told[wire.DeadRequestTime]), Code: told[wire.DeadCode], Message: told[wire.DeadMessage],
		Group: told[wire.DeadGroup], Tries: told[wire.DeadDeliveries], Model: told[wire.DeadModel], Version: told[wire.DeadModelVersion],
		Missing: told[wire.DeadPayloadOmitted], Headers: wire.WithoutReserved(r.Headers), Record: r,
	}
	if l.Missing == "" && r.Value == nil && l.Code == "" {
		l.Missing = "the broker wrote the dead letter without its payload: set errors.deadletterqueue.copy.record.enable on the group"
	}
	original, _ := wire.Header(r, wire.OriginalID)
	wanted, _ := wire.Header(r, wire.Model)
	l.Original, l.Wanted = string(original), string(wanted)
	return l, true
}

func parseTime(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}
	}
	return t
}
