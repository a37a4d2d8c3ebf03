package admin

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// TLSConfig is how a server speaks TLS; it does not without a certificate.
type TLSConfig struct {
	CertFile     string `env:"GATEWAY_TLS_CERT_FILE" help:"PEM file with the certificate to serve by TLS, and its chain. It is read again when it changes. Empty: no TLS."`
	KeyFile      string `env:"GATEWAY_TLS_KEY_FILE" help:"PEM file with the certificate's key."`
	ClientCAFile string `env:"GATEWAY_TLS_CLIENT_CA_FILE" help:"PEM file with the authorities of callers' certificates; a prediction needs one then. Empty: none is asked for."`
}

// Validate names every setting that cannot be worked with.
func (c *TLSConfig) Validate() error {
	var errs []error
	if (c.CertFile == "") != (c.KeyFile == "") {
		errs = append(errs, errors.New("MILLRACE_GATEWAY_TLS_CERT_FILE: goes with MILLRACE_GATEWAY_TLS_KEY_FILE; set both or none"))
	}
	if c.ClientCAFile != "" && c.CertFile == "" {
		errs = append(errs, errors.New("MILLRACE_GATEWAY_TLS_CLIENT_CA_FILE: is nothing without MILLRACE_GATEWAY_TLS_CERT_FILE"))
	}
	return errors.Join(errs...)
}

// Server reads the files and returns the server's configuration, nil without TLS.
// expires is told when the certificate that is served expires, in Unix seconds.
func (c *TLSConfig) Server(log *slog.Logger, expires func(float64)) (*tls.Config, error) {
	if c.CertFile == "" {
		return nil, nil //nolint:nilnil // no TLS is no mistake
	}
	certs := &certificates{cfg: *c, log: log, expires: expires}
	if err := certs.load(); err != nil {
		return nil, fmt.Errorf("MILLRACE_GATEWAY_TLS_CERT_FILE: %w", err)
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: certs.get, NextProtos: []string{"h2", "http/1.1"}}
	if c.ClientCAFile != "" {
		pem, err := os.ReadFile(c.ClientCAFile)
		if err != nil {
			return nil, fmt.Errorf("MILLRACE_GATEWAY_TLS_CLIENT_CA_FILE: %w", err)
		}
		// Probes come without: the handlers refuse whom they need to know.
		out.ClientCAs, out.ClientAuth = x509.NewCertPool(), tls.VerifyClientCertIfGiven
		if !out.ClientCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("MILLRACE_GATEWAY_TLS_CLIENT_CA_FILE: %s holds no certificate", c.ClientCAFile)
		}
	}
	return out, nil
}

// certificates serves a pair of files and reads them again when they change:
// certificates are renewed while a server runs.
type certificates struct {
	cfg     TLSConfig
	log     *slog.Logger
	expires func(float64)

	mu     sync.Mutex
	pair   *tls.Certificate // under mu
	of     [2]time.Time     // under mu: when the files of pair were written
	looked time.Time        // under mu
}

// lookEvery is how often the files' times are looked at.
const lookEvery = 5 * time.Second

func (c *certificates) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) < lookEvery {
		return c.pair, nil
	}
	c.looked = time.Now()
	if c.written() == c.of {
		return c.pair, nil
	}
	if err := c.read(); err != nil { // half of the pair may be written: the next look sees the whole
		c.log.Warn("the certificate cannot be read again; the last good one is served", "err", err)
		return c.pair, nil
	}
	c.log.Info("the certificate was read again", "expires", c.pair.Leaf.NotAfter)
	return c.pair, nil
}

func (c *certificates) load() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.looked = time.Now()
	return c.read()
}

// read takes the pair; mu is held.
func (c *certificates) read() error {
	of := c.written()
	pair, err := tls.LoadX509KeyPair(c.cfg.CertFile, c.cfg.KeyFile)
	if err != nil {
		return err
	}
	if pair.Leaf == nil {
		if pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
			return err
		}
	}
	c.pair, c.of = &pair, of
	c.expires(float64(pair.Leaf.NotAfter.Unix()))
	return nil
}

// written is when the two files were; zero for one that is not there.
func (c *certificates) written() (at [2]time.Time) {
	for i, path := range []string{c.cfg.CertFile, c.cfg.KeyFile} {
		if info, err := os.Stat(path); err == nil {
			at[i] = info.ModTime()
		}
	}
	return at
}
