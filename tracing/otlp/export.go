package otlp

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc/credentials"

	"github.com/millrace/millrace/metrics"
)

// quietFor is how long failures are only counted after one was logged.
const quietFor = time.Minute

// exporter keeps what goes wrong with a collector to itself: it is counted, and
// told once a minute.
type exporter struct {
	sdk.SpanExporter
	log     *slog.Logger
	metrics *metrics.Tracing
	close   func() // connections

	killed context.Context //nolint:containedctx // Ends what is under way; an export's own context is the queue's.
	kill   context.CancelFunc
	ended  chan struct{}

	quiet time.Time // until when failures are not logged; owned by who exports, one at a time
	lost  int       // spans since the last log
}

func newExporter(cfg *Config, deps Deps) (*exporter, error) {
	e := &exporter{log: deps.Log, metrics: deps.Metrics, ended: make(chan struct{}), close: func() {}}
	to, err := cfg.target()
	if err != nil {
		return nil, err
	}
	secure, err := cfg.tls()
	if err != nil {
		return nil, err
	}
	headers, err := pairs(cmp.Or(cfg.TracesHeaders, cfg.Headers))
	if err != nil {
		return nil, err
	}
	e.killed, e.kill = context.WithCancel(context.Background())
	client := e.overGRPC
	if cfg.protocol() == protocolHTTP {
		client = e.overHTTP
	}
	if e.SpanExporter, err = otlptrace.New(e.killed, client(cfg, to, headers, secure)); err != nil {
		e.kill()
		return nil, fmt.Errorf("making the exporter of spans: %w", err)
	}
	return e, nil
}

// All that the variables can say is given: the exporters would read the process's
// own for what is not.
func (e *exporter) overGRPC(cfg *Config, to *url.URL, headers map[string]string, secure *tls.Config) otlptrace.Client {
	opts := []otlptracegrpc.Option{otlptracegrpc.WithEndpointURL(to.String()), otlptracegrpc.WithHeaders(headers), otlptracegrpc.WithTimeout(cfg.timeout())}
	if to.Scheme == "http" {
		opts = append(opts, otlptracegrpc.WithInsecure())
	} else {
		opts = append(opts, otlptracegrpc.WithTLSCredentials(credentials.NewTLS(secure)))
	}
	if cfg.Compression == "gzip" {
		opts = append(opts, otlptracegrpc.WithCompressor("gzip"))
	}
	return otlptracegrpc.NewClient(opts...)
}

func (e *exporter) overHTTP(cfg *Config, to *url.URL, headers map[string]string, secure *tls.Config) otlptrace.Client {
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: secure, ForceAttemptHTTP2: true,
		MaxIdleConns: 2, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: cfg.timeout(),
	}
	e.close = transport.CloseIdleConnections
	compression := otlptracehttp.NoCompression
	if cfg.Compression == "gzip" {
		compression = otlptracehttp.GzipCompression
	}
	return otlptracehttp.NewClient(otlptracehttp.WithEndpointURL(to.String()), otlptracehttp.WithHeaders(headers), otlptracehttp.WithTimeout(cfg.timeout()),
		otlptracehttp.WithCompression(compression), otlptracehttp.WithHTTPClient(&http.Client{Transport: transport, Timeout: cfg.timeout()}))
}

func (c *Config) tls() (*tls.Config, error) {
	out := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CA != "" {
		pem, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_CERTIFICATE: %w", err)
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_CERTIFICATE: no certificate in %s", c.CA)
		}
	}
	if c.Cert != "" {
		pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		if err != nil {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE: %w", err)
		}
		out.Certificates = []tls.Certificate{pair}
	}
	return out, nil
}

// ExportSpans never fails: there is nothing that its caller could do.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.killed, cancel)() //nolint:contextcheck // two contexts end it
	err := e.SpanExporter.ExportSpans(ctx, spans)
	if err == nil {
		e.metrics.Exported.Add(float64(len(spans)))
		return nil
	}
	e.metrics.Failed.Add(float64(len(spans)))
	e.lost += len(spans)
	if now := time.Now(); now.After(e.quiet) {
		e.log.WarnContext(ctx, "spans could not be exported", "spans", e.lost, "err", err)
		e.quiet, e.lost = now.Add(quietFor), 0
	}
	return nil
}

// Shutdown is called once, when the last spans were exported.
func (e *exporter) Shutdown(ctx context.Context) error {
	defer close(e.ended)
	defer e.kill()
	defer e.close()
	return e.SpanExporter.Shutdown(ctx)
}
