package metrics

import "github.com/prometheus/client_golang/prometheus"

// Worker is what a pool of executors exports. Labels model and version are
// empty for an answer that no model was reached for.
type Worker struct {
	Latency      *prometheus.HistogramVec // model, version
	QueueLatency prometheus.Histogram
	Requests     *prometheus.CounterVec   // code, model, version
	Errors       *prometheus.CounterVec   // code, model, version
	Phase        *prometheus.HistogramVec // phase
	BatchRecords prometheus.Histogram
	BatchRows    prometheus.Histogram
	BatchSplits  prometheus.Counter
	Retries      prometheus.Counter
	// PredictTimeouts are calls that took longer than they may.
	PredictTimeouts prometheus.Counter
	Cancelled       prometheus.Counter
	Queued          prometheus.Gauge
	Running         prometheus.Gauge
}

// The values of the label phase.
const (
	PhaseDecode  = "decode"  // a batch's bodies into tensors
	PhaseWait    = "wait"    // from being handed to the pool to the start of the batch, a record
	PhasePredict = "predict" // one call of the model
	PhaseLoad    = "load"    // of the wait, what a record spent waiting for its model to load
	PhasePublish = "publish" // from the answer to the broker's acknowledgement, a record
)

// NewWorker registers the series of a worker's pool.
func NewWorker(reg prometheus.Registerer) *Worker {
	sizes := []float64{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024}
	return &Worker{
		Latency: histograms(reg, histogram(InferenceLatency,
			"What the requester feels: seconds from the request's timestamp to the acknowledged answer, errors included.",
			seconds()), "model", "version"),
		QueueLatency: register(reg, prometheus.NewHistogram(histogram(InferenceQueue,
			"Seconds from the request's timestamp to the start of its batch: the part that more workers can help.",
			seconds()))),
		Requests: counters(reg, InferenceRequests,
			"Answers acknowledged by the broker, by outcome: ok or an error code.", "code", "model", "version"),
		Errors: counters(reg, InferenceErrors,
			"Answers acknowledged by the broker that are errors, by error code.", "code", "model", "version"),
		Phase: histograms(reg, histogram("millrace_phase_seconds",
			"Seconds in each phase of the path: wait, load (for its model, a part of wait) and publish a record, decode and predict a batch.",
			seconds()), "phase"),
		BatchRecords: register(reg, prometheus.NewHistogram(histogram("millrace_batch_records",
			"Records in one call of the model.", sizes))),
		BatchRows: register(reg, prometheus.NewHistogram(histogram("millrace_batch_rows",
			"Rows in one call of the model.", sizes))),
		BatchSplits: counter(reg, "millrace_batch_splits_total",
			"Batches that failed and were split to find the request at fault."),
		Retries: counter(reg, "millrace_predict_retries_total",
			"Calls of the model tried again after a failure that may pass."),
		PredictTimeouts: counter(reg, "millrace_predict_timeouts_total",
			"Calls of the model that were ended because they took longer than MILLRACE_PREDICT_TIMEOUT."),
		Cancelled: counter(reg, "millrace_cancelled_requests_total",
			"Requests that were not run because their caller had gone away; they count as DEADLINE_EXCEEDED."),
		Queued:  gauge(reg, "millrace_queued_records", "Records handed to the pool that no executor has taken."),
		Running: gauge(reg, "millrace_running_records", "Records that executors are working on."),
	}
}

// Announce makes the series of a model version that is about to serve, at 0: a
// rate misses what a series first appears with, and a query of one that is not
// there yet finds nothing. ok is the code of a prediction, failures are all
// others.
func (w *Worker) Announce(model, version, ok string, failures ...string) {
	w.Latency.WithLabelValues(model, version)
	w.Requests.WithLabelValues(ok, model, version)
	for _, code := range failures {
		w.Requests.WithLabelValues(code, model, version)
		w.Errors.WithLabelValues(code, model, version)
	}
}
