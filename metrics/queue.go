package metrics

import "github.com/prometheus/client_golang/prometheus"

// Queue is what delivery by a share group exports beside the intake's series.
type Queue struct {
	Acks        *prometheus.CounterVec // type, result
	Redelivered prometheus.Counter
	Alone       prometheus.Counter
	Exhausted   prometheus.Counter
}

// The values of the label type of acknowledgements.
const (
	AckAccept  = "accept"  // answered
	AckRelease = "release" // not answered: another delivery
	AckReject  = "reject"  // answered with an error and dead-lettered
	AckRenew   = "renew"   // still at work
)

// NewQueue registers the series of queue delivery.
func NewQueue(reg prometheus.Registerer) *Queue {
	return &Queue{
		Acks: counters(reg, "millrace_queue_acks_total",
			"Acknowledgements of requests to the share group's broker, by type (accept, release, reject, renew) and result (ok, error).",
			"type", "result"),
		Redelivered: counter(reg, "millrace_queue_redelivered_records_total",
			"Records taken in that had been delivered before."),
		Alone: counter(reg, "millrace_queue_isolated_records_total",
			"Records run alone because few deliveries were left to them."),
		Exhausted: counter(reg, "millrace_queue_exhausted_records_total",
			"Records answered with an error, and not run, because no delivery of them had led to an answer."),
	}
}
