package metrics

import "github.com/prometheus/client_golang/prometheus"

// Consumer is what the intake exports.
type Consumer struct {
	QueueLen        prometheus.Gauge
	LagRecords      *prometheus.GaugeVec // topic, partition
	LagSeconds      *prometheus.GaugeVec // topic, partition
	OldestRecord    prometheus.Gauge
	InFlightRecords prometheus.Gauge
	InFlightBytes   prometheus.Gauge
	Consumed        prometheus.Counter
	Rebalances      *prometheus.CounterVec // event
	Commits         *prometheus.CounterVec // result
	FetchErrors     prometheus.Counter
	WatchdogTrips   prometheus.Counter
}

// The values of the label event.
const (
	RebalanceAssigned = "assigned"
	RebalanceRevoked  = "revoked"
	RebalanceLost     = "lost"
)

// The values of the label result.
const (
	ResultOK    = "ok"
	ResultError = "error"
)

// NewConsumer registers the series of a consumer.
func NewConsumer(reg prometheus.Registerer) *Consumer {
	return &Consumer{
		QueueLen: gauge(reg, InferenceQueueLen,
			"Records waiting for this worker, over the partitions that it holds: the sum over all workers is the group's lag."),
		LagRecords: gauges(reg, "millrace_partition_lag_records",
			"Records of a held partition that have no acknowledged answer.", "topic", "partition"),
		LagSeconds: gauges(reg, "millrace_partition_lag_seconds",
			"Age of the oldest record of a held partition that has no acknowledged answer; 0 when there is none.", "topic", "partition"),
		OldestRecord: gauge(reg, "millrace_oldest_record_age_seconds",
			"Age of the oldest record, over the held partitions, that has no acknowledged answer; 0 when there is none."),
		InFlightRecords: gauge(reg, "millrace_in_flight_records", "Records taken in that have no acknowledged answer."),
		InFlightBytes:   gauge(reg, "millrace_in_flight_bytes", "Bytes of keys, values and headers of the records in flight."),
		Consumed:        counter(reg, "millrace_consumed_records_total", "Records taken in."),
		Rebalances: counters(reg, "millrace_rebalances_total",
			"Calls that gave or took partitions, by event.", "event"),
		Commits: counters(reg, "millrace_commits_total", "Offset commits, by result.", "result"),
		FetchErrors: counter(reg, "millrace_fetch_errors_total",
			"Errors that a fetch returned; the client goes on by itself."),
		WatchdogTrips: counter(reg, "millrace_watchdog_trips_total",
			"Times that work in flight made no progress for the watchdog's limit."),
	}
}
