package metrics

import "github.com/prometheus/client_golang/prometheus"

// Gateway is what the HTTP gateway exports.
type Gateway struct {
	Requests *prometheus.CounterVec // code
	Latency  prometheus.Histogram
	Waiting  prometheus.Gauge
	Refused  *prometheus.CounterVec // reason
	Gone     prometheus.Counter
	Orphans  prometheus.Counter
	GroupLag *prometheus.GaugeVec // group, topic
	LagErrs  prometheus.Counter

	GroupLagSeconds *prometheus.GaugeVec // group, topic

	Workers           prometheus.Gauge
	Cards             prometheus.Gauge
	Breaker           *prometheus.GaugeVec // state
	AuthErrs          prometheus.Counter
	CertificateExpiry prometheus.Gauge
	Suppressed        prometheus.Counter
}

// Why a gateway refuses a request without publishing it.
const (
	RefusedWaiting  = "waiting"  // as many wait as may
	RefusedRate     = "rate"     // more come than the rate allows
	RefusedBreaker  = "breaker"  // the breaker is open
	RefusedMemory   = "memory"   // the bodies hold as much as they may
	RefusedIdentity = "identity" // the caller did not prove who it is
)

// NewGateway registers the series of a gateway.
func NewGateway(reg prometheus.Registerer) *Gateway {
	g := &Gateway{
		Requests: counters(reg, "millrace_gateway_requests_total",
			"Requests for a prediction, by HTTP status, or over gRPC by the one that HTTP would have had; 499 is a client that went away.", "code"),
		Latency: register(reg, prometheus.NewHistogram(histogram("millrace_gateway_latency_seconds",
			"Seconds from a request for a prediction to its response.", seconds()))),
		Waiting: gauge(reg, "millrace_gateway_waiting_requests", "Requests that wait for their answer."),
		Refused: counters(reg, "millrace_gateway_refused_requests_total",
			"Requests refused at the door, by reason: waiting, rate, breaker, memory, identity.", "reason"),
		Gone: counter(reg, "millrace_gateway_client_gone_total",
			"Requests whose client went away before the answer."),
		Orphans: counter(reg, "millrace_gateway_orphan_replies_total",
			"Replies that nobody was waiting for any more."),
		GroupLag: gauges(reg, "millrace_group_lag_records",
			"Records that the whole group has not committed or, a share group, is not done with, seen from outside it: right with no worker alive.",
			"group", "topic"),
		GroupLagSeconds: gauges(reg, "millrace_group_lag_seconds",
			"Age of the oldest record that the whole group has not committed, seen from outside it; absent for a share group.", "group", "topic"),
		LagErrs: counter(reg, "millrace_group_lag_errors_total",
			"Times that the group's lag could not be read from the broker."),
		Workers: gauge(reg, "millrace_gateway_workers", "Workers in the group, as the gateway last saw it."),
		Cards:   gauge(reg, "millrace_gateway_cards", "Versions of models that workers say they serve, by the topic of model cards."),
		Breaker: gauges(reg, "millrace_gateway_breaker_state",
			"1 for the state that the breaker is in: closed, open, half-open. Absent when there is none.", "state"),
		AuthErrs: counter(reg, "millrace_gateway_auth_errors_total",
			"Times that the file of tokens or the set of keys could not be read; the last good one holds."),
		CertificateExpiry: gauge(reg, "millrace_gateway_certificate_expiry_timestamp_seconds",
			"When the certificate that is served expires, in Unix seconds; 0 without TLS."),
		Suppressed: counter(reg, "millrace_gateway_access_lines_suppressed_total",
			"Lines of the access log that were not written, for there were more in a second than MILLRACE_GATEWAY_ACCESS_LOG_RATE allows."),
	}
	for _, reason := range []string{RefusedWaiting, RefusedRate, RefusedBreaker, RefusedMemory, RefusedIdentity} {
		g.Refused.WithLabelValues(reason) // there at 0, so that the first one is an increase
	}
	return g
}

// Predictions is what a gateway keeps of asynchronous requests.
type Predictions struct {
	Kept    prometheus.Gauge
	Bytes   prometheus.Gauge
	Evicted prometheus.Counter
}

// NewPredictions registers the series of asynchronous requests.
func NewPredictions(reg prometheus.Registerer) *Predictions {
	return &Predictions{
		Kept:  gauge(reg, "millrace_gateway_predictions", "Asynchronous predictions that the gateway knows, pending ones included."),
		Bytes: gauge(reg, "millrace_gateway_predictions_bytes", "Bytes that they take, about."),
		Evicted: counter(reg, "millrace_gateway_predictions_evicted_total",
			"Asynchronous predictions forgotten before their time, for want of room."),
	}
}
