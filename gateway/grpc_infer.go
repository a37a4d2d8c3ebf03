package gateway

import (
	"context"
	"crypto/tls"
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
// order, save that its message is there before it is asked about. It is counted, followed
// and logged as one over HTTP.
func (g *rpc) ModelInfer(ctx context.Context, in *oip.Message) (*oip.Message, error) {
	const name = "ModelInfer"
	start, asked, head := time.Now(), headerOf(ctx), make(http.Header)
	ctx, span := g.deps.Traces.BeginCall(ctx, oip.Service, name, asked)
	if p := span.Parent(); p != "" {
		_ = grpc.SetHeader(ctx, metadata.Pairs(headerTrace, p)) // of a call that is under way
	}
	v := &visit{status: http.StatusOK}
	ctx = context.WithValue(ctx, visitKey{}, v)
	out, no := g.inferRPC(ctx, in, asked, head, start)
	if no == nil {
		v.bytes = int64(len(out.Wire))
	} else {
		v.status, v.code, v.failure = no.http, string(no.code), []byte(no.Error())
	}
	took := time.Since(start)
	g.count(ctx, v, head, v.status, took)
	told := v.told(head)
	if no != nil {
		told.RPC = int(no.grpc.Code())
	}
	span.End(told)
	if g.access.wants(v.status) {
		g.access.write(ctx, v, head, ask{http.MethodPost, oip.Method(name), sizeOf(in), asked}, took)
	}
	if no != nil {
		return nil, no
	}
	return out, nil
}

// headerOf is what of a call's metadata HTTP has as headers.
func headerOf(ctx context.Context) http.Header {
	header := make(http.Header)
	md, _ := metadata.FromIncomingContext(ctx)
	for _, name := range []string{headerKey, headerTimeout, headerTrace, "Tracestate"} {
		if v := md.Get(name); len(v) > 0 {
			header.Set(name, v[0])
		}
	}
	return header
}

func sizeOf(in *oip.Message) int64 {
	if in.Inference == nil { // it could not be read
		return 0
	}
	return int64(len(in.Inference.Body))
}

// inferRPC answers a call. head is told who did.
func (g *rpc) inferRPC(ctx context.Context, in *oip.Message, asked, head http.Header, start time.Time) (*oip.Message, *rpcError) {
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
	size := sizeOf(in)
	if size > g.cfg.MaxBodyBytes {
		return nil, statusOf(model.Errorf(model.TooLarge, "the body is larger than %d bytes", g.cfg.MaxBodyBytes))
	}
	if !g.admission.hold(size) {
		return nil, g.turnDown(ctx, g.noRoom())
	}
	defer g.admission.free(size)
	req, timeout, err := g.requestOf(ctx, in.Inference, asked, client, start)
	if err != nil {
		return nil, statusOf(err)
	}
	leave, no := g.admission.enter()
	if no != nil {
		return nil, g.turnDown(ctx, no)
	}
	fate := fateUnknown
	defer func() { leave(fate) }()
	rec, i, failed := g.roundTrip(ctx, req)
	switch {
	case failed == nil:
		code, _ := wire.Header(rec, wire.Status)
		fate = g.fateOf(model.Code(code), timeout)
		return respond(ctx, rec, i, head)
	case errors.Is(ctx.Err(), context.Canceled):
		g.cancel(ctx, i, req.deadline)
		return nil, &rpcError{grpc: status.FromContextError(ctx.Err()), http: statusClientGone}
	default:
		e := model.AsError(failed)
		fate = g.fateOf(e.Code, timeout)
		return nil, statusOf(e)
	}
}

// requestOf is what becomes a record, and the time that it has: the caller's deadline,
// its parameter timeout, or the metadata x-request-timeout, the shortest of them.
func (g *rpc) requestOf(ctx context.Context, in *oip.Inference, header http.Header, client string, start time.Time) (*request, time.Duration, *model.Error) {
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
func (g *rpc) turnDown(ctx context.Context, no *refusal) *rpcError {
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
	return &rpcError{status.New(code, no.err.Error()), no.status, no.err.Code}
}

// respond is what the worker wrote. Who answered is in head, and in the header's metadata.
func respond(ctx context.Context, rec *kgo.Record, i id, head http.Header) (*oip.Message, *rpcError) {
	sent := make(metadata.MD)
	tell := func(name, value string) {
		head.Set(name, value)
		sent.Set(name, value)
	}
	tell(headerRequest, i.String())
	for _, pass := range []struct{ from, to string }{
		{wire.ModelName, headerModelName}, {wire.ModelVersion, headerModelVersion}, {wire.ID, "Ce-Id"}, {wire.Worker, "X-Worker"},
	} {
		if v, ok := wire.Header(rec, pass.from); ok && len(v) > 0 {
			tell(pass.to, string(v))
		}
	}
	_ = grpc.SetHeader(ctx, sent) // of a call that is under way
	code, ok := wire.Header(rec, wire.Status)
	if !ok {
		return nil, statusOf(model.Errorf(model.Internal, "the answer has no status"))
	}
	if string(code) != string(model.OK) {
		return nil, &rpcError{
			status.New(codeOf(model.Code(code)), messageOf(rec.Value, string(code))), httpStatus(model.Code(code)), model.Code(code),
		}
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
