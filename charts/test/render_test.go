package test

import (
	"flag"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

const chart = "../millrace"

var update = flag.Bool("update", false, "write the files that tests compare with anew")

// definitions are read once: they are large.
var definitions = sync.OnceValues(fetchSchemas)

// rendered is a chart that the schema takes.
func rendered(t *testing.T, values string) release {
	t.Helper()
	r, err := render(chart, values)
	require.NoError(t, err)
	return r
}

// matrix are values that operators have, each beside the defaults.
func matrix() map[string]string {
	return map[string]string{
		"defaults":     "",
		"exactly once": "config: {MILLRACE_DELIVERY: exactly-once}",
		"queue":        "config: {MILLRACE_DELIVERY: queue}\nkeda: {maxReplicas: 50}",
		"queue without gateways": `
config: {MILLRACE_DELIVERY: queue}
gateway: {enabled: false}`,
		"without KEDA":       "keda: {enabled: false}\nworker: {replicas: 5}",
		"asleep":             "keda: {minReplicas: 0, lag: {activation: 5}}\nrules: {enabled: true}",
		"lag alone":          "keda: {latency: {enabled: false}, cpu: {enabled: false}}",
		"several topics":     "config: {MILLRACE_ROUTES: [urgent=fraud, inference.requests=forecaster, 'slow=vision@v2']}\nkeda: {maxReplicas: 36}",
		"lag by the workers": "keda: {lag: {source: workers, threshold: 3000}}\nmetrics: {operator: {enabled: true}}",
		"by the clock": `
keda:
  cron: [{timezone: Europe/Berlin, start: 0 8 * * 1-5, end: 0 18 * * 1-5, desiredReplicas: 8}]`,
		"Prometheus with a token": "keda: {prometheus: {authModes: bearer, authenticationRef: elsewhere, selector: 'team=\"a\"'}}",
		"SCRAM over mutual TLS": `
config: {MILLRACE_KAFKA_SASL_MECHANISM: SCRAM-SHA-512, MILLRACE_KAFKA_TLS: true, MILLRACE_KAFKA_BROKERS: [a.example:9093, b.example:9094]}
secrets:
  kafka: {name: kafka-user}
  kafkaTLS: {name: kafka-tls, certKey: tls.crt, keyKey: tls.key}`,
		"OAuth": `
config:
  MILLRACE_KAFKA_SASL_MECHANISM: OAUTHBEARER
  MILLRACE_KAFKA_OAUTH_TOKEN_URL: https://idp.example/token
  MILLRACE_KAFKA_OAUTH_CLIENT_ID: millrace
  MILLRACE_KAFKA_OAUTH_SCOPE: kafka
secrets: {kafka: {name: kafka-client, passwordKey: secret}}`,
		"a registry, AWS and more secrets": `
config: {MILLRACE_MODEL: "models:/forecaster@champion", MLFLOW_TRACKING_URI: "https://mlflow.example/base"}
secrets:
  mlflow: {name: mlflow, usernameKey: user, passwordKey: pass, caKey: ca.crt}
  aws: {name: s3}
  webhook: {name: mlflow-webhook}
  env:
    MILLRACE_REMOTE_TOKEN: {name: triton, key: token}
    CUSTOM_TOKEN: {name: custom, key: token}
worker: {serviceAccount: {annotations: {eks.amazonaws.com/role-arn: arn}}}`,
		"a gateway for everybody": `
secrets: {gatewayTokens: {name: tokens}, gatewayTLS: {name: web, clientCAKey: ca.crt}}
gateway:
  config: {MILLRACE_GATEWAY_ADDR: ":8443", MILLRACE_GATEWAY_DRAIN_TIMEOUT: 1m30s, MILLRACE_GATEWAY_GRPC_ADDR: ":9443"}
  service: {type: LoadBalancer, port: 443, grpcPort: 9000, annotations: {a: b}}
  ingress: {enabled: true, className: nginx, hosts: [millrace.example], tls: [{hosts: [millrace.example], secretName: web}], annotations: {a: b}}
  preStopSeconds: 0`,
		"a shared cache": "worker: {modelCache: {existingClaim: models, size: 100Gi}}",
		"claims":         "worker: {modelCache: {storageClass: fast, size: 20Gi}}",
		"watched": `
metrics: {operator: {enabled: true, labels: {release: prometheus}}}
rules: {enabled: true, labels: {release: prometheus}, runbookBase: "https://wiki.example/runbooks/"}
dashboards: {enabled: true, annotations: {folder: Millrace}}
cost: {replicaHour: 0.123, monthlyBudget: 1000000}`,
		"watched over TLS": "metrics: {operator: {enabled: true}}\nsecrets: {gatewayTLS: {name: web}}",
		"walled in": `
config: {MLFLOW_TRACKING_URI: "http://mlflow:5000"}
networkPolicy:
  egressEnabled: true
  gatewayFrom: [{podSelector: {matchLabels: {app: caller}}}]
  egress: [{ports: [{port: 443}]}]`,
		"a load test": "locust: {enabled: true, model: fraud, think: 0.5, tokenSecret: {name: token}}",
		"everything of a pod": `
fullnameOverride: pool
image: {digest: "sha256:` + strings.Repeat("ab", 32) + `"}
imagePullSecrets: [{name: pull}]
topics: {create: false}
networkPolicy: {enabled: false}
metrics: {annotations: false}
worker: &pod
  config: {MILLRACE_LOG_LEVEL: DEBUG}
  extraEnv: [{name: GOGC, value: "200"}]
  serviceAccount: {create: false, name: ours}
  maxUnavailable: 25%
  topologySpread: {enabled: false}
  podAnnotations: {a: b}
  podLabels: {c: d}
  nodeSelector: {disk: ssd}
  tolerations: [{key: gpu, operator: Exists}]
  affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Exists}]}]}}}
  priorityClassName: high
  extraVolumes: [{name: extra, emptyDir: {}}]
  extraVolumeMounts: [{name: extra, mountPath: /extra}]
gateway: *pod`,
	}
}

func TestTheClusterTakesWhatIsRendered(t *testing.T) {
	s, err := definitions()
	require.NoError(t, err)
	for name, values := range matrix() {
		t.Run(name, func(t *testing.T) {
			r := rendered(t, values)
			require.Greater(t, len(r.objects), 3)
			for id, o := range r.objects {
				require.NoError(t, s.check(o), id)
			}
			require.NoError(t, s.checkTriggers(r))
		})
	}
}

// A check that takes everything holds nothing.
func TestTheChecksRefuse(t *testing.T) {
	s, err := definitions()
	require.NoError(t, err)
	spec := func(o object) map[string]any { return o["spec"].(map[string]any) }
	metadata := func(o object, trigger int) map[string]any {
		return o.at("spec", "triggers", trigger, "metadata").(map[string]any)
	}
	for says, c := range map[string]struct {
		id   string
		edit func(object)
	}{
		"'replica'":        {"Deployment/millrace-worker", func(o object) { spec(o)["replica"] = 3 }},
		"'/spec/replicas'": {"Deployment/millrace-gateway", func(o object) { spec(o)["replicas"] = "three" }},
		"'selector'":       {"Deployment/millrace-worker", func(o object) { delete(spec(o), "selector") }},
		"minReplicas":      {"ScaledObject/millrace-worker", func(o object) { spec(o)["minReplicas"] = 3 }},
		"maxReplicaCount":  {"ScaledObject/millrace-worker", func(o object) { spec(o)["maxReplicaCount"] = "8" }},
		"lagThreshold":     {"ScaledObject/millrace-worker", func(o object) { metadata(o, 0)["lagThreshold"] = 20 }},
		"lagTreshold":      {"ScaledObject/millrace-worker", func(o object) { metadata(o, 0)["lagTreshold"] = "20" }},
		"query is missing": {"ScaledObject/millrace-worker", func(o object) { delete(metadata(o, 1), "query") }},
		`"newest" is none`: {"ScaledObject/millrace-worker", func(o object) { metadata(o, 0)["offsetResetPolicy"] = "newest" }},
		"password is not":  {"ScaledObject/millrace-worker", func(o object) { metadata(o, 0)["password"] = "x" }},
		"no such scaler":   {"ScaledObject/millrace-worker", func(o object) { o.at("spec", "triggers", 0).(map[string]any)["type"] = "kafak" }},
		"spec.endpoints":   {"PodMonitor/millrace-worker", func(o object) { spec(o)["endpoints"] = spec(o)["podMetricsEndpoints"] }},
		"without a defini": {"Service/millrace-gateway", func(o object) { o["kind"] = "Servcie" }},
	} {
		t.Run(says, func(t *testing.T) {
			r := rendered(t, "metrics: {operator: {enabled: true}}")
			require.Contains(t, r.objects, c.id)
			c.edit(r.objects[c.id])
			err := s.check(r.objects[c.id])
			if err == nil {
				err = s.checkTriggers(r)
			}
			require.ErrorContains(t, err, says)
		})
	}
}
