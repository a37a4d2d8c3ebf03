package gateway_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/millrace/millrace/gateway"
	"github.com/millrace/millrace/gateway/oip"
	"github.com/millrace/millrace/internal/wire"
)

func rpcConfig() gateway.Config {
	cfg := config()
	cfg.GRPCAddr = "127.0.0.1:8081"
	return cfg
}

// dial connects to the gateway's gRPC side by protobuf's own codec.
func (r *running) dial(opts ...grpc.DialOption) *grpc.ClientConn {
	if opts == nil {
		opts = []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
	}
	conn, err := grpc.NewClient("passthrough:///127.0.0.1:8081", append(opts,
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return r.w.net.DialContext(ctx, "tcp", addr) }))...)
	require.NoError(r.w.t, err)
	r.w.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func invoke[Out any, P interface {
	*Out
	proto.Message
}](ctx context.Context, conn *grpc.ClientConn, name string, in proto.Message, opts ...grpc.CallOption) (P, error) {
	out := P(new(Out))
	err := conn.Invoke(ctx, oip.Method(name), in, out, opts...)
	return out, err
}

func infer(ctx context.Context, conn *grpc.ClientConn, in *oip.ModelInferRequest, opts ...grpc.CallOption) (*oip.ModelInferResponse, error) {
	return invoke[oip.ModelInferResponse](ctx, conn, "ModelInfer", in, opts...)
}

func one(model string) *oip.ModelInferRequest {
	return &oip.ModelInferRequest{
		ModelName: model, Id: "7", Inputs: []*oip.ModelInferRequest_InferInputTensor{{Name: "X", Datatype: "UINT8", Shape: []int64{1, 2}}},
		RawInputContents: [][]byte{[]byte("ab")},
	}
}

func TestGRPCDescribes(t *testing.T) {
	inWorld(t, func(w *world) {
		cfg := rpcConfig()
		cfg.CardTopic = cards
		r := w.ready(cfg)
		conn, ctx := r.dial(), w.t.Context()
		live, err := invoke[oip.ServerLiveResponse](ctx, conn, "ServerLive", &oip.ServerLiveRequest{})
		require.NoError(w.t, err)
		require.True(w.t, live.GetLive())
		ready, err := invoke[oip.ServerReadyResponse](ctx, conn, "ServerReady", &oip.ServerReadyRequest{})
		require.NoError(w.t, err)
		require.True(w.t, ready.GetReady())
		server, err := invoke[oip.ServerMetadataResponse](ctx, conn, "ServerMetadata", &oip.ServerMetadataRequest{})
		require.NoError(w.t, err)
		require.Equal(w.t, []any{"millrace", "1.2", []string{"binary_tensor_data"}}, []any{server.GetName(), server.GetVersion(), server.GetExtensions()})

		w.tell(card("m", "2"), card("m", "10"))
		about, err := invoke[oip.ModelMetadataResponse](ctx, conn, "ModelMetadata", &oip.ModelMetadataRequest{Name: "m", Version: "2"})
		require.NoError(w.t, err)
		require.True(w.t, proto.Equal(&oip.ModelMetadataResponse{
			Name: "m", Versions: []string{"10", "2"}, Platform: "onnx_onnxv1",
			Inputs:  []*oip.ModelMetadataResponse_TensorMetadata{{Name: "X", Datatype: "FP32", Shape: []int64{-1, 2}}},
			Outputs: []*oip.ModelMetadataResponse_TensorMetadata{{Name: "Y", Datatype: "INT64", Shape: []int64{-1}}},
		}, about), "%v", about)
		_, err = invoke[oip.ModelMetadataResponse](ctx, conn, "ModelMetadata", &oip.ModelMetadataRequest{Name: "m", Version: "3"})
		require.Equal(w.t, codes.NotFound, status.Code(err))
		for name, want := range map[string]bool{"m": true, "n": false} {
			got, err := invoke[oip.ModelReadyResponse](ctx, conn, "ModelReady", &oip.ModelReadyRequest{Name: name})
			require.NoError(w.t, err)
			require.Equal(w.t, want, got.GetReady())
		}

		check := grpc_health_v1.NewHealthClient(conn)
		for service, want := range map[string]codes.Code{"": codes.OK, oip.Service: codes.OK, "other": codes.NotFound} {
			got, err := check.Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: service})
			require.Equal(w.t, want, status.Code(err))
			if err == nil {
				require.Equal(w.t, grpc_health_v1.HealthCheckResponse_SERVING, got.GetStatus())
			}
		}
		bounded, cancel := context.WithCancel(ctx)
		defer cancel()
		seen, err := grpc_reflection_v1.NewServerReflectionClient(conn).ServerReflectionInfo(bounded)
		require.NoError(w.t, err)
		require.NoError(w.t, seen.Send(&grpc_reflection_v1.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: oip.Service}}))
		file, err := seen.Recv()
		require.NoError(w.t, err)
		require.Len(w.t, file.GetFileDescriptorResponse().GetFileDescriptorProto(), 1)
		require.NoError(w.t, seen.CloseSend())
	}, requests, replies, kept, cards)
}

func TestGRPCInfers(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.ready(rpcConfig())
		last := w.infers(outcome{"ok", `{"model_name":"m","model_version":"7","id":"7","outputs":[{"name":"Y","shape":[2],"datatype":"INT8","data":[1,-1]}]}`})
		conn := r.dial()
		ctx := metadata.AppendToOutgoingContext(w.t.Context(), "x-key", "k", "traceparent", "00-1", "x-request-timeout", "9")
		in := one("m")
		in.ModelVersion = "7"
		var head metadata.MD
		got, err := infer(ctx, conn, in, grpc.Header(&head))
		require.NoError(w.t, err)
		require.Equal(w.t, []any{"m", "7", "7", []byte{1, 0xff}}, []any{got.GetModelName(), got.GetModelVersion(), got.GetId(), got.GetRawOutputContents()[0]})
		require.Equal(w.t, []string{"m", "7"}, append(head.Get("x-model-name"), head.Get("x-model-version")...))
		require.Len(w.t, head.Get("x-request-id")[0], 32)

		sent := last.Load()
		n, err := strconv.Atoi(sent.headers[wire.HeaderLength])
		require.NoError(w.t, err)
		require.JSONEq(w.t, `{"id": "7", "inputs": [{"name": "X", "shape": [1, 2], "datatype": "UINT8", "parameters": {"binary_data_size": 2}}], "parameters": {"binary_data_output": true}}`, string(sent.body[:n]))
		require.Equal(w.t, "ab", string(sent.body[n:]))
		require.Equal(w.t, []string{"m/7", "application/octet-stream", "00-1"}, []string{sent.headers["model"], sent.headers["content-type"], sent.headers["traceparent"]})
		require.InDelta(w.t, 9, sent.expiry.Seconds(), 0.05)

		in = one("")
		in.Parameters = map[string]*oip.InferParameter{"timeout": {ParameterChoice: &oip.InferParameter_Int64Param{Int64Param: 2_000_000}}}
		_, err = infer(ctx, conn, in)
		require.NoError(w.t, err)
		require.InDelta(w.t, 2, last.Load().expiry.Seconds(), 0.05)
		require.NotContains(w.t, last.Load().headers, "model", "the default")
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err = infer(short, conn, in)
		require.NoError(w.t, err)
		require.InDelta(w.t, 1, last.Load().expiry.Seconds(), 0.05)
		require.InDelta(w.t, 3, counted(w.t, r, "millrace_gateway_requests_total", "code", "200"), 0)
	})
}

// counted reads a series of the gateway.
func counted(t *testing.T, r *running, name, label, value string) float64 {
	t.Helper()
	families, err := r.reg.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == label && l.GetValue() == value {
					return m.GetCounter().GetValue()
				}
			}
		}
	}
	return 0
}

func TestGRPCErrors(t *testing.T) {
	inWorld(t, func(w *world) {
		cfg := rpcConfig()
		cfg.MaxBodyBytes, cfg.Timeout = 1000, time.Second
		r := w.ready(cfg)
		conn, ctx := r.dial(), w.t.Context()
		refused := func(err error, code codes.Code, want string) {
			w.t.Helper()
			require.Equal(w.t, code, status.Code(err), "%v", err)
			require.Contains(w.t, status.Convert(err).Message(), want)
		}
		large := one("m")
		large.RawInputContents[0] = make([]byte, 2000)
		_, err := infer(ctx, conn, large)
		refused(err, codes.ResourceExhausted, "larger than max")
		wrong := one("m")
		wrong.RawInputContents = append(wrong.RawInputContents, nil)
		_, err = infer(ctx, conn, wrong)
		refused(err, codes.InvalidArgument, "INVALID_INPUT: 2 raw_input_contents for 1 inputs")
		_, err = infer(metadata.AppendToOutgoingContext(ctx, "x-request-timeout", "x"), conn, one("m"))
		refused(err, codes.InvalidArgument, "x-request-timeout")
		_, err = infer(ctx, conn, one("m"))
		refused(err, codes.DeadlineExceeded, "DEADLINE_EXCEEDED: no answer came before")
		answers := map[string]outcome{
			"a": {"MODEL_NOT_FOUND", `{"error_code":"MODEL_NOT_FOUND","message":"no \"m\"","retryable":false}`},
			"b": {"INVALID_INPUT", `{"error":"INVALID_INPUT: X: bad"}`},
			"c": {"MODEL_FAILED", `no JSON`},
			"d": {"ok", `no JSON`},
			"e": {"UNAVAILABLE", `{"error":"UNAVAILABLE: not yet"}`},
			"f": {"TOO_LARGE", `{"error":"TOO_LARGE: X"}`},
		}
		w.worker(func(rec *kgo.Record) outcome {
			name, _ := wire.Header(rec, wire.Model)
			return answers[string(name)]
		})
		for name, want := range map[string]struct {
			code codes.Code
			text string
		}{
			"a": {codes.NotFound, `MODEL_NOT_FOUND: no "m"`}, "b": {codes.InvalidArgument, "INVALID_INPUT: X: bad"}, "c": {codes.Internal, "MODEL_FAILED"},
			"d": {codes.Internal, "the answer is not V2's JSON"}, "e": {codes.Unavailable, "not yet"}, "f": {codes.ResourceExhausted, "TOO_LARGE"},
		} {
			_, err = infer(ctx, conn, one(name))
			refused(err, want.code, want.text)
		}
		for _, code := range []string{"404", "413"} {
			require.InDelta(w.t, 1, counted(w.t, r, "millrace_gateway_requests_total", "code", code), 0)
		}
	})
}

func TestGRPCIsAdmittedAsHTTPIs(t *testing.T) {
	inWorld(t, func(w *world) {
		cfg := rpcConfig()
		cfg.Auth.TokensFile = filepath.Join(t.TempDir(), "tokens")
		require.NoError(w.t, os.WriteFile(cfg.Auth.TokensFile, []byte("alice 0123456789abcdef\n"), 0o600))
		cfg.Admission.RateLimit, cfg.Admission.RateBurst = 1, 2
		cfg.Admission.MaxWaiting = 1
		r := w.ready(cfg)
		conn := r.dial()
		_, err := infer(w.t.Context(), conn, one("m"))
		require.Equal(w.t, codes.Unauthenticated, status.Code(err))
		ctx := metadata.AppendToOutgoingContext(w.t.Context(), "authorization", "Bearer 0123456789abcdef")
		live, err := invoke[oip.ServerLiveResponse](w.t.Context(), conn, "ServerLive", &oip.ServerLiveRequest{})
		require.NoError(w.t, err, "probes are open")
		require.True(w.t, live.GetLive())
		_, err = invoke[oip.ModelReadyResponse](w.t.Context(), conn, "ModelReady", &oip.ModelReadyRequest{Name: "m"})
		require.Equal(w.t, codes.Unauthenticated, status.Code(err))

		var caller string
		release := make(chan struct{})
		let := sync.OnceFunc(func() { close(release) })
		defer let()
		w.worker(func(rec *kgo.Record) outcome {
			v, _ := wire.Header(rec, wire.Client)
			caller = string(v)
			<-release
			return outcome{"ok", `{"outputs":[]}`}
		})
		first := make(chan error, 1)
		go func() { _, err := infer(ctx, conn, one("m")); first <- err }()
		time.Sleep(100 * time.Millisecond)
		_, err = infer(ctx, conn, one("m"))
		require.Equal(w.t, codes.Unavailable, status.Code(err), "as many wait as may")
		var trailer metadata.MD
		_, err = infer(ctx, conn, one("m"), grpc.Trailer(&trailer))
		require.Equal(w.t, codes.ResourceExhausted, status.Code(err), "the rate")
		require.Equal(w.t, []string{"1"}, trailer.Get("retry-after"))
		let()
		require.NoError(w.t, <-first)
		require.Equal(w.t, "alice", caller)
	})
}
