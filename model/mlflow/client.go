package mlflow

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
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
	log  *slog.Logger
	memo memo
}

// New makes a client. Without a tracking URI it resolves folders alone.
func New(cfg Config) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.setDefaults()
	c := &Client{cfg: cfg, log: cfg.Log}
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

// sameHost keeps credentials from following a redirect to another host, or out
// of TLS.
func sameHost(req *http.Request, via []*http.Request) error {
	if len(via) >= 5 {
		return errors.New("too many redirects")
	}
	first := via[0].URL
	if req.URL.Host != first.Host || first.Scheme == "https" && req.URL.Scheme != "https" {
		req.Header.Del("Authorization")
		req.Header.Del("X-Mlflow-Workspace")
	}
	return nil
}

// call is one request of the client.
type call struct {
	method  string
	url     string
	body    []byte            // JSON
	file    io.ReadSeeker     // in place of body, read once an attempt
	size    int64             // of file
	kind    string            // content type of the body
	header  map[string]string // besides what every call has
	alias   bool              // see APIError.Is
	retry5  int               // attempts after a 500, which some artifacts answer for good; 0 is as for others
	retries int               // attempts after the first; 0: as configured
	foreign bool              // another host than the tracking server: no credentials
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
		if k.retries != 0 {
			limit = k.retries
		}
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
			wait = c.backoff(attempt)
		}
		if stopped := sleep(ctx, wait); stopped != nil {
			return nil, fmt.Errorf("mlflow: %w", errors.Join(stopped, err))
		}
	}
}

// once sends a call. wait is the server's Retry-After, 0 when it gave none.
func (c *Client) once(ctx context.Context, k call) (_ *http.Response, wait time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, k.method, k.url, bytes.NewReader(k.body))
	if err != nil {
		return nil, 0, fmt.Errorf("mlflow: %w", withoutQuery(err))
	}
	if k.file != nil {
		if _, err := k.file.Seek(0, io.SeekStart); err != nil {
			return nil, 0, err
		}
		body := &sending{from: k.file}
		defer body.Close() // the transport may hold it a little longer than its call lasts
		req.Body, req.GetBody, req.ContentLength = body, nil, k.size
		if k.size == 0 {
			req.Body = http.NoBody // else it would be sent in chunks
		}
	}
	if k.kind != "" {
		req.Header.Set("Content-Type", k.kind)
	}
	for name, value := range k.header {
		req.Header.Set(name, value)
	}
	if c.auth != "" && !k.foreign {
		req.Header.Set("Authorization", c.auth)
	}
	if c.cfg.Workspace != "" && !k.foreign {
		req.Header.Set("X-Mlflow-Workspace", c.cfg.Workspace)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, 0, fmt.Errorf("mlflow: %w", withoutQuery(err))
	}
	if resp.StatusCode/100 == 2 {
		return resp, 0, nil
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	return nil, retryAfter(resp.Header.Get("Retry-After"), time.Now()), newAPIError(req, resp.StatusCode, body, k.alias)
}

// maxWait bounds what a server may have us wait.
const maxWait = 2 * time.Minute

// retryAfter reads the header, in seconds or as a date; 0 when it says nothing.
func retryAfter(text string, now time.Time) time.Duration {
	if s, err := strconv.Atoi(text); err == nil {
		return time.Duration(min(max(0, s), int(maxWait.Seconds()))) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(0, at.Sub(now)), maxWait)
	}
	return 0
}

// withoutQuery takes an address's query out of an error: that of a presigned
// one lets its reader in.
func withoutQuery(err error) error {
	var e *url.Error
	if !errors.As(err, &e) {
		return err
	}
	at, _, _ := strings.Cut(e.URL, "?")
	if u, err := url.Parse(at); err == nil {
		at = u.Redacted()
	}
	return fmt.Errorf("%s %s: %w", e.Op, at, e.Err)
}
