package oip

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // the codec that Codec falls back to
	"google.golang.org/grpc/mem"
)

// Service is the protocol's name of the service.
const Service = "inference.GRPCInferenceService"

// Server is what serves the protocol.
type Server interface {
	ServerLive(context.Context, *ServerLiveRequest) (*ServerLiveResponse, error)
	ServerReady(context.Context, *ServerReadyRequest) (*ServerReadyResponse, error)
	ModelReady(context.Context, *ModelReadyRequest) (*ModelReadyResponse, error)
	ServerMetadata(context.Context, *ServerMetadataRequest) (*ServerMetadataResponse, error)
	ModelMetadata(context.Context, *ModelMetadataRequest) (*ModelMetadataResponse, error)
	ModelInfer(context.Context, *Message) (*Message, error)
}

// Message is a ModelInferRequest or a ModelInferResponse on the wire. A request is parsed
// as it comes in, so that its tensors are copied once; Err says why it is none.
type Message struct {
	Wire      []byte // of a response, or of a request that is sent
	Keep      bool   // what comes in goes to Wire as it is: for clients
	Inference *Inference
	Err       error
}

// Register adds the service to a server whose codec is [Codec].
func Register(s *grpc.Server, impl Server) {
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: Service, HandlerType: (*Server)(nil), Metadata: File_inference_proto.Path(),
		Methods: []grpc.MethodDesc{
			method("ServerLive", Server.ServerLive), method("ServerReady", Server.ServerReady), method("ModelReady", Server.ModelReady),
			method("ServerMetadata", Server.ServerMetadata), method("ModelMetadata", Server.ModelMetadata), method("ModelInfer", Server.ModelInfer),
		},
	}, impl)
}

func method[In, Out any](name string, call func(Server, context.Context, *In) (*Out, error)) grpc.MethodDesc {
	return grpc.MethodDesc{MethodName: name, Handler: func(srv any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
		in := new(In)
		if err := decode(in); err != nil {
			return nil, err
		}
		impl, _ := srv.(Server)
		if intercept == nil {
			return call(impl, ctx, in)
		}
		return intercept(ctx, in, &grpc.UnaryServerInfo{Server: srv, FullMethod: Method(name)}, func(ctx context.Context, req any) (any, error) {
			in, _ := req.(*In)
			return call(impl, ctx, in)
		})
	}}
}

// Method is the full name of one of the service's methods.
func Method(name string) string { return "/" + Service + "/" + name }

// Codec passes a [Message] on as it is on the wire, and the others through protobuf.
type Codec struct{ proto encoding.CodecV2 }

// NewCodec returns the codec of servers and clients.
func NewCodec() Codec { return Codec{encoding.GetCodecV2("proto")} }

// Name implements [encoding.CodecV2].
func (Codec) Name() string { return "proto" }

// Marshal implements [encoding.CodecV2].
func (c Codec) Marshal(v any) (mem.BufferSlice, error) {
	if m, ok := v.(*Message); ok {
		return mem.BufferSlice{mem.SliceBuffer(m.Wire)}, nil
	}
	return c.proto.Marshal(v)
}

// Unmarshal implements [encoding.CodecV2].
func (c Codec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(*Message)
	if !ok {
		return c.proto.Unmarshal(data, v)
	}
	if m.Keep {
		m.Wire = data.Materialize()
		return nil
	}
	whole := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer whole.Free()
	m.Inference, m.Err = ParseRequest(whole.ReadOnlyData())
	return nil
}
