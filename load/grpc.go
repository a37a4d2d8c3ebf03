package load

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/millrace/millrace/gateway/oip"
)

// GRPCConfig is a service of the Open Inference Protocol under load.
type GRPCConfig struct {
	URL         string            // grpc://host:port, or grpcs:// for TLS
	Model       string            // its name
	Version     string            // "" is the one that the name stands for
	Header      map[string]string // metadata of each request
	Connections int               // requests that may be under way
	Options     []grpc.DialOption // last, and so above others
}

// grpcTarget sends ModelInfer.
type grpcTarget struct {
	cfg   GRPCConfig
	conns []*grpc.ClientConn
	next  atomic.Uint32
	about *oip.ModelMetadataResponse
	head  metadata.MD
	made  sync.Map // of requests, by the first byte of the body that they were made of
}

// perConnection is how many requests share one connection: HTTP/2 runs that many over one
// well, and a busy one is done by one core.
const perConnection = 50

// NewGRPC connects, and asks what the model takes.
func NewGRPC(ctx context.Context, cfg GRPCConfig) (Target, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Host == "" || u.Scheme != "grpc" && u.Scheme != "grpcs" {
		return nil, fmt.Errorf("--url: %q is no grpc or grpcs address", cfg.URL)
	}
	if cfg.Model == "" {
		return nil, errors.New("--model-name: over gRPC the model's name is needed")
	}
	secure := insecure.NewCredentials()
	if u.Scheme == "grpcs" {
		secure = credentials.NewTLS(nil)
	}
	t := &grpcTarget{cfg: cfg, head: make(metadata.MD)}
	for name, value := range cfg.Header {
		t.head.Set(name, value)
	}
	opts := append([]grpc.DialOption{grpc.WithTransportCredentials(secure), grpc.WithDefaultCallOptions(grpc.ForceCodecV2(oip.NewCodec()))}, cfg.Options...)
	for range min(max(1, cfg.Connections/perConnection), 8) {
		conn, err := grpc.NewClient("passthrough:///"+u.Host, opts...)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("--url: %w", err), t.Close())
		}
		t.conns = append(t.conns, conn)
	}
	t.about = new(oip.ModelMetadataResponse)
	ask := &oip.ModelMetadataRequest{Name: cfg.Model, Version: cfg.Version}
	if err := t.conns[0].Invoke(metadata.NewOutgoingContext(ctx, t.head), oip.Method("ModelMetadata"), ask, t.about); err != nil {
		return nil, errors.Join(fmt.Errorf("what model %s takes: %w", cfg.Model, err), t.Close())
	}
	t.about.Name = cfg.Model
	return t, nil
}

// Close closes the connections.
func (t *grpcTarget) Close() error {
	var errs []error
	for _, c := range t.conns {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// Send sends one request. A body is turned into a message once.
func (t *grpcTarget) Send(ctx context.Context, body []byte) Outcome {
	wire, err := t.wire(body)
	if err != nil {
		return Outcome{Reason: "no request: " + err.Error()}
	}
	conn := t.conns[int(t.next.Add(1))%len(t.conns)]
	var head metadata.MD
	out := &oip.Message{Keep: true}
	err = conn.Invoke(metadata.NewOutgoingContext(ctx, t.head), oip.Method("ModelInfer"), &oip.Message{Wire: wire}, out, grpc.Header(&head))
	text := func(name string) string { return strings.Join(head.Get(name), ",") }
	o := Outcome{Model: text("x-model-name"), Version: text("x-model-version"), Replica: text("x-worker")}
	switch code := status.Code(err); code { //nolint:exhaustive // the others fail alike
	case codes.OK:
	case codes.DeadlineExceeded:
		o.Reason = "timeout"
	default:
		o.Reason = "gRPC " + code.String()
	}
	return o
}

func (t *grpcTarget) wire(body []byte) ([]byte, error) {
	if len(body) == 0 {
		return nil, errors.New("the body is empty")
	}
	if made, ok := t.made.Load(&body[0]); ok {
		wire, _ := made.([]byte)
		return wire, nil
	}
	m, err := oip.FromJSON(body, t.about)
	if err != nil {
		return nil, err
	}
	m.ModelVersion = t.cfg.Version
	wire, err := proto.Marshal(m)
	if err == nil {
		t.made.Store(&body[0], wire)
	}
	return wire, err
}
