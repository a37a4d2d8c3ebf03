package main

import (
	"github.com/millrace/millrace/metrics"
	"github.com/millrace/millrace/model/pyfunc"
)

// processObserver counts what becomes of the processes of python_function
// models.
type processObserver struct{ m *metrics.Models }

func (o processObserver) Resident(name, version string, bytes int64) {
	o.m.ProcessResident.WithLabelValues(name, version).Set(float64(bytes))
	for _, why := range []pyfunc.Reason{pyfunc.Crashed, pyfunc.TimedOut, pyfunc.Confused, pyfunc.OverLimit} {
		o.m.ProcessRestarts.WithLabelValues(name, version, string(why)) // there at 0, so that the first one is an increase
	}
}

func (o processObserver) Restarted(name, version string, why pyfunc.Reason) {
	o.m.ProcessRestarts.WithLabelValues(name, version, string(why)).Inc()
}

func (o processObserver) Closed(name, version string) {
	o.m.ProcessResident.DeleteLabelValues(name, version)
}
