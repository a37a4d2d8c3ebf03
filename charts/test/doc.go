// Package test renders the chart with Helm's own code and holds what comes out
// against what will read it: Kubernetes' OpenAPI, and the definitions of KEDA's and
// the Prometheus operator's objects. It is a module of its own, so that Millrace
// does not depend on any of them.
package test
