package gateway

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
	"golang.org/x/time/rate"

	"github.com/millrace/millrace/metrics"
	"github.com/millrace/millrace/model"
)

// AdmissionConfig bounds what comes in, so that a flood costs refusals and not the
// service.
type AdmissionConfig struct {
	RateLimit        float64       `env:"GATEWAY_RATE_LIMIT" envDefault:"0" help:"Requests a second that this gateway takes; more are refused with 429. 0: no limit."`
	RateBurst        int           `env:"GATEWAY_RATE_BURST" envDefault:"0" help:"Requests that may come at once within the rate limit; 0: one second's worth."`
	BreakerTimeouts  int           `env:"GATEWAY_BREAKER_TIMEOUTS" envDefault:"5" help:"Timeouts in a row after which requests are refused at once with 503; 0: never."`
	BreakerPause     time.Duration `env:"GATEWAY_BREAKER_PAUSE" envDefault:"10s" help:"How long requests are refused then, before one of them tries again."`
	WaitingPerWorker int           `env:"GATEWAY_MAX_WAITING_PER_WORKER" envDefault:"0" help:"Requests that may wait for each worker of the group, for example 50; more are refused with 503. 0: no such limit."`
	MaxWaiting       int           `env:"GATEWAY_MAX_WAITING" envDefault:"500" help:"Requests that may wait for their answer; more are refused."`
	MaxBuffered      int64         `env:"GATEWAY_MAX_BUFFERED_BYTES" envDefault:"268435456" help:"Bytes that the bodies of all requests may hold together; what would exceed it is refused with 503."`
}

// Validate names every setting that cannot be worked with.
func (c *AdmissionConfig) Validate() error {
	var errs []error
	refuse := func(bad bool, name, why string) {
		if bad {
			errs = append(errs, fmt.Errorf("MILLRACE_%s: %s", name, why))
		}
	}
	refuse(c.RateLimit < 0 || math.IsNaN(c.RateLimit) || math.IsInf(c.RateLimit, 0), "GATEWAY_RATE_LIMIT", "must be a number that is not below 0")
	refuse(c.RateBurst < 0, "GATEWAY_RATE_BURST", "must not be below 0")
	refuse(c.BreakerTimeouts < 0, "GATEWAY_BREAKER_TIMEOUTS", "must not be below 0")
	refuse(c.BreakerPause <= 0, "GATEWAY_BREAKER_PAUSE", "must be above 0")
	refuse(c.WaitingPerWorker < 0, "GATEWAY_MAX_WAITING_PER_WORKER", "must not be below 0")
	refuse(c.MaxWaiting < 1, "GATEWAY_MAX_WAITING", "must be at least 1")
	refuse(c.MaxBuffered < 1, "GATEWAY_MAX_BUFFERED_BYTES", "must be at least 1")
	return errors.Join(errs...)
}

// refusal is a request that is not taken in, and how that is said.
type refusal struct {
	status int
	reason string // of the series
	after  time.Duration
	err    *model.Error
}

// admission keeps the bounds. It is safe for concurrent use.
type admission struct {
	cfg     AdmissionConfig
	metrics *metrics.Gateway
	limiter *rate.Limiter                              // nil: no limit
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}] // nil: none

	waiting  atomic.Int64 // requests that wait for their answer
	workers  atomic.Int64 // of the group; 0 when not known
	buffered atomic.Int64 // bytes of bodies
}

func newAdmission(cfg AdmissionConfig, m *metrics.Gateway) *admission {
	a := &admission{cfg: cfg, metrics: m}
	if cfg.RateLimit > 0 {
		burst := cfg.RateBurst
		if burst == 0 {
			burst = max(1, int(math.Ceil(cfg.RateLimit)))
		}
		a.limiter = rate.NewLimiter(rate.Limit(cfg.RateLimit), burst)
	}
	if cfg.BreakerTimeouts > 0 {
		a.breaker = newBreaker(cfg, m)
	}
	return a
}

// greet is asked before anything is read of a request: nil lets it go on.
func (a *admission) greet() *refusal {
	if a.limiter != nil {
		now := time.Now()
		token := a.limiter.ReserveN(now, 1)
		if wait := token.DelayFrom(now); wait > 0 {
			token.CancelAt(now)
			return &refusal{
				http.StatusTooManyRequests, metrics.RefusedRate, wait,
				model.Errorf(model.Overloaded, "more than %v requests a second", a.cfg.RateLimit),
			}
		}
	}
	if a.breaker != nil && a.breaker.State() == gobreaker.StateOpen {
		return a.tripped()
	}
	return nil
}

// enter takes a request in to wait for its answer. Unless it is refused, leave
// is called once with what became of it.
func (a *admission) enter() (leave func(fate), no *refusal) {
	waiting := a.waiting.Add(1)
	if limit, per := a.limit(); waiting > limit {
		a.waiting.Add(-1)
		message := fmt.Sprintf("%d requests are waiting, which is the limit", limit)
		if per {
			message = fmt.Sprintf("%d requests are waiting, which is the limit of %d for each worker", limit, a.cfg.WaitingPerWorker)
		}
		return nil, &refusal{http.StatusServiceUnavailable, metrics.RefusedWaiting, time.Second, model.Errorf(model.Overloaded, "%s", message)}
	}
	tell := func(error) {}
	if a.breaker != nil {
		var err error
		if tell, err = a.breaker.Allow(); err != nil {
			a.waiting.Add(-1)
			return nil, a.tripped()
		}
	}
	a.metrics.Waiting.Inc()
	return func(f fate) {
		tell(f.err())
		a.metrics.Waiting.Dec()
		a.waiting.Add(-1)
	}, nil
}

// limit is how many may wait, and whether it is the workers' number that says
// so. A group without workers gets one's worth: that is what wakes a pool which
// was scaled to zero.
func (a *admission) limit() (n int64, perWorker bool) {
	n = int64(a.cfg.MaxWaiting)
	if a.cfg.WaitingPerWorker == 0 {
		return n, false
	}
	if byWorkers := int64(a.cfg.WaitingPerWorker) * max(1, a.workers.Load()); byWorkers < n {
		return byWorkers, true
	}
	return n, false
}

// hold counts n more bytes of a body, and says whether there is room for them.
// What is held is given back by free.
func (a *admission) hold(n int64) bool {
	if a.buffered.Add(n) > a.cfg.MaxBuffered {
		a.buffered.Add(-n)
		return false
	}
	return true
}

func (a *admission) free(n int64) { a.buffered.Add(-n) }
