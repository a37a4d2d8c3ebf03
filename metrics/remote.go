package metrics

import "github.com/prometheus/client_golang/prometheus"

// Remote is what calls of models that are served elsewhere export.
type Remote struct {
	Requests *prometheus.CounterVec   // model, result
	Seconds  *prometheus.HistogramVec // model
	Retries  *prometheus.CounterVec   // model
	Breaker  *prometheus.GaugeVec     // model
}

// The values of a breaker's gauge.
const (
	BreakerClosed   = 0
	BreakerHalfOpen = 1
	BreakerOpen     = 2
)

// NewRemote registers the series of remote models.
func NewRemote(reg prometheus.Registerer) *Remote {
	return &Remote{
		Requests: counters(reg, "millrace_remote_requests_total",
			"Requests to the endpoint of a remote model, by result: ok, invalid, failed, unavailable, or broken (kept back by the breaker).", "model", "result"),
		Seconds: histograms(reg, histogram("millrace_remote_request_seconds",
			"Seconds from a request to the endpoint of a remote model to the end of its answer.", seconds()), "model"),
		Retries: counters(reg, "millrace_remote_retries_total",
			"Requests to the endpoint of a remote model that were sent again.", "model"),
		Breaker: gauges(reg, "millrace_remote_breaker_state",
			"Breaker of the endpoint of a remote model: 0 closed, 1 half-open, 2 open.", "model"),
	}
}
