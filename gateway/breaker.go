package gateway

import (
	"errors"
	"net/http"

	"github.com/sony/gobreaker/v2"

	"github.com/millrace/millrace/metrics"
	"github.com/millrace/millrace/model"
)

// fate is what became of a request, as the breaker sees it.
type fate uint8

const (
	fateAnswered fate = iota // something behind the gateway works
	fateTimedOut             // no answer in time
	fateUnknown              // the client went away, or the gateway did: it says nothing
)

var (
	errTimedOut = errors.New("timed out")
	errNoWord   = errors.New("nothing is known")
)

func (f fate) err() error {
	switch f {
	case fateTimedOut:
		return errTimedOut
	case fateUnknown:
		return errNoWord
	case fateAnswered:
	}
	return nil
}

// newBreaker makes a circuit breaker that opens at the set number of timeouts in a
// row, lets one request through after the pause, and closes when that is answered.
func newBreaker(cfg AdmissionConfig, m *metrics.Gateway) *gobreaker.TwoStepCircuitBreaker[struct{}] {
	show := func(now gobreaker.State) {
		for state, name := range map[gobreaker.State]string{
			gobreaker.StateClosed: "closed", gobreaker.StateHalfOpen: "half-open", gobreaker.StateOpen: "open",
		} {
			value := 0.0
			if state == now {
				value = 1
			}
			m.Breaker.WithLabelValues(name).Set(value)
		}
	}
	show(gobreaker.StateClosed)
	return gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests: 1,
		Timeout:     cfg.BreakerPause,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			return int64(c.ConsecutiveFailures) >= int64(cfg.BreakerTimeouts)
		},
		IsExcluded:    func(err error) bool { return errors.Is(err, errNoWord) },
		OnStateChange: func(_ string, _, now gobreaker.State) { show(now) },
	})
}

// tripped refuses because of the breaker.
func (a *admission) tripped() *refusal {
	return &refusal{
		http.StatusServiceUnavailable, metrics.RefusedBreaker, a.cfg.BreakerPause,
		model.Errorf(model.Unavailable, "the last %d requests got no answer in time; one is let through after %s",
			a.cfg.BreakerTimeouts, a.cfg.BreakerPause),
	}
}
