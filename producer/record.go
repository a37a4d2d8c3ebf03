package producer

import (
	"context"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/metrics"
	"github.com/millrace/millrace/model"
)

// target is where an answer goes. partition is -1 when the key or the source
// decides.
type target struct {
	topic     string
	partition int32
	bad       *atomic.Bool // set when the topic has no such partition
}

type explicitKey struct{}

type explicit struct {
	partition int32
	bad       *atomic.Bool
}

// target reads where the request wants its answer. With an error it is the
// results topic.
func (p *Producer) target(a *wire.Answer) (target, *model.Error) {
	results := target{topic: p.deps.Topics.Results, partition: -1}
	topic, ok := wire.Header(a.Request, wire.ReplyTopic)
	if !ok {
		return results, nil
	}
	if !slices.Contains(p.cfg.ReplyTopics, string(topic)) {
		return results, model.Invalidf(wire.ReplyTopic, "replies to this topic are not allowed")
	}
	t := target{topic: string(topic), partition: -1}
	v, ok := wire.Header(a.Request, wire.ReplyPartition)
	if !ok {
		return t, nil
	}
	if t.partition, ok = parsePartition(v); !ok {
		return results, model.Invalidf(wire.ReplyPartition, "neither a big-endian int32 nor a decimal number")
	}
	t.bad = new(atomic.Bool)
	return t, nil
}

// parsePartition reads a partition as decimal text, or as the four bytes that
// Spring writes. Four digits are text: as bytes they would name a partition
// beyond 800 million.
func parsePartition(v []byte) (int32, bool) {
	if n, err := strconv.ParseInt(string(v), 10, 32); err == nil {
		return int32(n), n >= 0
	}
	if len(v) != 4 {
		return 0, false
	}
	n := int32(binary.BigEndian.Uint32(v)) //nolint:gosec // A negative one is refused.
	return n, n >= 0
}

// partitioner places replies where they ask to be, keyed records as Java's
// client does, and the others by their source, so that the results of one
// partition stay in order in one partition.
func partitioner() kgo.Partitioner {
	return kgo.BasicConsistentPartitioner(func(topic string) func(*kgo.Record, int) int {
		byKey := kgo.StickyKeyPartitioner(nil).ForTopic(topic)
		return func(r *kgo.Record, n int) int {
			if r.Context != nil {
				if e, ok := r.Context.Value(explicitKey{}).(explicit); ok {
					if int(e.partition) >= n {
						e.bad.Store(true)
					}
					return int(e.partition)
				}
			}
			if r.Key != nil {
				return byKey.Partition(r, n)
			}
			return int(r.Partition) % n
		}
	})
}

// record is the answer as a record for one topic.
func (pub *publication) record(t target) *kgo.Record {
	a, req := pub.answer, pub.answer.Request
	m := &pub.first
	if pub.begun {
		m = new(outgoing)
	}
	pub.begun = true
	h := append(m.headers[:0], pub.headersOf(a)...)
	for _, key := range echoed() {
		v, ok := wire.Header(req, key)
		if a.TraceParent != "" && key == wire.TraceParent {
			v, ok = []byte(a.TraceParent), true
		}
		if ok {
			h = append(h, kgo.RecordHeader{Key: key, Value: v})
		}
	}
	if n := req.DeliveryCount(); n > 0 { // a share group's broker counts
		h = append(h, kgo.RecordHeader{Key: wire.DeliveryCount, Value: strconv.AppendInt(nil, int64(n), 10)})
	}
	if a.HeaderLength > 0 {
		h = append(h, kgo.RecordHeader{Key: wire.HeaderLength, Value: strconv.AppendInt(nil, int64(a.HeaderLength), 10)})
	}
	h = append(h, kgo.RecordHeader{Key: wire.ID, Value: wire.AppendID(m.id[:0], req)})
	m.record = kgo.Record{Topic: t.topic, Partition: req.Partition, Key: req.Key, Value: a.Value, Headers: h}
	if t.bad != nil {
		m.record.Context = pub.placed(t) //nolint:fatcontext // a fresh record: nothing nests
	}
	return &m.record
}

// placed tells the partitioner where a reply goes.
func (pub *publication) placed(t target) context.Context {
	return context.WithValue(context.WithoutCancel(pub.ctx), explicitKey{}, explicit{t.partition, t.bad})
}

// outgoing is a record and what belongs to it alone, as one piece of memory.
type outgoing struct {
	record  kgo.Record
	headers [14]kgo.RecordHeader
	id      [48]byte
}

// shared are the headers that answers of one kind have in common.
type shared struct {
	contentType, name, version, status string
	headers                            []kgo.RecordHeader // never changed
}

func (p *Producer) headersOf(a *wire.Answer) []kgo.RecordHeader {
	s := p.shared.Load()
	if s != nil && s.status == a.Status && s.version == a.ModelVersion && s.name == a.ModelName && s.contentType == a.ContentType {
		return s.headers
	}
	s = &shared{contentType: a.ContentType, name: a.ModelName, version: a.ModelVersion, status: a.Status}
	for _, h := range [][2]string{
		{wire.ContentType, a.ContentType},
		{wire.Source, "millrace"},
		{wire.Type, wire.ResultType},
		{wire.SpecVersion, "1.0"},
		{wire.ModelName, a.ModelName},
		{wire.ModelVersion, a.ModelVersion},
		{wire.Status, a.Status},
	} {
		s.headers = append(s.headers, kgo.RecordHeader{Key: h[0], Value: []byte(h[1])})
	}
	if p.deps.Worker != "" {
		s.headers = append(s.headers, kgo.RecordHeader{Key: wire.Worker, Value: []byte(p.deps.Worker)})
	}
	p.shared.Store(s)
	return s.headers
}

// echoed lists the headers that an answer takes from its request.
func echoed() []string {
	return []string{wire.CorrelationID, wire.TraceParent, wire.TraceState, wire.OriginalID}
}

// deadLetter is the request, with the reason why it has no prediction.
func (pub *publication) deadLetter() *kgo.Record {
	a, req := pub.answer, pub.answer.Request
	h := slices.Grow(wire.WithoutReserved(req.Headers), 12)
	add := func(key, value string) {
		if value != "" {
			h = append(h, kgo.RecordHeader{Key: key, Value: []byte(value)})
		}
	}
	add(wire.DeadTopic, req.Topic)
	add(wire.DeadPartition, strconv.Itoa(int(req.Partition)))
	add(wire.DeadOffset, strconv.FormatInt(req.Offset, 10))
	add(wire.DeadGroup, pub.deps.Group)
	add(wire.DeadDeliveries, strconv.Itoa(wire.DeliveryOf(req).Attempts))
	add(wire.DeadMessage, short(a.Message))
	add(wire.DeadCode, a.Status)
	add(wire.DeadModel, a.ModelName)
	add(wire.DeadModelVersion, a.ModelVersion)
	add(wire.DeadTime, time.Now().UTC().Format(time.RFC3339Nano))
	if !req.Timestamp.IsZero() {
		add(wire.DeadRequestTime, wire.FormatTime(req.Timestamp))
	}
	return &kgo.Record{Topic: pub.deps.Topics.DeadLetters, Partition: req.Partition, Key: req.Key, Value: req.Value, Headers: h}
}

// maxMessage bounds what a header says of the reason: it may quote the request.
const maxMessage = 1024

func short(s string) string {
	if len(s) <= maxMessage {
		return s
	}
	return strings.ToValidUTF8(s[:maxMessage], "") + "…"
}

// lighten takes off a record that is too large what came from its request, the
// least missed first: a dead letter's payload, the headers, the key, and at last
// most of what it says itself. It returns false when nothing was left to take.
func lighten(kind string, r *kgo.Record) bool {
	if kind == metrics.KindDeadLetter && r.Value != nil {
		r.Value = nil
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: wire.DeadPayloadOmitted, Value: []byte("the request is too large for the dead-letter topic")})
		return true
	}
	before := len(r.Headers)
	r.Headers = slices.DeleteFunc(slices.Clone(r.Headers), func(h kgo.RecordHeader) bool {
		if kind == metrics.KindDeadLetter {
			return !wire.Reserved(h.Key)
		}
		return slices.Contains(echoed(), h.Key)
	})
	if len(r.Headers) < before {
		return true
	}
	if r.Key != nil {
		r.Key = nil
		return true
	}
	return kind == metrics.KindDeadLetter && shorten(r)
}

// shorten leaves a dead letter only where its request is, and why it is dead.
func shorten(r *kgo.Record) bool {
	before := len(r.Headers)
	r.Headers = slices.DeleteFunc(r.Headers, func(h kgo.RecordHeader) bool {
		return !slices.Contains([]string{wire.DeadTopic, wire.DeadPartition, wire.DeadOffset, wire.DeadCode, wire.DeadPayloadOmitted}, h.Key)
	})
	return len(r.Headers) < before
}
