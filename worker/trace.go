package worker

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/tracing"
)

// follow begins the traces of records whose batch begins. Those that are tried
// once more have theirs.
func (e *executor) follow(items []*item, start time.Time) {
	if e.deps.Traces == nil {
		return
	}
	for _, it := range items {
		if it.trace == nil {
			it.trace = e.deps.Traces.Begin(it.rec, it.queued, start)
		}
	}
}

func (e *executor) followDecode(start time.Time) {
	if e.deps.Traces == nil {
		return
	}
	now := time.Now()
	for _, t := range e.tasks {
		t.trace.Decoded(start, now)
	}
}

func (e *executor) followCall(tasks []task, start time.Time, err error) {
	if e.deps.Traces == nil {
		return
	}
	var traced []*tracing.Request
	for _, t := range tasks {
		if t.trace != nil {
			traced = append(traced, t.trace)
		}
	}
	c := tracing.Call{
		Model: e.snap.Name, Version: e.snap.Version, Records: len(tasks), Rows: e.join.Rows,
		Begun: start, Ended: time.Now(), Err: err,
	}
	if known := (*model.Error)(nil); errors.As(err, &known) {
		c.Code = string(known.Code)
	} else if err != nil {
		c.Code = string(model.Failed)
	}
	e.deps.Traces.Called(traced, c)
}

// followed ends the trace of a record whose answer is acknowledged.
func (it *item) followed(status string, now time.Time) {
	if it.trace == nil {
		return
	}
	o := tracing.Outcome{
		Status: status, Model: it.answer.ModelName, Version: it.answer.ModelVersion,
		Answered: it.answered, Acked: now,
	}
	if ours(model.Code(status)) {
		o.Message = it.answer.Message
	}
	it.trace.End(o)
}

// observeLatency notes the trace beside the latency, as an exemplar.
func (it *item) observeLatency(seconds float64) {
	if it.trace != nil {
		if o, ok := it.series.latency.(prometheus.ExemplarObserver); ok {
			traceID, spanID := it.trace.IDs()
			o.ObserveWithExemplar(seconds, prometheus.Labels{"trace_id": traceID, "span_id": spanID})
			return
		}
	}
	it.series.latency.Observe(seconds)
}
