package metrics

import "github.com/prometheus/client_golang/prometheus"

// Split is what the dividing of requests among versions exports.
type Split struct {
	Share    *prometheus.GaugeVec   // reference
	Requests *prometheus.CounterVec // reference
	Failures *prometheus.CounterVec // reference
	Trips    *prometheus.CounterVec // reference
}

// NewSplit registers the series of a split.
func NewSplit(reg prometheus.Registerer) *Split {
	return &Split{
		Share: gauges(reg, "millrace_split_share_ratio",
			"Share of the model's requests that run on the version of this reference, 0 to 1; 0 while it is switched off.", "reference"),
		Requests: counters(reg, "millrace_split_requests_total",
			"Requests that were run on the version of this reference because of its share.", "reference"),
		Failures: counters(reg, "millrace_split_failures_total",
			"Requests that the version of this reference failed on by its own fault; they were run once more on the model itself.", "reference"),
		Trips: counters(reg, "millrace_split_trips_total",
			"Times that a version was switched off for failing on more than MILLRACE_SPLIT_MAX_FAILURES of its requests.", "reference"),
	}
}

// Shadow is what the running of a shadow version exports.
type Shadow struct {
	Compared *prometheus.CounterVec   // model, version, primary, result
	Dropped  *prometheus.CounterVec   // reason
	Relative *prometheus.HistogramVec // model, version, primary
	Absolute *prometheus.HistogramVec // model, version, primary
	Queued   prometheus.Gauge
}

// The values of the label result of comparisons.
const (
	ShadowSame    = "same"
	ShadowDiffers = "differs"
	ShadowError   = "error" // the shadow answered with an error
)

// The values of the label reason of what was not compared or not published.
const (
	DroppedFull     = "full"     // the queue had no room
	DroppedStopped  = "stopped"  // the worker stopped before its turn
	DroppedPublish  = "publish"  // compared, but the broker did not take the result
	DroppedUnloaded = "unloaded" // the shadow's version went away since
)

// NewShadow registers the series of a shadow.
func NewShadow(reg prometheus.Registerer) *Shadow {
	s := &Shadow{
		Compared: counters(reg, "millrace_shadow_answers_total",
			"Answers of the shadow beside the one that was given (its version is primary), by result: same, differs, or error when the shadow had no prediction.",
			"model", "version", "primary", "result"),
		Dropped: counters(reg, "millrace_shadow_dropped_total",
			"Requests that were meant for the shadow and are not on its topic, by reason: full (the queue), stopped, publish (the broker did not take the result), unloaded (its version went away).", "reason"),
		Relative: histograms(reg, histogram("millrace_shadow_relative_distance",
			"Largest difference of two numbers of the shadow's and the given answer, relative to the larger; of answers that have the same numbers.",
			[]float64{0, 1e-6, 1e-5, 1e-4, .001, .01, .05, .1, .25, .5, 1, 2}), "model", "version", "primary"),
		Absolute: histograms(reg, histogram("millrace_shadow_absolute_distance",
			"Mean difference of the numbers of the shadow's and the given answer, in the model's unit; of answers that have the same numbers.",
			[]float64{0, 1e-6, 1e-5, 1e-4, .001, .01, .1, 1, 10, 100, 1000, 1e4, 1e5, 1e6}), "model", "version", "primary"),
		Queued: gauge(reg, "millrace_shadow_queued_records", "Requests that wait for the shadow."),
	}
	for _, reason := range []string{DroppedFull, DroppedStopped, DroppedPublish, DroppedUnloaded} {
		s.Dropped.WithLabelValues(reason) // there at 0, so that the first one is an increase
	}
	return s
}
