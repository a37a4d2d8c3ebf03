package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"
)

// HTTPConfig is an HTTP service under load.
type HTTPConfig struct {
	URL         string            // where to POST to
	ContentType string            // application/json when empty
	Header      map[string]string // sent with each request
	Connections int               // kept open; as many as may be under way
	Client      *http.Client      // nil: one of its own
}

// httpTarget posts bodies.
type httpTarget struct {
	HTTPConfig
	transport *http.Transport // of its own client
}

// NewHTTP makes a target of an HTTP service. It calls nobody yet.
func NewHTTP(cfg HTTPConfig) (Target, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("--url: %q is no http or https address", cfg.URL)
	}
	if cfg.ContentType == "" {
		cfg.ContentType = "application/json"
	}
	h := &httpTarget{HTTPConfig: cfg}
	if h.Client == nil {
		h.transport = transport(max(1, cfg.Connections))
		h.Client = &http.Client{Transport: h.transport, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // a redirect is a result, not a second request
		}}
	}
	return h, nil
}

// transport keeps a connection for each request under way; the default keeps two a
// host.
func transport(connections int) *http.Transport {
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, MaxIdleConns: connections, MaxIdleConnsPerHost: connections, MaxConnsPerHost: connections,
		IdleConnTimeout: time.Minute, DisableCompression: true,
	}
}

// Close closes the connections.
func (h *httpTarget) Close() error {
	if h.transport != nil {
		h.transport.CloseIdleConnections()
	}
	return nil
}

// Send posts one body.
func (h *httpTarget) Send(ctx context.Context, body []byte) Outcome {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, bytes.NewReader(body))
	if err != nil {
		return Outcome{Reason: "no valid request"}
	}
	req.Header.Set("Content-Type", h.ContentType)
	for k, v := range h.Header {
		req.Header.Set(k, v)
	}
	res, err := h.Client.Do(req)
	if err != nil {
		return Outcome{Reason: reasonOf(err)}
	}
	defer func() { _ = res.Body.Close() }()
	// Read to the end: a response counts when it is all there, and only then is
	// the connection used again.
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return Outcome{Reason: reasonOf(err)}
	}
	out := Outcome{
		Model: res.Header.Get("X-Model-Name"), Version: res.Header.Get("X-Model-Version"), Replica: res.Header.Get("X-Worker"),
	}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		out.Reason = "HTTP " + strconv.Itoa(res.StatusCode) + " " + http.StatusText(res.StatusCode)
	}
	return out
}

// reasonOf leaves out what differs from one failure to the next, such as ports.
func reasonOf(err error) string {
	timeout, dns := net.Error(nil), (*net.DNSError)(nil)
	switch {
	case errors.As(err, &dns):
		return "host not found"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.EPIPE):
		return "connection closed"
	default:
		return "connection failed"
	}
}
