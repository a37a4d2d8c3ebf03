// Package tracing names every span that Millrace records, and nothing else does.
// It knows OpenTelemetry's API alone: where spans go is [tracing/otlp]'s, which
// only cmd imports. What it gives to a pool and to a gateway may be nil: then
// nothing is followed, at the price of looking.
//
// Names and attributes are those of OpenTelemetry's semantic conventions for
// HTTP, for RPC and for messaging, millrace.* where they have none. Trace context is
// W3C's (https://www.w3.org/TR/trace-context/).
package tracing

import (
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/millrace/millrace/internal/wire"
)

// Scope is the name of the instrumentation.
const Scope = "github.com/millrace/millrace"

// Attributes that the conventions have no name for.
const (
	keyModel   = attribute.Key("millrace.model.name")
	keyVersion = attribute.Key("millrace.model.version")
	keyStatus  = attribute.Key("millrace.status") // ok, or an error code
	keyRequest = attribute.Key("millrace.request.id")
	keyRecords = attribute.Key("millrace.batch.records")
	keyRows    = attribute.Key("millrace.batch.rows")
	keyBack    = attribute.Key("millrace.given_back") // why a record has to be consumed again
)

// Attributes of the conventions.
const (
	keyError     = attribute.Key("error.type")
	keyMethod    = attribute.Key("http.request.method")
	keyPath      = attribute.Key("url.path")
	keyScheme    = attribute.Key("url.scheme")
	keyRoute     = attribute.Key("http.route")
	keyHTTP      = attribute.Key("http.response.status_code")
	keyRPC       = attribute.Key("rpc.system")
	keyService   = attribute.Key("rpc.service")
	keyCall      = attribute.Key("rpc.method")
	keyRPCStatus = attribute.Key("rpc.grpc.status_code")
	keySystem    = attribute.Key("messaging.system")
	keyOperation = attribute.Key("messaging.operation.name")
	keyKind      = attribute.Key("messaging.operation.type")
	keyTopic     = attribute.Key("messaging.destination.name")
	keyPartition = attribute.Key("messaging.destination.partition.id")
	keyOffset    = attribute.Key("messaging.kafka.offset")
)

// carrier reads and writes a record's trace context.
type carrier struct{ *kgo.Record }

var _ propagation.TextMapCarrier = carrier{}

func (c carrier) Get(key string) string {
	v, _ := wire.Header(c.Record, key)
	return string(v)
}

func (c carrier) Set(key, value string) {
	c.Headers = append(c.Headers, kgo.RecordHeader{Key: key, Value: []byte(value)})
}

func (c carrier) Keys() []string { return []string{wire.TraceParent, wire.TraceState} }

// parent is a span's context as the header traceparent has it.
func parent(sc trace.SpanContext) string {
	return "00-" + sc.TraceID().String() + "-" + sc.SpanID().String() + "-" + sc.TraceFlags().String()
}
