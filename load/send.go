package load

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"syscall"
)

// send returns why the request failed, in words that many failures share, or ""
// when it did not.
func send(ctx context.Context, cfg *Config, body []byte) string {
	bounded, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(bounded, http.MethodPost, cfg.URL, bytes.NewReader(body))
	if err != nil {
		return "no valid request"
	}
	req.Header.Set("Content-Type", cfg.ContentType)
	for k, v := range cfg.Header {
		req.Header.Set(k, v)
	}
	res, err := cfg.Client.Do(req)
	if err != nil {
		return reasonOf(err)
	}
	defer func() { _ = res.Body.Close() }()
	// Read to the end: a response counts when it is all there, and only then is
	// the connection used again.
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return reasonOf(err)
	}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return "HTTP " + strconv.Itoa(res.StatusCode) + " " + http.StatusText(res.StatusCode)
	}
	return ""
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
