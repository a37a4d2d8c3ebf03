package remote

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/model"
)

// call is one request, which may be sent several times.
type call struct {
	method  string
	url     string
	header  http.Header // nil for none of its own
	body    []byte
	largest int64 // bytes of the answer
}

// answer is a success.
type answer struct {
	header http.Header
	body   []byte
}

// failure is why a try has no answer.
type failure struct {
	err    error         // *model.Error, or the caller's context's end
	status int           // of the answer, 0 when there was none
	of     outcome       // what it tells of the endpoint
	again  bool          // the same request may be sent again
	after  time.Duration // the endpoint's own word on when, 0 for none
}

// do sends a call until it is answered, fails for good, or has no time left. An
// inference changes nothing, so it is sent again when no byte of an answer
// came, and when the answer is to come later (429, 503). A breaker that is open
// refuses it unsent.
func (c *Client) do(ctx context.Context, k *call) (*answer, *failure) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.cfg.Timeout, errTimeout)
	defer cancel()
	if err := c.enter(ctx); err != nil {
		return nil, &failure{err: err}
	}
	defer func() { <-c.slots }()
	if err := c.compress(k); err != nil {
		return nil, &failure{err: err}
	}
	for try := 1; ; try++ {
		a, f := c.guarded(ctx, k)
		if f == nil || !f.again || try >= c.cfg.Attempts || f.after > c.cfg.RetryAfter {
			return a, f
		}
		if !c.pause(ctx, try, f.after) {
			return nil, f
		}
		if c.obs.Retried != nil {
			c.obs.Retried()
		}
	}
}

// enter waits for one of the slots.
func (c *Client) enter(ctx context.Context) error {
	select {
	case c.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return c.ended(ctx)
	}
}

// ended is the error of a context's end: the caller's own, or the bound of a
// call.
func (c *Client) ended(ctx context.Context) error {
	cause := context.Cause(ctx)
	if errors.Is(cause, errTimeout) {
		return &model.Error{Code: model.Unavailable, Message: "the remote model did not answer in time", Err: cause}
	}
	return fmt.Errorf("predict: %w", cause)
}

// pause waits before the next try. It reports false when there is no time for
// one.
func (c *Client) pause(ctx context.Context, try int, after time.Duration) bool {
	if after == 0 {
		d := c.cfg.RetryBase << min(try-1, 10)
		after = d/2 + rand.N(d/2+1) //nolint:gosec // spreads load, guards nothing
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= after {
		return false
	}
	timer := time.NewTimer(after)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// guarded sends a call when the breaker lets it pass.
func (c *Client) guarded(ctx context.Context, k *call) (*answer, *failure) {
	if ok, wait := c.breaker.allow(); !ok {
		c.observe(ResultBroken, 0)
		err := fmt.Errorf("the breaker is open; the next request is let through in %s", wait.Round(time.Millisecond))
		return nil, &failure{err: &model.Error{Code: model.Unavailable, Message: "the remote model is not available", Err: err}}
	}
	begun := time.Now()
	a, f := c.send(ctx, k)
	if f == nil {
		c.breaker.done(alive, "")
		c.observe(ResultOK, time.Since(begun))
		return a, nil
	}
	c.breaker.done(f.of, f.cause().Error())
	if e := (*model.Error)(nil); errors.As(f.err, &e) {
		c.observe(resultOf(e.Code), time.Since(begun))
	}
	return nil, f
}

func (c *Client) observe(result string, took time.Duration) {
	if c.obs.Requested != nil {
		c.obs.Requested(result, took)
	}
}

func resultOf(code model.Code) string {
	switch code { //nolint:exhaustive // the others are the model's failure
	case model.InvalidInput, model.TooLarge, model.UnsupportedMediaType:
		return ResultInvalid
	case model.Unavailable:
		return ResultUnavailable
	default:
		return ResultFailed
	}
}

// send sends a call once; a second time when its credentials were refused and
// have been renewed since.
func (c *Client) send(ctx context.Context, k *call) (*answer, *failure) {
	auth, err := c.auth.header(false)
	if err != nil {
		return nil, &failure{of: dead, err: &model.Error{Code: model.Unavailable, Message: "the remote model's credentials cannot be read", Err: err}}
	}
	a, f := c.once(ctx, k, auth)
	if f == nil || f.status != http.StatusUnauthorized {
		return a, f
	}
	renewed, err := c.auth.header(true)
	if err != nil || renewed == auth {
		return nil, f
	}
	return c.once(ctx, k, renewed)
}

func (c *Client) once(ctx context.Context, k *call, auth string) (*answer, *failure) {
	var began atomic.Bool // an answer
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotFirstResponseByte: func() { began.Store(true) }})
	req, err := http.NewRequestWithContext(ctx, k.method, k.url, bytes.NewReader(k.body))
	if err != nil {
		return nil, &failure{err: failed("%w", err)}
	}
	maps.Copy(req.Header, k.header)
	if auth != "" {
		req.Header.Set("Authorization", auth)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unanswered(ctx, withoutURL(err), began.Load())
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, k.largest+1))
	switch {
	case err != nil:
		return nil, c.unanswered(ctx, fmt.Errorf("the answer breaks off: %w", err), true)
	case int64(len(body)) > k.largest:
		return nil, &failure{of: alive, status: resp.StatusCode, err: model.Errorf(model.TooLarge, "the answer of the remote model is larger than %d bytes", k.largest)}
	case resp.StatusCode/100 == 2:
		return &answer{header: resp.Header, body: body}, nil
	}
	f := &failure{err: refusal(resp.StatusCode, body), status: resp.StatusCode, of: alive}
	if !lives(resp.StatusCode) {
		f.of = dead
	}
	if f.status == http.StatusServiceUnavailable || f.status == http.StatusTooManyRequests {
		f.again, f.after = true, retryAfter(resp.Header)
	}
	return nil, f
}

// unanswered is the failure of a request that no whole answer came to.
func (c *Client) unanswered(ctx context.Context, err error, began bool) *failure {
	if ctx.Err() != nil {
		f := &failure{err: c.ended(ctx)}
		if errors.Is(context.Cause(ctx), errTimeout) {
			f.of = dead
		}
		return f
	}
	if began { // the endpoint had worked on it, and may have been broken by it
		return &failure{of: dead, err: failed("%w", err)}
	}
	return &failure{of: dead, again: true, err: &model.Error{Code: model.Unavailable, Message: "the remote model cannot be reached", Err: err}}
}

// retryAfter is the endpoint's word on when to try again; 0 when it has none.
func retryAfter(h http.Header) time.Duration {
	text := h.Get("Retry-After")
	if s, err := strconv.Atoi(text); err == nil && s > 0 {
		const most = 1 << 20
		return time.Duration(min(s, most)) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}

// compress makes the body smaller when that is configured.
func (c *Client) compress(k *call) error {
	const worthIt = 1 << 10 // bytes
	if !c.cfg.Gzip || len(k.body) < worthIt {
		return nil
	}
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err == nil {
		_, err = w.Write(k.body)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		return err
	}
	k.body = out.Bytes()
	k.header = k.header.Clone()
	k.header.Set("Content-Encoding", "gzip")
	return nil
}
