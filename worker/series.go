package worker

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/metrics"
	"github.com/millrace/millrace/model"
)

// series are the children of a model's metrics, looked up once a batch.
type series struct {
	latency  prometheus.Observer
	requests prometheus.Counter // of predictions
	publish  prometheus.Observer
}

func newSeries(m *metrics.Worker, name, version string) *series {
	s := &series{
		latency: m.Latency.WithLabelValues(name, version),
		publish: m.Phase.WithLabelValues(metrics.PhasePublish),
	}
	if name != "" { // without a model there are no predictions
		s.requests = m.Requests.WithLabelValues(string(model.OK), name, version)
	}
	return s
}

// observe counts an acknowledged answer, under the status it was published
// with: the publisher may have refused where it should go, or its size.
func (p *Pool) observe(it *item, status string) {
	a, now := it.answer, time.Now()
	it.observeLatency(max(now.Sub(it.rec.Timestamp).Seconds(), 0))
	it.series.publish.Observe(now.Sub(it.answered).Seconds())
	it.followed(status, now)
	if status == string(model.OK) {
		it.series.requests.Inc()
		return
	}
	p.deps.Metrics.Requests.WithLabelValues(status, a.ModelName, a.ModelVersion).Inc()
	p.deps.Metrics.Errors.WithLabelValues(status, a.ModelName, a.ModelVersion).Inc()
}
