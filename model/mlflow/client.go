package mlflow

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// maxJSON bounds an answer of the REST API.
const maxJSON = 32 << 20

// Client talks to one tracking server. It is safe for concurrent use and
// starts no goroutine.
type Client struct {
	cfg  Config
	base *url.URL // nil without a server: only folders can be resolved
	http *http.Client
	auth string // the Authorization header, "" for none
}

// New makes a client. Without a tracking URI it resolves folders alone.
func New(cfg Config) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg}
	if c.cfg.RetryBase == 0 {
		c.cfg.RetryBase = 500 * time.Millisecond
	}
	if c.cfg.RetryMax == 0 {
		c.cfg.RetryMax = 7
	}
	tr := cfg.Transport
	if tr == nil {
		t, err := transport(cfg)
		if err != nil {
			return nil, err
		}
		tr = t
	}
	c.http = &http.Client{Transport: tr, CheckRedirect: sameHost}
	if cfg.TrackingURI == "" {
		return c, nil
	}
	u, err := url.Parse(strings.TrimRight(cfg.TrackingURI, "/"))
	if err != nil {
		return nil, errors.New("MLFLOW_TRACKING_URI: malformed")
	}
	if c.auth, err = authorization(cfg, u); err != nil {
		return nil, err
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	c.base = u
	return c, nil
}

// sameHost keeps credentials from following a redirect to another host.
func sameHost(req *http.Request, via []*http.Request) error {
	if len(via) >= 5 {
		return errors.New("too many redirects")
	}
	if req.URL.Host != via[0].URL.Host {
		req.Header.Del("Authorization")
		req.Header.Del("X-Mlflow-Workspace")
	}
	return nil
}

func transport(cfg Config) (*http.Transport, error) {
	t := &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 4,
		IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: 2 * time.Minute,
	}
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: cfg.InsecureTLS} //nolint:gosec // the user's explicit wish
	if cfg.ServerCertPath != "" {
		pem, err := os.ReadFile(cfg.ServerCertPath)
		if err != nil {
			return nil, fmt.Errorf("MLFLOW_TRACKING_SERVER_CERT_PATH: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, errors.New("MLFLOW_TRACKING_SERVER_CERT_PATH: holds no certificate")
		}
		t.TLSClientConfig.RootCAs = pool
	}
	if cfg.ClientCertPath != "" {
		cert, err := tls.LoadX509KeyPair(cfg.ClientCertPath, cfg.ClientCertPath)
		if err != nil {
			return nil, fmt.Errorf("MLFLOW_TRACKING_CLIENT_CERT_PATH: %w", err)
		}
		t.TLSClientConfig.Certificates = []tls.Certificate{cert}
	}
	return t, nil
}

// call is one request of the client.
type call struct {
	method  string
	url     string
	body    []byte // JSON, or a file's content
	kind    string // content type of the body
	alias   bool   // see APIError.Is
	retry5  int    // attempts after a 500, which some artifacts answer for good; 0 is as for others
	foreign bool   // another host than the tracking server: no credentials
}

// url builds an address below the base. Segments are given unescaped.
func (c *Client) url(q url.Values, segments ...string) string {
	var parts []string
	for _, seg := range segments {
		parts = append(parts, escapePath(seg))
	}
	s := strings.TrimRight(c.base.String(), "/") + strings.Join(parts, "")
	if len(q) > 0 {
		s += "?" + q.Encode()
	}
	return s
}

// escapePath encodes each segment of a path and puts a slash before it.
func escapePath(p string) string {
	var b strings.Builder
	for seg := range strings.SplitSeq(p, "/") {
		if seg != "" {
			b.WriteString("/" + url.PathEscape(seg))
		}
	}
	return b.String()
}

// get calls a GET of the REST API.
func (c *Client) get(ctx context.Context, out any, q url.Values, segments ...string) error {
	return c.api(ctx, call{method: http.MethodGet, alias: segments[0] == "registered-models/alias"}, out, q, segments...)
}

// send calls a writing method of the REST API.
func (c *Client) send(ctx context.Context, method string, in, out any, segments ...string) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	return c.api(ctx, call{method: method, body: body, kind: "application/json"}, out, nil, segments...)
}

func (c *Client) api(ctx context.Context, k call, out any, q url.Values, segments ...string) error {
	if c.base == nil {
		return ErrNoRegistry
	}
	k.url = c.url(q, append([]string{"api/2.0/mlflow"}, segments...)...)
	return c.json(ctx, k, out)
}

func (c *Client) json(ctx context.Context, k call, out any) error {
	resp, err := c.do(ctx, k)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxJSON+1))
	if err != nil {
		return fmt.Errorf("mlflow: read answer: %w", err)
	}
	if len(text) > maxJSON {
		return errors.New("mlflow: answer is too large")
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("mlflow: %s is not the REST API's JSON (is MLFLOW_TRACKING_URI right?): %w", resp.Request.URL.Path, err)
	}
	return nil
}

// do sends a call until it succeeds, fails for good, or ctx is done. The
// caller closes the answer's body.
func (c *Client) do(ctx context.Context, k call) (*http.Response, error) {
	for attempt := 0; ; attempt++ {
		resp, wait, err := c.once(ctx, k)
		if err == nil {
			return resp, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("mlflow: %w", context.Cause(ctx))
		}
		limit := c.cfg.RetryMax
		if e := (*APIError)(nil); errors.As(err, &e) {
			if !e.retryable() {
				return nil, err
			}
			if e.Status == http.StatusInternalServerError && k.retry5 > 0 {
				limit = min(limit, k.retry5)
			}
		}
		if attempt >= limit {
			return nil, err
		}
		if wait == 0 {
			d := min(c.cfg.RetryBase<<min(attempt, 10), 30*time.Second)
			wait = d/2 + rand.N(d/2+1) //nolint:gosec // spreads load, guards nothing
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, fmt.Errorf("mlflow: %w", errors.Join(context.Cause(ctx), err))
		case <-timer.C:
		}
	}
}

// once sends a call. wait is the server's Retry-After, 0 when it gave none.
func (c *Client) once(ctx context.Context, k call) (_ *http.Response, wait time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, k.method, k.url, bytes.NewReader(k.body))
	if err != nil {
		return nil, 0, err
	}
	if k.kind != "" {
		req.Header.Set("Content-Type", k.kind)
	}
	if c.auth != "" && !k.foreign {
		req.Header.Set("Authorization", c.auth)
	}
	if c.cfg.Workspace != "" && !k.foreign {
		req.Header.Set("X-Mlflow-Workspace", c.cfg.Workspace)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, 0, fmt.Errorf("mlflow: %w", err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, 0, nil
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		wait = min(time.Duration(s)*time.Second, 2*time.Minute)
	}
	return nil, wait, newAPIError(req, resp.StatusCode, body, k.alias)
}
