package gateway_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/millrace/millrace/gateway/oip"
	"github.com/millrace/millrace/internal/wire"
)

func TestGRPCDrains(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.ready(rpcConfig())
		conn := r.dial()
		watch, err := grpc_health_v1.NewHealthClient(conn).Watch(w.t.Context(), &grpc_health_v1.HealthCheckRequest{})
		require.NoError(w.t, err)
		got, err := watch.Recv()
		require.NoError(w.t, err)
		require.Equal(w.t, grpc_health_v1.HealthCheckResponse_SERVING, got.GetStatus())
		w.worker(func(*kgo.Record) outcome {
			time.Sleep(5 * time.Second)
			return outcome{"ok", `{"outputs":[]}`}
		})
		waits := make(chan error, 1)
		go func() { _, err := infer(w.t.Context(), conn, one("m")); waits <- err }()
		time.Sleep(time.Second)
		start := time.Now()
		require.NoError(w.t, r.stop())
		require.NoError(w.t, <-waits, "what waits is answered")
		require.InDelta(w.t, 4, time.Since(start).Seconds(), 1.5)
		got, err = watch.Recv()
		require.NoError(w.t, err)
		require.Equal(w.t, grpc_health_v1.HealthCheckResponse_NOT_SERVING, got.GetStatus())
		_, err = watch.Recv()
		require.Equal(w.t, codes.Unavailable, status.Code(err))
	})
	inWorld(t, func(w *world) { // for no longer than the drain
		cfg := rpcConfig()
		cfg.DrainTimeout = 2 * time.Second
		r := w.ready(cfg)
		w.worker(silent)
		conn := r.dial()
		waits := make(chan error, 1)
		go func() { _, err := infer(w.t.Context(), conn, one("m")); waits <- err }()
		time.Sleep(time.Second)
		start := time.Now()
		require.NoError(w.t, r.stop())
		require.InDelta(w.t, 2, time.Since(start).Seconds(), 1.1)
		require.Equal(w.t, codes.Unavailable, status.Code(<-waits))
	})
}

func TestAGRPCCallerThatGoesAwayCancels(t *testing.T) {
	inWorld(t, func(w *world) {
		cfg := rpcConfig()
		cfg.CancelTopic = "inference.cancellations"
		r := w.ready(cfg)
		w.worker(silent)
		ctx, cancel := context.WithCancel(w.t.Context())
		waits := make(chan error, 1)
		conn := r.dial()
		go func() { _, err := infer(ctx, conn, one("m")); waits <- err }()
		time.Sleep(time.Second)
		cancel()
		require.Equal(w.t, codes.Canceled, status.Code(<-waits))
		time.Sleep(time.Second)
		require.InDelta(w.t, 1, counted(w.t, r, "millrace_gateway_requests_total", "code", "499"), 0)
		cl, err := kgo.NewClient(append(w.kafka(), kgo.ConsumeTopics(cfg.CancelTopic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
		require.NoError(w.t, err)
		defer cl.Close()
		require.NotEmpty(w.t, cl.PollFetches(w.t.Context()).Records())
	}, requests, replies, kept, "inference.cancellations")
}

func TestGRPCOverTLS(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		asked := make(chan *kgo.Record, 1)
		w.worker(func(r *kgo.Record) outcome { asked <- r; return outcome{"ok", `{"outputs":[]}`} })
		dir := t.TempDir()
		ca := newAuthority(t)
		cfg := rpcConfig()
		cfg.TLS.CertFile, cfg.TLS.KeyFile, cfg.TLS.ClientCAFile = filepath.Join(dir, "crt"), filepath.Join(dir, "key"), filepath.Join(dir, "ca")
		ca.issue("server").write(t, cfg.TLS.CertFile, cfg.TLS.KeyFile)
		require.NoError(t, os.WriteFile(cfg.TLS.ClientCAFile, ca.pem, 0o600))
		r := w.start(cfg)
		time.Sleep(10 * time.Second)
		roots := x509.NewCertPool()
		roots.AddCert(ca.cert)
		by := func(certs ...tls.Certificate) *grpc.ClientConn {
			return r.dial(grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: roots, ServerName: "127.0.0.1", Certificates: certs})))
		}
		stranger := by()
		ready, err := invoke[oip.ServerReadyResponse](t.Context(), stranger, "ServerReady", &oip.ServerReadyRequest{})
		require.NoError(t, err, "probes need no certificate")
		require.True(t, ready.GetReady())
		_, err = infer(t.Context(), stranger, one("m"))
		require.Equal(t, codes.Unauthenticated, status.Code(err))
		_, err = infer(t.Context(), by(ca.issue("carol").pair(t)), one("m"))
		require.NoError(t, err)
		client, _ := wire.Header(<-asked, wire.Client)
		require.Equal(t, "carol", string(client))
	})
}
