package metrics

import "github.com/prometheus/client_golang/prometheus"

// Models is what the following of model versions exports.
type Models struct {
	Loads       *prometheus.CounterVec // model, result
	LoadSeconds prometheus.Histogram
	Swaps       *prometheus.CounterVec // model
	Polls       *prometheus.CounterVec // model, result
	Serving     *prometheus.GaugeVec   // model, version, flavor
	LastPoll    *prometheus.GaugeVec   // model
	Unloads     *prometheus.CounterVec // model, reason
	Bytes       *prometheus.GaugeVec   // model, version

	ProcessResident *prometheus.GaugeVec   // model, version
	ProcessRestarts *prometheus.CounterVec // model, version, reason
	Steps           *prometheus.CounterVec // model, step
	StepSeconds     *prometheus.HistogramVec
	Distance        *prometheus.GaugeVec   // model
	Rollbacks       *prometheus.CounterVec // model, reason
	OnProbation     *prometheus.GaugeVec   // model
	LeftAlone       *prometheus.GaugeVec   // model
}

// NewModels registers the series of the models served.
func NewModels(reg prometheus.Registerer) *Models {
	long := []float64{.01, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300}
	return &Models{
		Loads: counters(reg, "millrace_model_loads_total",
			"Model versions loaded (downloaded, opened, warmed), by result: ok or error.", "model", "result"),
		LoadSeconds: register(reg, prometheus.NewHistogram(histogram("millrace_model_load_seconds",
			"Seconds to download, open and warm a model version.",
			long))),
		Swaps: counters(reg, "millrace_model_swaps_total",
			"Times that a model version took the place of another.", "model"),
		Polls: counters(reg, "millrace_model_polls_total",
			"Times that the registry was asked what the reference names, by result: ok or error.", "model", "result"),
		Serving: gauges(reg, "millrace_model_info",
			"1 for the model version that is serving.", "model", "version", "flavor"),
		LastPoll: gauges(reg, "millrace_model_last_poll_timestamp_seconds",
			"When the registry last answered what the reference names, in seconds since 1970.", "model"),
		Unloads: counters(reg, "millrace_model_unloads_total",
			"Models unloaded without an heir, by reason: budget (of memory) or unused (one loaded on demand).", "model", "reason"),
		Bytes: gauges(reg, "millrace_model_memory_bytes",
			"Memory that a loaded model version takes, by estimate.", "model", "version"),
		ProcessResident: gauges(reg, "millrace_model_process_resident_bytes",
			"Memory that the processes of a python_function model's version hold.", "model", "version"),
		ProcessRestarts: counters(reg, "millrace_model_process_restarts_total",
			"Processes of a python_function model that others took the place of, by reason: crash, timeout, protocol or memory.", "model", "version", "reason"),
		Steps: counters(reg, "millrace_model_steps_total",
			"Steps that versions took: resolved, downloaded, loaded, warmed, compared, swapped, kept, refused, rolled_back.", "model", "step"),
		StepSeconds: histograms(reg, histogram("millrace_model_step_seconds",
			"Seconds that a step took: downloaded, loaded, warmed, compared.", long), "step"),
		Distance: gauges(reg, "millrace_model_distance",
			"How far the answers of the newest version compared are from those of the version that served, on the input examples: 0 the same, 2 the opposite.", "model"),
		Rollbacks: counters(reg, "millrace_model_rollbacks_total",
			"Versions that were taken back by themselves, by reason: failures, latency or pool (another worker found so).", "model", "reason"),
		OnProbation: gauges(reg, "millrace_model_on_probation",
			"1 while the version before is kept in memory to go back to.", "model"),
		LeftAlone: gauges(reg, "millrace_model_left_alone",
			"1 while the reference names a version that was rolled back.", "model"),
	}
}

// Announce makes at 0 the series of a model that is about to serve whose first
// step an alert or a panel waits for: an increase is not seen of a series that
// begins with it. reasons are those of a rollback.
func (m *Models) Announce(model string, reasons ...string) {
	m.Loads.WithLabelValues(model, ResultError)
	for _, reason := range reasons {
		m.Rollbacks.WithLabelValues(model, reason)
	}
	m.OnProbation.WithLabelValues(model)
	m.LeftAlone.WithLabelValues(model)
}
