package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/encoding/gzip" // requests may come compressed
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"

	"github.com/millrace/millrace/card"
	"github.com/millrace/millrace/gateway/oip"
	"github.com/millrace/millrace/model"
)

// idleAfter is when a connection without a request is closed, as HTTP's are.
const idleAfter = 2 * time.Minute

// spareStreams is how many more requests of one connection than may wait are heard, so
// that they are refused at once and not held back by the client.
const spareStreams = 100

// serveGRPC runs the gRPC server, beside the HTTP server and in its way: it ends with ctx,
// with the time of the drain for requests that wait.
func (g *Gateway) serveGRPC(ctx context.Context) error {
	if g.deps.GRPC == nil {
		return nil
	}
	secure := insecure.NewCredentials()
	if g.secure != nil {
		secure = credentials.NewTLS(g.secure)
	}
	most := int(g.cfg.MaxBodyBytes)
	srv := grpc.NewServer(
		grpc.Creds(secure), grpc.ForceServerCodecV2(oip.NewCodec()),
		grpc.MaxRecvMsgSize(most), grpc.MaxHeaderListSize(64<<10),
		grpc.MaxConcurrentStreams(uint32(min(g.cfg.Admission.MaxWaiting, 1<<20)+spareStreams)), //nolint:gosec // bounded
		grpc.ConnectionTimeout(min(g.cfg.ReadTimeout, 5*time.Second)),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: idleAfter}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
	)
	s := &rpc{g}
	oip.Register(srv, s)
	grpc_health_v1.RegisterHealthServer(srv, &health{g: g})
	reflection.Register(srv)

	served := make(chan error, 1)
	go func() { served <- srv.Serve(g.deps.GRPC) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve gRPC: %w", err)
	case <-ctx.Done():
	}
	kill := time.AfterFunc(g.cfg.DrainTimeout+time.Second, srv.Stop)
	defer kill.Stop()
	srv.GracefulStop()
	// It was stopped before it had begun, when the error is that.
	if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serve gRPC: %w", err)
	}
	return nil
}

// rpc is the gateway as the protocol's service.
type rpc struct{ *Gateway }

// ServerLive implements [oip.Server].
func (g *rpc) ServerLive(context.Context, *oip.ServerLiveRequest) (*oip.ServerLiveResponse, error) {
	return &oip.ServerLiveResponse{Live: g.live() == nil}, nil
}

// ServerReady implements [oip.Server].
func (g *rpc) ServerReady(context.Context, *oip.ServerReadyRequest) (*oip.ServerReadyResponse, error) {
	return &oip.ServerReadyResponse{Ready: g.ready() == nil}, nil
}

// ServerMetadata implements [oip.Server].
func (g *rpc) ServerMetadata(context.Context, *oip.ServerMetadataRequest) (*oip.ServerMetadataResponse, error) {
	m := g.serverMetadata()
	return &oip.ServerMetadataResponse{Name: m.Name, Version: m.Version, Extensions: m.Extensions}, nil
}

// ModelReady implements [oip.Server]. A model that no worker tells of is not ready.
func (g *rpc) ModelReady(ctx context.Context, in *oip.ModelReadyRequest) (*oip.ModelReadyResponse, error) {
	if _, no := g.caller(ctx); no != nil {
		return nil, g.turnDown(ctx, no)
	}
	_, _, err := g.cardOf(in.GetName(), in.GetVersion())
	if err != nil && err.Code != model.NotFound {
		return nil, statusOf(err)
	}
	return &oip.ModelReadyResponse{Ready: err == nil}, nil
}

// ModelMetadata implements [oip.Server].
func (g *rpc) ModelMetadata(ctx context.Context, in *oip.ModelMetadataRequest) (*oip.ModelMetadataResponse, error) {
	if _, no := g.caller(ctx); no != nil {
		return nil, g.turnDown(ctx, no)
	}
	c, versions, err := g.cardOf(in.GetName(), in.GetVersion())
	if err != nil {
		return nil, statusOf(err)
	}
	return &oip.ModelMetadataResponse{
		Name: c.Name, Versions: versions, Platform: c.Platform, Inputs: tensorsOf(c.Inputs), Outputs: tensorsOf(c.Outputs),
	}, nil
}

func tensorsOf(list []card.Tensor) []*oip.ModelMetadataResponse_TensorMetadata {
	out := make([]*oip.ModelMetadataResponse_TensorMetadata, len(list))
	for i, t := range list {
		out[i] = &oip.ModelMetadataResponse_TensorMetadata{Name: t.Name, Datatype: t.Datatype, Shape: t.Shape}
	}
	return out
}

// rpcError is how a call failed: gRPC's status, and the one that HTTP would have had.
type rpcError struct {
	grpc *status.Status
	http int
	code model.Code // "" for none
}

func (e *rpcError) Error() string { return e.grpc.Message() }

// GRPCStatus is what the gRPC server sends.
func (e *rpcError) GRPCStatus() *status.Status { return e.grpc }

// statusOf is how an error is told over gRPC.
func statusOf(err *model.Error) *rpcError {
	return &rpcError{status.New(codeOf(err.Code), err.Error()), httpStatus(err.Code), err.Code}
}

func codeOf(code model.Code) codes.Code {
	switch code { //nolint:exhaustive // the others are the server's
	case model.InvalidInput, model.UnsupportedMediaType:
		return codes.InvalidArgument
	case model.NotFound:
		return codes.NotFound
	case model.DeadlineExceeded:
		return codes.DeadlineExceeded
	case model.TooLarge:
		return codes.ResourceExhausted // as gRPC has it for a message that is too large
	case model.Overloaded, model.Unavailable:
		return codes.Unavailable
	case unauthenticated:
		return codes.Unauthenticated
	}
	return codes.Internal
}

// health answers the probes of grpc.health.v1: all services are as ready as the gateway.
type health struct {
	grpc_health_v1.UnimplementedHealthServer

	g *Gateway
}

func (h *health) status() grpc_health_v1.HealthCheckResponse_ServingStatus {
	if h.g.ready() == nil {
		return grpc_health_v1.HealthCheckResponse_SERVING
	}
	return grpc_health_v1.HealthCheckResponse_NOT_SERVING
}

// Check implements the health service.
func (h *health) Check(_ context.Context, in *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	if s := in.GetService(); s != "" && s != oip.Service {
		return nil, status.Error(codes.NotFound, "there is no such service")
	}
	return &grpc_health_v1.HealthCheckResponse{Status: h.status()}, nil
}

// Watch implements the health service: it looks once a second. It ends when the gateway
// stops, so that it does not hold up the end.
func (h *health) Watch(in *grpc_health_v1.HealthCheckRequest, out grpc.ServerStreamingServer[grpc_health_v1.HealthCheckResponse]) error {
	turn := time.NewTicker(time.Second)
	defer turn.Stop()
	told := grpc_health_v1.HealthCheckResponse_UNKNOWN
	for {
		leaving := h.g.leaving.Err() != nil
		now := h.status()
		if s := in.GetService(); s != "" && s != oip.Service {
			now = grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN
		}
		if now != told {
			if err := out.Send(&grpc_health_v1.HealthCheckResponse{Status: now}); err != nil {
				return err
			}
			told = now
		}
		if leaving { // which was told
			return status.Error(codes.Unavailable, errStopping.Error())
		}
		select {
		case <-h.g.leaving.Done():
		case <-out.Context().Done():
			return status.FromContextError(out.Context().Err()).Err()
		case <-turn.C:
		}
	}
}
