package metrics

import "github.com/prometheus/client_golang/prometheus"

// Announce is what the pool's asking as one exports.
type Announce struct {
	Elected  prometheus.Gauge
	Records  *prometheus.CounterVec // kind, result
	Alone    prometheus.Counter
	Webhooks *prometheus.CounterVec // result
}

// NewAnnounce registers the series of the announcements.
func NewAnnounce(reg prometheus.Registerer) *Announce {
	return &Announce{
		Elected: gauge(reg, "millrace_model_poller",
			"1 while this worker asks the registry for the pool; the sum is 1."),
		Records: counters(reg, "millrace_model_announcements_total",
			"Records of the topic of models, by kind (answer, want, nudge, withdrawn) and result (written, read, stale, unreadable, too many, error).", "kind", "result"),
		Alone: counter(reg, "millrace_model_unannounced_polls_total",
			"Times that this worker asked the registry by itself, since nothing was announced of late."),
		Webhooks: counters(reg, "millrace_webhooks_total",
			"Deliveries to the webhook, by result: taken, or refused for their signature, time or size.", "result"),
	}
}
