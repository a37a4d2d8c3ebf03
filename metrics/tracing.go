package metrics

import "github.com/prometheus/client_golang/prometheus"

// Tracing is what the export of spans counts. A process that exports none does
// not have these series.
type Tracing struct {
	Spans    prometheus.Counter
	Exported prometheus.Counter
	Failed   prometheus.Counter
}

// NewTracing registers the series of the export of spans.
func NewTracing(reg prometheus.Registerer) *Tracing {
	return &Tracing{
		Spans: counter(reg, "millrace_trace_spans_total",
			"Spans recorded. Those that were neither exported nor failed to be are on their way, or found no room in the queue."),
		Exported: counter(reg, "millrace_trace_spans_exported_total", "Spans that the collector took."),
		Failed:   counter(reg, "millrace_trace_spans_failed_total", "Spans lost because the collector could not be reached, or refused them."),
	}
}
