package otlp

import (
	"bytes"
	"context"
	"encoding/pem"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/metrics"
	"github.com/millrace/millrace/tracing"
	"github.com/millrace/millrace/tracing/otlp/otlptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func provider(t *testing.T, log *slog.Logger, cfg Config) (*Provider, *metrics.Tracing) {
	t.Helper()
	require.NoError(t, cfg.Validate())
	require.True(t, cfg.On())
	m := metrics.NewTracing(prometheus.NewRegistry())
	p, err := New(cfg, Deps{Log: log, Metrics: m, Service: "millrace-worker", Version: "1.2", Instance: "pod-0"})
	require.NoError(t, err)
	return p, m
}

// end lets a provider export what it has.
func end(t *testing.T, p *Provider) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, p.Run(ctx))
}

// work records a request and its batch, five spans and one.
func work(p *Provider) {
	now := time.Now()
	w := p.Worker()
	r := w.Begin(&kgo.Record{Topic: "t", Offset: 7}, now, now.Add(time.Millisecond))
	r.Decoded(now, now)
	w.Called([]*tracing.Request{r}, tracing.Call{Model: "m", Version: "3", Records: 1, Rows: 2, Begun: now, Ended: now})
	r.End(tracing.Outcome{Status: "ok", Model: "m", Version: "3", Answered: now, Acked: now.Add(time.Second)})
}

func TestSpansReachACollector(t *testing.T) {
	for protocol, start := range map[string]func(*testing.T) *otlptest.Collector{protocolHTTP: otlptest.HTTP, protocolGRPC: otlptest.GRPC} {
		for _, compression := range []string{"none", "gzip"} {
			c := start(t)
			cfg := defaults()
			cfg.Protocol, cfg.Compression, cfg.Endpoint = protocol, compression, c.URL
			cfg.Headers, cfg.Attributes = "authorization=Bearer%20x", "deployment.environment.name=test,service.name=loses"
			cfg.ServiceName = "forecasts"
			p, m := provider(t, slog.New(slog.DiscardHandler), cfg)
			work(p)
			end(t, p)
			spans := c.Spans()
			require.Len(t, spans, 6, protocol)
			require.Equal(t, "Bearer x", c.Header("authorization"))
			require.Equal(t, map[string]string{
				"service.name": "forecasts", "service.version": "1.2", "service.instance.id": "pod-0", "deployment.environment.name": "test",
			}, spans[0].Resource)
			require.InDelta(t, 6, testutil.ToFloat64(m.Spans), 0)
			require.InDelta(t, 6, testutil.ToFloat64(m.Exported), 0)
			require.Zero(t, testutil.ToFloat64(m.Failed))
		}
	}
}

func TestACollectorOverTLS(t *testing.T) {
	c := &otlptest.Collector{}
	srv := httptest.NewTLSServer(c)
	defer srv.Close()
	cfg := defaults()
	cfg.Endpoint, cfg.CA = srv.URL, filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(cfg.CA, []byte("no certificate"), 0o600))
	_, err := New(cfg, Deps{})
	require.ErrorContains(t, err, "OTEL_EXPORTER_OTLP_CERTIFICATE: no certificate in ")
	require.NoError(t, os.WriteFile(cfg.CA, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600))
	p, _ := provider(t, slog.New(slog.DiscardHandler), cfg)
	work(p)
	end(t, p)
	require.Len(t, c.Spans(), 6)
}

// A collector that is away, or refuses, costs spans and a line in the log.
func TestWhatACollectorDoesNotTakeIsLost(t *testing.T) {
	refusing := httptest.NewServer(http.NotFoundHandler())
	defer refusing.Close()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	for name, endpoint := range map[string]string{"refuses": refusing.URL, "away": "http://" + l.Addr().String()} {
		cfg := defaults()
		cfg.Endpoint = endpoint
		var log bytes.Buffer
		p, m := provider(t, slog.New(slog.NewTextHandler(&log, nil)), cfg)
		for range 200 { // more than one export
			work(p)
		}
		end(t, p)
		require.InDelta(t, 1200, testutil.ToFloat64(m.Failed), 0, name)
		require.Zero(t, testutil.ToFloat64(m.Exported), name)
		require.Equal(t, 1, strings.Count(log.String(), "\n"), log.String())
		require.Contains(t, log.String(), `msg="spans could not be exported"`)
	}
}

// A collector that takes its time does not hold up the end.
func TestTheEndIsBounded(t *testing.T) {
	for _, protocol := range []string{protocolHTTP, protocolGRPC} {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0") // nobody accepts
		require.NoError(t, err)
		cfg := defaults()
		cfg.Endpoint, cfg.Protocol = "http://"+l.Addr().String(), protocol
		p, m := provider(t, slog.New(slog.DiscardHandler), cfg)
		p.flush = 50 * time.Millisecond
		for range 200 {
			work(p)
		}
		end(t, p)
		require.InDelta(t, 1200, testutil.ToFloat64(m.Failed), 0, protocol)
		require.NoError(t, l.Close())
	}
}

func TestAFullQueueDropsSpans(t *testing.T) {
	c, release := &otlptest.Collector{}, make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-release
		c.ServeHTTP(w, r)
	}))
	defer srv.Close()
	cfg := defaults()
	cfg.Endpoint, cfg.Queue = srv.URL, 1
	p, m := provider(t, slog.New(slog.DiscardHandler), cfg)
	for range 10 {
		work(p)
	}
	close(release)
	end(t, p)
	require.InDelta(t, 60, testutil.ToFloat64(m.Spans), 0)
	require.Less(t, testutil.ToFloat64(m.Exported), 60.0)
	require.Len(t, c.Spans(), int(testutil.ToFloat64(m.Exported)))
}

func TestNoProviderFollowsNothing(t *testing.T) {
	var p *Provider
	require.Nil(t, p.Worker())
	require.Nil(t, p.Gateway())
}
