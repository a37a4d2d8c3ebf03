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

	BlockedPartitions prometheus.Gauge
	Blocks            prometheus.Counter
	HeldPartitions    prometheus.Gauge
	Holds             prometheus.Counter
	Restored          prometheus.Counter
	UncleanEnds       prometheus.Counter
	IsolatedRuns      prometheus.Counter
	PoisonRecords     prometheus.Counter
	AbandonedRecords  prometheus.Counter
}

// The values of the label event.
const (
	RebalanceAssigned    = "assigned"
	RebalanceRevoked     = "revoked"
	RebalanceRevokedLate = "revoked_late" // within a transaction, untold
	RebalanceLost        = "lost"
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
			"Calls that gave or took partitions, by event; revoked_late: seen late to have been taken within a transaction, so that the next worker takes it for an end.", "event"),
		Commits: counters(reg, "millrace_commits_total", "Offset commits, by result.", "result"),
		FetchErrors: counter(reg, "millrace_fetch_errors_total",
			"Errors that a fetch returned; the client goes on by itself."),
		WatchdogTrips: counter(reg, "millrace_watchdog_trips_total",
			"Times that work in flight made no progress for the watchdog's limit."),
		BlockedPartitions: gauge(reg, "millrace_blocked_partitions",
			"Held partitions whose first unanswered record has stood in the way for longer than MILLRACE_BLOCKED_TIMEOUT."),
		Blocks: counter(reg, "millrace_partition_blocks_total",
			"Times that a record came to block its partition."),
		HeldPartitions: gauge(reg, "millrace_paused_partitions",
			"Held partitions whose fetching is paused until their watermark has moved."),
		Holds: counter(reg, "millrace_partition_pauses_total",
			"Times that the fetching of one partition was paused: it ran too far ahead of its watermark, or its records wait under guard."),
		Restored: counter(reg, "millrace_restored_records_total",
			"Records that an earlier worker had answered above the committed offset, and that were not answered again."),
		UncleanEnds: counter(reg, "millrace_unclean_ends_total",
			"Partitions taken over from a worker that had not given them up."),
		IsolatedRuns: counter(reg, "millrace_isolated_records_total",
			"Records run alone because workers had ended among them."),
		PoisonRecords: counter(reg, "millrace_poison_records_total",
			"Records answered with an error, and not run, because workers ended at them."),
		AbandonedRecords: counter(reg, "millrace_unpublishable_records_total",
			"Records answered with an error because the broker does not take their answer."),
	}
}
