package gateway

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/millrace/millrace/metrics"
	"github.com/millrace/millrace/tracing"
)

// AccessConfig is which requests a line is logged of.
type AccessConfig struct {
	Log  string  `env:"GATEWAY_ACCESS_LOG" envDefault:"off" help:"Requests that a line is logged of: off, errors (status 400 and above), all, or a share of 0 to 1, which is of those that did not fail; with a share, errors are logged too."`
	Rate float64 `env:"GATEWAY_ACCESS_LOG_RATE" envDefault:"100" help:"Most lines a second; more are counted and not logged."`
}

// Validate names every setting that cannot be worked with.
func (c *AccessConfig) Validate() error {
	share, err := c.share()
	if share != nothing && (!(c.Rate > 0) || math.IsInf(c.Rate, 0)) { // neither is NaN
		err = errors.Join(err, errors.New("MILLRACE_GATEWAY_ACCESS_LOG_RATE: must be above 0"))
	}
	return err
}

// nothing is the share of who logs nothing, errors neither.
const nothing = -1

// share is that of the requests that did not fail.
func (c *AccessConfig) share() (float64, error) {
	switch c.Log {
	case "", "off":
		return nothing, nil
	case "errors":
		return 0, nil
	case "all":
		return 1, nil
	}
	s, err := strconv.ParseFloat(c.Log, 64)
	if err != nil || !(s >= 0 && s <= 1) {
		return nothing, errors.New("MILLRACE_GATEWAY_ACCESS_LOG: must be off, errors, all, or a share of 0 to 1")
	}
	return s, nil
}

// accessLog writes a line of a request, within its rate. A nil one writes none.
type accessLog struct {
	log        *slog.Logger
	metrics    *metrics.Gateway
	share      float64
	limit      *rate.Limiter
	suppressed atomic.Int64 // since the last line
}

func newAccessLog(cfg AccessConfig, log *slog.Logger, m *metrics.Gateway) *accessLog {
	share, err := cfg.share()
	if err != nil || share == nothing {
		return nil
	}
	return &accessLog{log: log, metrics: m, share: share, limit: rate.NewLimiter(rate.Limit(cfg.Rate), int(math.Ceil(cfg.Rate)))}
}

// wants says whether a line is to be logged of a request with that status.
func (l *accessLog) wants(status int) bool {
	if l == nil || status < http.StatusBadRequest && l.share < 1 && rand.Float64() >= l.share { //nolint:gosec // a sample
		return false
	}
	if !l.limit.Allow() {
		l.suppressed.Add(1)
		l.metrics.Suppressed.Inc()
		return false
	}
	return true
}

// longest bounds what a line has of what a caller wrote.
const longest = 256

func cut(text string) string {
	if len(text) > longest {
		return strings.ToValidUTF8(text[:longest], "") + "…"
	}
	return text
}

// ask is what a line tells of a request itself.
type ask struct {
	method, path string
	bytes        int64
	header       http.Header
}

// write logs the line of a request that was answered with h. Fields that are empty have
// nothing to say.
func (l *accessLog) write(ctx context.Context, v *visit, h http.Header, q ask, took time.Duration) {
	line := []slog.Attr{
		slog.String("method", cut(q.method)), slog.String("path", cut(q.path)), slog.Int("status", v.status),
		slog.Int64("bytes_in", q.bytes), slog.Int64("bytes_out", v.bytes), slog.Float64("seconds", took.Seconds()),
	}
	for _, f := range []struct{ key, value string }{
		{"code", v.code},
		{"model", h.Get(headerModelName)},
		{"version", h.Get(headerModelVersion)},
		{"client", v.client},
		{"request_id", h.Get(headerRequest)},
		{"trace_id", tracing.ID(ctx, q.header)},
	} {
		if f.value != "" {
			line = append(line, slog.String(f.key, cut(f.value)))
		}
	}
	if n := l.suppressed.Swap(0); n > 0 {
		line = append(line, slog.Int64("suppressed", n))
	}
	l.log.LogAttrs(ctx, slog.LevelInfo, "request", line...)
}
