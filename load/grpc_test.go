package load_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/millrace/millrace/gateway/oip"
	"github.com/millrace/millrace/load"
)

// inferences is a service that answers every fourth request with an error.
type inferences struct {
	oip.Server
	seen chan *oip.Inference
}

func (inferences) ModelMetadata(_ context.Context, in *oip.ModelMetadataRequest) (*oip.ModelMetadataResponse, error) {
	if in.GetName() != "m" {
		return nil, status.Error(codes.NotFound, "no such model")
	}
	return &oip.ModelMetadataResponse{Name: "other", Inputs: []*oip.ModelMetadataResponse_TensorMetadata{{Name: "X", Datatype: "UINT8", Shape: []int64{-1}}}}, nil
}

func (s inferences) ModelInfer(ctx context.Context, in *oip.Message) (*oip.Message, error) {
	select {
	case s.seen <- in.Inference:
	default:
	}
	switch in.Inference.Body[in.Inference.Head] {
	case 1:
		return nil, status.Error(codes.InvalidArgument, "one")
	case 2:
		<-ctx.Done()
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	_ = grpc.SetHeader(ctx, metadata.Pairs("x-model-name", "m", "x-model-version", "3", "x-worker", "w"))
	out, err := oip.Response([]byte(`{"model_name":"m","outputs":[]}`), 0)
	return &oip.Message{Wire: out}, err
}

func TestLoadOverGRPC(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	srv := grpc.NewServer(grpc.ForceServerCodecV2(oip.NewCodec()))
	seen := make(chan *oip.Inference, 1)
	oip.Register(srv, inferences{seen: seen})
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	defer func() { srv.Stop(); require.NoError(t, <-served) }()
	url := "grpc://" + l.Addr().String()

	target, err := load.NewGRPC(t.Context(), load.GRPCConfig{URL: url, Model: "m", Version: "3", Connections: 120})
	require.NoError(t, err)
	defer func() { require.NoError(t, target.Close()) }()
	ok := []byte(`{"inputs": [5, 6]}`)
	for range 3 {
		require.Equal(t, load.Outcome{Model: "m", Version: "3", Replica: "w"}, target.Send(t.Context(), ok))
	}
	in := <-seen
	require.Equal(t, []string{"m", "3", "\x05\x06"}, []string{in.Model, in.Version, string(in.Body[in.Head:])})
	require.Equal(t, "gRPC InvalidArgument", target.Send(t.Context(), []byte(`{"inputs": [1]}`)).Reason)
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.Equal(t, "timeout", target.Send(short, []byte(`{"inputs": [2]}`)).Reason)
	require.Contains(t, target.Send(t.Context(), []byte(`{"x": 1}`)).Reason, "no request: none of V2's inputs")
	require.Contains(t, target.Send(t.Context(), nil).Reason, "empty")

	for _, c := range []struct{ url, model, want string }{
		{"http://x", "m", "is no grpc or grpcs address"}, {"grpc://", "m", "is no grpc"}, {url, "", "--model-name"}, {url, "n", "no such model"},
	} {
		_, err := load.NewGRPC(t.Context(), load.GRPCConfig{URL: c.url, Model: c.model})
		require.ErrorContains(t, err, c.want)
	}
}
