package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Opts turns the configuration into options of a client. Files that TLS needs
// are read here once, so that a wrong path ends the process at start.
func (c Config) Opts(logger *slog.Logger) ([]kgo.Opt, error) {
	opts := []kgo.Opt{
		kgo.SeedBrokers(c.Brokers...),
		kgo.ClientID(c.ClientID),
		kgo.RequestTimeoutOverhead(c.RequestTimeout),
		// The client's own 5 s gates each retry of a partition's error: three
		// NOT_LEADERs in a row were measured to pass a deadline of 10 s, and a
		// broker's restart to cost 4.6 s where 250 ms here cost 0.5 s.
		kgo.MetadataMinAge(c.MetadataMinAge),
		kgo.RetryBackoffFn(c.backoff),
		// The broker's telemetry is a request per minute that nobody reads.
		kgo.DisableClientMetrics(),
		kgo.WithLogger(newClientLogger(logger)),
	}
	if c.TLS {
		conf, err := c.tlsConfig()
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.DialTLSConfig(conf))
	}
	opts = append(opts, kgo.DialTimeout(c.DialTimeout))
	if m := c.mechanism(); m != nil {
		opts = append(opts, kgo.SASL(m))
	}
	return opts, nil
}

// backoff doubles, with jitter so that a pool does not return in step.
func (c Config) backoff(fails int) time.Duration {
	d := c.RetryBackoff << min(max(fails-1, 0), 16)
	if d <= 0 || d > c.RetryMax {
		d = c.RetryMax
	}
	return d/2 + rand.N(d/2+1) //nolint:gosec // Jitter needs no secrecy.
}

func (c Config) tlsConfig() (*tls.Config, error) {
	conf := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         c.TLSServerName,
		InsecureSkipVerify: c.TLSInsecure, //nolint:gosec // The operator asked for it by a variable that says so.
	}
	if c.TLSCA != "" {
		pem, err := os.ReadFile(c.TLSCA)
		if err != nil {
			return nil, fmt.Errorf(prefix+"KAFKA_TLS_CA: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf(prefix+"KAFKA_TLS_CA: no certificate in %s", c.TLSCA)
		}
	}
	if c.TLSCert == "" {
		return conf, nil
	}
	load := func() (*tls.Certificate, error) {
		cert, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
		if err != nil {
			return nil, fmt.Errorf(prefix+"KAFKA_TLS_CERT: %w", err)
		}
		return &cert, nil
	}
	if _, err := load(); err != nil {
		return nil, err
	}
	// Read again at each handshake: mounted certificates are renewed in place.
	conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	return conf, nil
}

var errEmptySecret = errors.New("file is empty")
