// Package otlptest is a collector for tests: it keeps the spans that are sent to
// it, over HTTP or gRPC.
package otlptest

import (
	"compress/gzip"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip" // so that it is understood
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// Span is one that came.
type Span struct {
	Name, TraceID, ID, ParentID string
	Kind                        string
	Links                       []string // ids of traces
	Attributes                  map[string]string
	Resource                    map[string]string
	Error                       string // of its status
	Start, End                  uint64 // Unix nanoseconds
}

// Collector keeps spans.
type Collector struct {
	collector.UnimplementedTraceServiceServer
	URL string

	mu      sync.Mutex
	spans   []Span
	headers http.Header // of the last export, or its metadata
}

// HTTP starts a collector at /v1/traces. It ends with the test.
func HTTP(t *testing.T) *Collector {
	t.Helper()
	c := &Collector{}
	srv := httptest.NewServer(c)
	t.Cleanup(srv.Close)
	c.URL = srv.URL
	return c
}

// GRPC starts a collector without TLS. It ends with the test.
func GRPC(t *testing.T) *Collector {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	c := &Collector{URL: "http://" + l.Addr().String()}
	srv := grpc.NewServer()
	collector.RegisterTraceServiceServer(srv, c)
	ended := make(chan struct{})
	go func() { defer close(ended); _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Stop(); <-ended })
	return c
}

// ServeHTTP implements [http.Handler].
func (c *Collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	req, err := read(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.keep(req, r.Header)
	body, _ := proto.Marshal(&collector.ExportTraceServiceResponse{})
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(body)
}

func read(r *http.Request) (*collector.ExportTraceServiceRequest, error) {
	if r.Method != http.MethodPost || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
		return nil, errors.New("no export of traces: " + r.Method + " " + r.URL.Path)
	}
	in := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		var err error
		if in, err = gzip.NewReader(r.Body); err != nil {
			return nil, err
		}
	}
	body, err := io.ReadAll(in)
	if err != nil {
		return nil, err
	}
	req := &collector.ExportTraceServiceRequest{}
	return req, proto.Unmarshal(body, req)
}

// Export implements OTLP's service.
func (c *Collector) Export(ctx context.Context, req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	header := http.Header{}
	for key, values := range md {
		header.Set(key, values[0])
	}
	c.keep(req, header)
	return &collector.ExportTraceServiceResponse{}, nil
}

func (c *Collector) keep(req *collector.ExportTraceServiceRequest, header http.Header) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.headers = header
	for _, from := range req.GetResourceSpans() {
		resource := texts(from.GetResource().GetAttributes())
		for _, scope := range from.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				span := Span{
					Name: s.GetName(), TraceID: hex.EncodeToString(s.GetTraceId()), ID: hex.EncodeToString(s.GetSpanId()),
					ParentID: hex.EncodeToString(s.GetParentSpanId()), Kind: s.GetKind().String(), Attributes: texts(s.GetAttributes()), Resource: resource,
					Start: s.GetStartTimeUnixNano(), End: s.GetEndTimeUnixNano(),
				}
				if s.GetStatus().GetCode() != 0 {
					span.Error = s.GetStatus().GetMessage()
				}
				for _, l := range s.GetLinks() {
					span.Links = append(span.Links, hex.EncodeToString(l.GetTraceId()))
				}
				c.spans = append(c.spans, span)
			}
		}
	}
}

// Spans are those that came so far.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.spans)
}

// Header is one of the last export's.
func (c *Collector) Header(key string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.headers.Get(key)
}

// Find is the first span of that name in a trace.
func (c *Collector) Find(traceID, name string) (Span, bool) {
	all := c.Spans()
	i := slices.IndexFunc(all, func(s Span) bool { return s.TraceID == traceID && s.Name == name })
	if i < 0 {
		return Span{}, false
	}
	return all[i], true
}
