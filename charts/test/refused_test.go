package test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheSchemaRefuses(t *testing.T) {
	refuses(t, map[string]string{
		"config: {MILLRACE_GRUOP: a}":                                       "MILLRACE_GRUOP",
		"worker: {config: {MILLRACE_MAX_BATCH: many}}":                      "MILLRACE_MAX_BATCH",
		"config: {MILLRACE_DRAIN_TIMEOUT: 20}":                              "MILLRACE_DRAIN_TIMEOUT",
		"config: {MILLRACE_DRAIN_TIMEOUT: 20 s}":                            "MILLRACE_DRAIN_TIMEOUT",
		"config: {MILLRACE_ORDERED: perhaps}":                               "MILLRACE_ORDERED",
		"config: {MILLRACE_DELIVERY: twice}":                                "MILLRACE_DELIVERY",
		"config: {MILLRACE_UP_DATA_DIR: x}":                                 "MILLRACE_UP_DATA_DIR",
		"config: {MILLRACE_KAFKA_SASL_PASSWORD: hunter2}":                   "MILLRACE_KAFKA_SASL_PASSWORD",
		"worker: {extraEnv: [{name: MILLRACE_MODEL, value: x}]}":            "extraEnv",
		"secrets: {env: {MILLRACE_REMOTE_TOKEN: hunter2}}":                  "MILLRACE_REMOTE_TOKEN",
		"secrets: {env: {MILLRACE_MODEL: {name: a, key: b}}}":               "invalid propertyName 'MILLRACE_MODEL'",
		"secrets: {kafka: {password: hunter2}}":                             "password",
		"worker: {replica: 3}":                                              "replica",
		"worker: {resources: {limit: {cpu: 1}}}":                            "limit",
		"worker: {modelCache: {size: 4GB}}":                                 "size",
		"keda: {minReplicas: -1}":                                           "minReplicas",
		"keda: {lag: {threshold: 0}}":                                       "threshold",
		"keda: {latency: {threshold: 0}}":                                   "threshold",
		"keda: {latency: {window: 1m30s}}":                                  "window",
		"keda: {fallback: {behavior: hope}}":                                "behavior",
		"keda: {prometheus: {serverAddress: prometheus:9090}}":              "serverAddress",
		"keda: {scaleUp: {stabilizationWindowSeconds: 7200}}":               "stabilizationWindowSeconds",
		"keda: {cron: [{timezone: UTC, start: 0 8 * * *, end: 0 9 * * *}]}": "desiredReplicas",
		"image: {digest: latest}":                                           "digest",
		"gateway: {service: {port: 70000}}":                                 "port",
		"rules: {runbookBase: docs/runbooks}":                               "runbookBase",
		"cost: {replicaHour: cheap}":                                        "replicaHour",
		"scaling: {}":                                                       "scaling",
	})
}

// What a schema cannot say.
func TestTheTemplatesRefuse(t *testing.T) {
	refuses(t, map[string]string{
		"keda: {maxReplicas: 13}":                                                           "keda.maxReplicas: 13 workers for 12 partitions",
		"config: {MILLRACE_ROUTES: a=m}\nkeda: {maxReplicas: 25}":                           "25 workers for 24 partitions",
		"config: {MILLRACE_ROUTES: a=m}\nkeda: {minReplicas: 0}\ngateway: {enabled: false}": "0 needs gateway.enabled",

		"keda: {minReplicas: 11}":                "above keda.maxReplicas",
		"secrets: {kafka: {name: x}}":            "no mechanism",
		"secrets: {kafkaTLS: {name: x}}":         "nothing would be encrypted",
		"keda: {fallback: {replicas: 11}}":       "keda.fallback.replicas",
		"worker: {config: {MILLRACE_GROUP: a}}":  "config.MILLRACE_GROUP: workers and gateways have to have the same",
		"config: {MILLRACE_MODEL_CACHE_DIR: /x}": "config.MILLRACE_MODEL_CACHE_DIR: the chart sets it",

		"keda: {maxReplicas: 25, partitions: 24}":             "25 workers for 24 partitions",
		"config: {MILLRACE_MODEL_CACHE_QUOTA: 0}":             "MILLRACE_MODEL_CACHE_QUOTA: 0 is more",
		"keda: {minReplicas: 0, lag: {enabled: false}}":       "nothing else wakes a pool",
		"keda: {enabled: false}\nworker: {replicas: 13}":      "worker.replicas: 13 workers for 12 partitions",
		"keda: {minReplicas: 0, lag: {source: workers}}":      "0 needs keda.lag.source=kafka",
		"config: {MILLRACE_KAFKA_SASL_MECHANISM: PLAIN}":      "secrets.kafka.name: the mechanism PLAIN needs a secret",
		"config: {MILLRACE_MODEL_CACHE_QUOTA: 5000000000}":    "MILLRACE_MODEL_CACHE_QUOTA: 5000000000 is more than worker.modelCache.size, 4Gi",
		"gateway: {enabled: false, ingress: {enabled: true}}": "there is no gateway",

		"keda: {lag: {enabled: false}, latency: {enabled: false}, cpu: {enabled: false}}":            "no trigger is enabled",
		"config: {MILLRACE_DELIVERY: queue}\nkeda: {minReplicas: 0}\ngateway: {enabled: false}":      "0 needs gateway.enabled",
		"secrets: {mlflow: {name: a, tokenKey: b}, env: {MLFLOW_TRACKING_TOKEN: {name: a, key: b}}}": "secrets.mlflow has it",
	})
}

func refuses(t *testing.T, wrong map[string]string) {
	t.Helper()
	for values, says := range wrong {
		t.Run(values, func(t *testing.T) {
			_, err := render(chart, values)
			require.ErrorContains(t, err, says)
		})
	}
}
