// Package integration holds the tests that run against the real Apache Kafka and
// the real MLflow, behind the build tag of the same name. README.md tells how.
package integration
