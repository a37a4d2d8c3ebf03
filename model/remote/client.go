package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/millrace/millrace/model"
)

// The results that an [Observer] is told.
const (
	ResultOK          = "ok"
	ResultInvalid     = "invalid"     // the endpoint found fault with the request
	ResultFailed      = "failed"      // the model failed, or the answer was none
	ResultUnavailable = "unavailable" // no answer, or that there is none at the moment
	ResultBroken      = "broken"      // not sent: the breaker is open
)

// Results lists them.
func Results() []string {
	return []string{ResultOK, ResultInvalid, ResultFailed, ResultUnavailable, ResultBroken}
}

// Observer is told what happens, for metrics. Any of its functions may be nil.
// None may block.
type Observer struct {
	Requested func(result string, took time.Duration) // a try; took is 0 of a broken one
	Retried   func()
	Breaker   func(State) // what it is from now on
}

// Client reaches the endpoint of one reference. All versions of its model share
// it. It is safe for concurrent use.
type Client struct {
	cfg     Config
	ref     Ref
	http    *http.Client
	auth    *credentials
	breaker *breaker
	obs     Observer
	slots   chan struct{} // one in it for each request that runs
	moved   chan struct{} // capacity 1, see Moved

	asking  chan struct{} // capacity 1: who is in it has what follows
	checked time.Time     // when the model was last asked whether it is ready
	serves  bool          // what it said
}

// New makes a client. It reads the files that TLS needs, and sends nothing.
func New(cfg Config, ref Ref, obs Observer) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.RetryBase == 0 {
		cfg.RetryBase = 50 * time.Millisecond
	}
	tr, err := transport(cfg)
	if err != nil {
		return nil, err
	}
	noted := obs.Breaker
	if noted == nil {
		noted = func(State) {}
	}
	return &Client{
		cfg: cfg, ref: ref, obs: obs,
		http:    &http.Client{Transport: tr, CheckRedirect: stay},
		auth:    newCredentials(cfg, ref.user),
		breaker: newBreaker(cfg.BreakerFailures, cfg.BreakerOpen, noted),
		slots:   make(chan struct{}, cfg.Concurrency),
		moved:   make(chan struct{}, 1),
		asking:  make(chan struct{}, 1),
	}, nil
}

// stay follows redirects within one host and scheme alone: configuration names
// endpoints, endpoints do not, and what is sent is meant for no other.
func stay(req *http.Request, via []*http.Request) error {
	const most = 3
	first := via[0].URL
	if len(via) > most || req.URL.Host != first.Host || req.URL.Scheme != first.Scheme {
		return http.ErrUseLastResponse
	}
	return nil
}

func transport(cfg Config) (*http.Transport, error) {
	t := &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, DisableCompression: !cfg.Gzip,
		MaxIdleConns: cfg.Concurrency, MaxIdleConnsPerHost: cfg.Concurrency,
		IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: 10 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
	}
	if cfg.CAFile == "" {
		return t, nil
	}
	pem, err := os.ReadFile(cfg.CAFile)
	if err != nil {
		return nil, fmt.Errorf("MILLRACE_REMOTE_CA_FILE: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("MILLRACE_REMOTE_CA_FILE: it holds no certificate")
	}
	t.TLSClientConfig.RootCAs = pool
	return t, nil
}

// Ref returns the reference that the client is for.
func (c *Client) Ref() Ref { return c.ref }

// Status is how the endpoint does.
func (c *Client) Status() Status {
	s := c.breaker.status()
	s.URL = c.ref.base.String()
	return s
}

// Moved tells, by a value in the channel, that the endpoint no longer serves
// the version that a model was opened as: it is time to resolve again.
func (c *Client) Moved() <-chan struct{} { return c.moved }

func (c *Client) signalMoved() {
	select {
	case c.moved <- struct{}{}:
	default: // it is known already
	}
}

// Close ends the idle connections. The client can be used on.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// get reads one of the endpoint's own pages. It is tried once, by the breaker's
// leave or not: it is the poll that finds out whether an endpoint is back.
func (c *Client) get(ctx context.Context, segments ...string) (*answer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.cfg.Timeout, errTimeout)
	defer cancel()
	const largest = 4 << 20
	a, f := c.send(ctx, &call{method: http.MethodGet, url: c.ref.url(segments...), largest: largest})
	if f != nil {
		return nil, fmt.Errorf("GET %s: %w", c.ref.url(segments...), f.cause())
	}
	return a, nil
}

// cause is a failure for the log, without the sentence for who sent a request.
func (f *failure) cause() error {
	if e := (*model.Error)(nil); errors.As(f.err, &e) && e.Err != nil {
		return e.Err
	}
	return f.err
}

// withoutURL drops the URL that the HTTP client puts before its errors: it is
// long, and told elsewhere.
func withoutURL(err error) error {
	if e := (*url.Error)(nil); errors.As(err, &e) {
		return e.Err
	}
	return err
}
