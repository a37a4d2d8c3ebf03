package gateway

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/millrace/millrace/gateway/oip"
	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/metrics"
	"github.com/millrace/millrace/model"
)

// ModelInfer implements [oip.Server]: what a request over HTTP goes through, in the same
// order, save that its message is there before it is asked about.
func (g *rpc) ModelInfer(ctx context.Context, in *oip.Message) (*oip.Message, error) {
	start := time.Now()
	out, err := g.inferRPC(ctx, in, start)
	g.metrics.Latency.Observe(time.Since(start).Seconds())
	code := httpOf(status.Code(err))
	g.metrics.Requests.WithLabelValues(strconv.Itoa(code)).Inc()
	if code == statusClientGone {
		g.metrics.Gone.Inc()
	}
	return out, err
}

// httpOf is the HTTP status that a request over HTTP would have got, for the series.
func httpOf(code codes.Code) int {
	switch code { //nolint:exhaustive // the others are the server's
	case codes.OK:
		return http.StatusOK
	case codes.Canceled:
		return statusClientGone
	case codes.InvalidArgument:
		return http.StatusBadRequest
	case codes.Unauthenticated:
		return http.StatusUnauthorized
	case codes.NotFound:
		return http.StatusNotFound
	case codes.DeadlineExceeded:
		return http.StatusGatewayTimeout
	case codes.ResourceExhausted:
		return http.StatusTooManyRequests
	case codes.Unavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

func (g *rpc) inferRPC(ctx context.Context, in *oip.Message, start time.Time) (*oip.Message, error) {
	client, no := g.caller(ctx)
	if no == nil {
		no = g.admission.greet()
	}
	if no != nil {
		return nil, g.turnDown(ctx, no)
	}
	if in.Err != nil {
		return nil, statusOf(model.Errorf(model.InvalidInput, "%w", in.Err))
	}
	size := int64(len(in.Inference.Body))
	if size > g.cfg.MaxBodyBytes {
		return nil, statusOf(model.Errorf(model.TooLarge, "the body is larger than %d bytes", g.cfg.MaxBodyBytes))
	}
	if !g.admission.hold(size) {
		return nil, g.turnDown(ctx, g.noRoom())
	}
	defer g.admission.free(size)
	req, timeout, err := g.requestOf(ctx, in.Inference, client, start)
	if err != nil {
		return nil, statusOf(err)
	}
	leave, no := g.admission.enter()
	if no != nil {
		return nil, g.turnDown(ctx, no)
	}
	fate := fateUnknown
	defer func() { leave(fate) }()
	bounded, cancel := context.WithDeadline(ctx, req.deadline)
	defer cancel()
	rec, i, failed := g.roundTrip(bounded, req)
	switch {
	case failed == nil:
		code, _ := wire.Header(rec, wire.Status)
		fate = g.fateOf(model.Code(code), timeout)
		return respond(ctx, rec, i)
	case errors.Is(ctx.Err(), context.Canceled):
		g.cancel(ctx, i, req.deadline)
		return nil, status.FromContextError(ctx.Err()).Err()
	default:
		e := model.AsError(failed)
		fate = g.fateOf(e.Code, timeout)
		return nil, statusOf(e)
	}
}

// requestOf is what becomes a record, and the time that it has: the caller's deadline,
// its parameter timeout, or the metadata x-request-timeout, the shortest of them.
func (g *rpc) requestOf(ctx context.Context, in *oip.Inference, client string, start time.Time) (*request, time.Duration, *model.Error) {
	header := make(http.Header)
	md, _ := metadata.FromIncomingContext(ctx)
	for _, name := range []string{headerKey, headerTimeout, "Traceparent", "Tracestate"} {
		if v := md.Get(name); len(v) > 0 {
			header.Set(name, v[0])
		}
	}
	longest := g.cfg.MaxTimeout
	timeout, err := g.timeoutOf(header.Get(headerTimeout), false)
	if err != nil {
		return nil, 0, model.Errorf(model.InvalidInput, "%s: %w", strings.ToLower(headerTimeout), err)
	}
	own := header.Get(headerTimeout) != ""
	bound := func(d time.Duration) {
		if d = min(d, longest); !own || d < timeout {
			timeout, own = d, true
		}
	}
	if in.Timeout > 0 {
		bound(in.Timeout)
	}
	if at, ok := ctx.Deadline(); ok {
		bound(time.Until(at))
	}
	by := way{v2: true, contentType: model.ContentBinary, headerLength: strconv.Itoa(in.Head), model: in.Model}
	if in.Version != "" {
		by.model += "/" + in.Version
	}
	return &request{header, by, true, client, in.Body, start.Add(timeout)}, timeout, nil
}

// caller is who calls: by the metadata authorization, or by the certificate.
func (g *rpc) caller(ctx context.Context) (string, *refusal) {
	var secure *tls.ConnectionState
	if p, ok := peer.FromContext(ctx); ok {
		if info, ok := p.AuthInfo.(credentials.TLSInfo); ok {
			secure = &info.State
		}
	}
	authorization := ""
	if v := metadata.ValueFromIncomingContext(ctx, "authorization"); len(v) > 0 {
		authorization = v[0]
	}
	return g.identifyBy(ctx, secure, authorization)
}

// turnDown counts a refusal and says when to come back, in the trailer retry-after.
func (g *rpc) turnDown(ctx context.Context, no *refusal) error {
	if no.reason != "" {
		g.metrics.Refused.WithLabelValues(no.reason).Inc()
	}
	if no.after > 0 {
		seconds := max(1, int64(math.Ceil(no.after.Seconds())))
		_ = grpc.SetTrailer(ctx, metadata.Pairs("retry-after", strconv.FormatInt(seconds, 10))) // of a call that is under way
	}
	code := codeOf(no.err.Code)
	if no.reason == metrics.RefusedRate {
		code = codes.ResourceExhausted
	}
	return status.Error(code, no.err.Error())
}

// respond is what the worker wrote. Who answered is in the header's metadata.
func respond(ctx context.Context, rec *kgo.Record, i id) (*oip.Message, error) {
	head := metadata.MD{strings.ToLower(headerRequest): {hex.EncodeToString(i[:])}}
	for _, pass := range []struct{ from, to string }{
		{wire.ModelName, "x-model-name"}, {wire.ModelVersion, "x-model-version"}, {wire.ID, "ce-id"}, {wire.Worker, "x-worker"},
	} {
		if v, ok := wire.Header(rec, pass.from); ok && len(v) > 0 {
			head[pass.to] = []string{string(v)}
		}
	}
	_ = grpc.SetHeader(ctx, head) // of a call that is under way
	code, ok := wire.Header(rec, wire.Status)
	if !ok {
		return nil, statusOf(model.Errorf(model.Internal, "the answer has no status"))
	}
	if string(code) != string(model.OK) {
		return nil, status.Error(codeOf(model.Code(code)), messageOf(rec.Value, string(code)))
	}
	length, _ := wire.Header(rec, wire.HeaderLength)
	n := 0
	if len(length) > 0 {
		var err error
		if n, err = strconv.Atoi(string(length)); err != nil || n < 0 {
			return nil, statusOf(model.Errorf(model.Internal, "the answer's header length is %q", length))
		}
	}
	out, err := oip.Response(rec.Value, n)
	if err != nil {
		return nil, statusOf(model.Errorf(model.Failed, "%w", err))
	}
	return &oip.Message{Wire: out}, nil
}
