// Package scalers gives the triggers that the chart renders to KEDA's own scalers,
// which read a broker, and a real Prometheus that scrapes a real worker and a real
// gateway. It is a module of its own, for KEDA takes long to build.
package scalers
