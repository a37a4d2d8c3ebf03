// Package autoscale has the whole path of scaling run on one machine: Kubernetes' control
// plane and KEDA as they are released, built from their modules; Apache Kafka and
// Prometheus; workers and a gateway as pods, as the chart renders them. The test is behind
// the build tag autoscale, for the two large programs are built first: `make test-autoscale`.
package autoscale
