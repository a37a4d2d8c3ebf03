// Package metrics names every series that Millrace exports, and nothing else
// does. A series is a field of the part that moves it, so that none can be
// declared without an owner; the parts' tests hold that each one is moved
// through the real path.
package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The names that dashboards, alerts and the scaler stand on. They are the
// predecessor's, kept so that its queries work, against the linter's taste
// where need be.
const (
	InferenceLatency  = "inference_latency_seconds"
	InferenceQueue    = "inference_queue_latency"
	InferenceQueueLen = "inference_queue_len"
	InferenceErrors   = "inference_errors_total"
	InferenceRequests = "inference_requests_total"
)

// seconds are the classic buckets of every latency: the predecessor's from
// 10 ms up, finer ones below for models that answer in microseconds.
func seconds() []float64 {
	return []float64{
		.0001, .00025, .0005, .001, .0025, .005,
		.01, .025, .05, .1, .25, .5, 1, 2, 5, 10, 30,
	}
}

// histogram has classic buckets and a native histogram beside them.
func histogram(name, help string, buckets []float64) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  160,
		NativeHistogramMinResetDuration: time.Hour,
	}
}

func register[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	reg.MustRegister(c)
	return c
}

func counter(reg prometheus.Registerer, name, help string) prometheus.Counter {
	return register(reg, prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help}))
}

func counters(reg prometheus.Registerer, name, help string, labels ...string) *prometheus.CounterVec {
	return register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels))
}

func gauge(reg prometheus.Registerer, name, help string) prometheus.Gauge {
	return register(reg, prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help}))
}

func gauges(reg prometheus.Registerer, name, help string, labels ...string) *prometheus.GaugeVec {
	return register(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels))
}

func histograms(reg prometheus.Registerer, opts prometheus.HistogramOpts, labels ...string) *prometheus.HistogramVec {
	return register(reg, prometheus.NewHistogramVec(opts, labels))
}
