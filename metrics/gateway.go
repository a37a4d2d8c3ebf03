package metrics

import "github.com/prometheus/client_golang/prometheus"

// Gateway is what the HTTP gateway exports.
type Gateway struct {
	Requests *prometheus.CounterVec // code
	Latency  prometheus.Histogram
	Waiting  prometheus.Gauge
	Refused  prometheus.Counter
	Gone     prometheus.Counter
	Orphans  prometheus.Counter
	GroupLag *prometheus.GaugeVec // group, topic
	LagErrs  prometheus.Counter
}

// NewGateway registers the series of a gateway.
func NewGateway(reg prometheus.Registerer) *Gateway {
	return &Gateway{
		Requests: counters(reg, "millrace_gateway_requests_total",
			"HTTP requests for a prediction, by HTTP status; 499 is a client that went away.", "code"),
		Latency: register(reg, prometheus.NewHistogram(histogram("millrace_gateway_latency_seconds",
			"Seconds from an HTTP request for a prediction to its response.", seconds()))),
		Waiting: gauge(reg, "millrace_gateway_waiting_requests", "HTTP requests that wait for their answer."),
		Refused: counter(reg, "millrace_gateway_refused_requests_total",
			"HTTP requests refused because the bounded number was waiting."),
		Gone: counter(reg, "millrace_gateway_client_gone_total",
			"HTTP requests whose client went away before the answer."),
		Orphans: counter(reg, "millrace_gateway_orphan_replies_total",
			"Replies that nobody was waiting for any more."),
		GroupLag: gauges(reg, "millrace_group_lag_records",
			"Records that the whole group has not committed or, a share group, is not done with, seen from outside it: right with no worker alive.",
			"group", "topic"),
		LagErrs: counter(reg, "millrace_group_lag_errors_total",
			"Times that the group's lag could not be read from the broker."),
	}
}
