// Package wire holds what a record looks like on the wire: the headers of a
// request and of its answer, the identity of an answer, and the answer itself
// on its way from the worker to the producer. It is the vocabulary that
// consumer, worker, producer and gateway share, beside [kgo.Record].
package wire

import (
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Headers of a request. The kafka_ ones are Spring Kafka's, ce_ ones
// CloudEvents' binary mode, the trace context W3C's.
const (
	ContentType    = "content-type"
	CorrelationID  = "kafka_correlationId"
	ReplyTopic     = "kafka_replyTopic"
	ReplyPartition = "kafka_replyPartition"
	ExpiryTime     = "ce_expirytime"
	Model          = "model"
	TraceParent    = "traceparent"
	TraceState     = "tracestate"
	// HeaderLength is, of a body of the Open Inference Protocol's binary tensor data
	// extension, how many of its bytes are JSON, in decimal. Answers have it too.
	HeaderLength = "inference-header-content-length"
	// Client is who asked a gateway that makes callers prove who they are. Who
	// produces to the topic can write what it likes there.
	Client = "millrace-client"
)

// Headers of an answer, beside those that are echoed.
const (
	ID           = "ce_id"
	Source       = "ce_source"
	Type         = "ce_type"
	SpecVersion  = "ce_specversion"
	ModelName    = "model-name"
	ModelVersion = "model-version"
	Status       = "status"
	// DeliveryCount is how often the broker of a share group has handed the
	// request out, this time included. Other answers do not have it.
	DeliveryCount = "millrace-delivery-count"
	// Worker is the host of the worker that answered.
	Worker = "millrace-worker"
)

// Headers of a shadow's result, beside those of an answer.
const (
	PrimaryName      = "primary-model-name" // of the version that answered
	PrimaryVersion   = "primary-model-version"
	Differs          = "differs"           // true or false: whether the two answers are different
	Distance         = "distance"          // largest relative difference of two numbers; absent when they cannot be compared
	AbsoluteDistance = "distance-absolute" // mean difference of the numbers; likewise
)

// The header ce_type of results.
const (
	ResultType = "millrace.inference.result"
	ShadowType = "millrace.inference.shadow"
)

// Header returns the value of the first header with that key.
func Header(r *kgo.Record, key string) (value []byte, ok bool) {
	for i := range r.Headers {
		if r.Headers[i].Key == key {
			return r.Headers[i].Value, true
		}
	}
	return nil, false
}

// AppendID appends the identity of the answer to a request: where the request
// stood, as "topic/partition/offset". It is the same however often the request
// is answered, so that a consumer can drop a repeated answer.
func AppendID(dst []byte, r *kgo.Record) []byte {
	dst = append(dst, r.Topic...)
	dst = append(dst, '/')
	dst = strconv.AppendInt(dst, int64(r.Partition), 10)
	dst = append(dst, '/')
	return strconv.AppendInt(dst, r.Offset, 10)
}

// Expiry reads a request's deadline. ok is false when it has none; err says
// that it has one that is not RFC 3339.
func Expiry(r *kgo.Record) (deadline time.Time, ok bool, err error) {
	v, ok := Header(r, ExpiryTime)
	if !ok {
		return time.Time{}, false, nil
	}
	deadline, err = time.Parse(time.RFC3339, string(v))
	return deadline, err == nil, err
}

// Answer is the one answer to a request, as the worker hands it to the
// producer.
type Answer struct {
	Request      *kgo.Record
	Status       string // "ok", or an error code
	ModelName    string // empty when no model was reached
	ModelVersion string
	Final        bool // no other try does better soon: the model is not there
	ContentType  string
	HeaderLength int // how many bytes of Value are JSON, where tensors follow it; 0: all
	Value        []byte
	Message      string // why there is no prediction: for the dead letter's headers
	TraceParent  string // of the span that made it; "" when it is the request's own
}

// OK says whether the answer is a prediction.
func (a *Answer) OK() bool { return a.Status == "ok" }
