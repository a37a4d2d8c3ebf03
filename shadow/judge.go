package shadow

import (
	"context"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/metrics"
	"github.com/millrace/millrace/model"
)

// Judge is the publisher and the witness of the pool that runs the shadow.
type Judge struct{ r *Runner }

// Judge returns what the runner's pool publishes to.
func (r *Runner) Judge() Judge { return Judge{r} }

// Acquire gives the shadow's snapshot, whatever the name.
func (j Judge) Acquire(string) (*model.Snapshot, error) { return j.r.deps.Source.Acquire("") }

// Publish acknowledges at once: the broker is Answered's business.
func (Judge) Publish(_ context.Context, a *wire.Answer, acked func(string, error)) {
	acked(a.Status, nil)
}

// Wants keeps all outputs.
func (Judge) Wants(*kgo.Record, *model.Snapshot) bool { return true }

// Answered compares an answer of the shadow with the one that was given, and
// publishes it.
func (j Judge) Answered(a *wire.Answer, outputs []model.Tensor) {
	given, ok := a.Request.Context.Value(jobKey{}).(*job)
	if !ok {
		return
	}
	r := j.r
	if a.ModelName == "" { // it went away since it was wanted
		r.drop(metrics.DroppedUnloaded, 1)
		return
	}
	result, d := metrics.ShadowError, apart()
	if a.OK() {
		d = compare(outputs, given.outputs, a.Value, given.answer.Value, r.cfg.Tolerance)
		if result = metrics.ShadowSame; d.differs {
			result = metrics.ShadowDiffers
		}
	}
	r.answers.Add(1)
	if d.differs {
		r.differ.Add(1)
	}
	m, name, version, primary := r.deps.Metrics, a.ModelName, a.ModelVersion, given.answer.ModelVersion
	m.Compared.WithLabelValues(name, version, primary, result).Inc()
	if d.numbers > 0 {
		m.Relative.WithLabelValues(name, version, primary).Observe(d.largest)
		m.Absolute.WithLabelValues(name, version, primary).Observe(d.mean())
	}
	if r.deps.Topic != "" {
		r.publish(record(r.deps.Topic, a, given.answer, &d))
	}
}

// publish hands a result to the client, which drops it when its buffer is full.
func (r *Runner) publish(rec *kgo.Record) {
	r.cl.TryProduce(context.Background(), rec, func(_ *kgo.Record, err error) {
		if err == nil {
			r.refused.Store(false)
			return
		}
		r.drop(metrics.DroppedPublish, 1)
		if !r.refused.Swap(true) {
			r.deps.Log.Warn("results of the shadow are not taken; they are dropped and counted", "topic", r.deps.Topic, "error", err)
		}
	})
}

// record is a shadow's answer on its topic: the request's key, the headers of an
// answer, and beside them who answered the request and how far apart they are.
func record(topic string, a, given *wire.Answer, d *difference) *kgo.Record {
	req := given.Request
	r := &kgo.Record{Topic: topic, Partition: req.Partition, Key: req.Key, Value: a.Value, Headers: make([]kgo.RecordHeader, 0, 16)}
	add := func(key, value string) {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: key, Value: []byte(value)})
	}
	add(wire.ContentType, a.ContentType)
	add(wire.Source, "millrace")
	add(wire.Type, wire.ShadowType)
	add(wire.SpecVersion, "1.0")
	add(wire.ModelName, a.ModelName)
	add(wire.ModelVersion, a.ModelVersion)
	add(wire.Status, a.Status)
	add(wire.PrimaryName, given.ModelName)
	add(wire.PrimaryVersion, given.ModelVersion)
	add(wire.Differs, strconv.FormatBool(d.differs))
	if d.numbers > 0 {
		add(wire.Distance, strconv.FormatFloat(d.largest, 'g', -1, 64))
		add(wire.AbsoluteDistance, strconv.FormatFloat(d.mean(), 'g', -1, 64))
	}
	for _, key := range []string{wire.CorrelationID, wire.TraceParent, wire.TraceState, wire.OriginalID} {
		if v, ok := wire.Header(req, key); ok {
			add(key, string(v))
		}
	}
	add(wire.ID, string(wire.AppendID(nil, req)))
	return r
}
