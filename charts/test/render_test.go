package test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
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
  env:
    MILLRACE_REMOTE_TOKEN: {name: triton, key: token}
    OTEL_EXPORTER_OTLP_HEADERS: {name: otel, key: headers}
worker: {serviceAccount: {annotations: {eks.amazonaws.com/role-arn: arn}}}`,
		"a gateway for everybody": `
secrets: {gatewayTokens: {name: tokens}, gatewayTLS: {name: web, clientCAKey: ca.crt}}
gateway:
  config: {MILLRACE_GATEWAY_ADDR: ":8443", MILLRACE_GATEWAY_DRAIN_TIMEOUT: 1m30s}
  service: {type: LoadBalancer, port: 443, annotations: {a: b}}
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

func TestWrongValuesAreRefused(t *testing.T) {
	for values, says := range map[string]string{
		// By the schema.
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
		// By the templates.
		"keda: {maxReplicas: 13}":                                                                    "keda.maxReplicas: 13 workers for 12 partitions",
		"keda: {maxReplicas: 25, partitions: 24}":                                                    "25 workers for 24 partitions",
		"keda: {enabled: false}\nworker: {replicas: 13}":                                             "worker.replicas: 13 workers for 12 partitions",
		"keda: {minReplicas: 11}":                                                                    "above keda.maxReplicas",
		"keda: {fallback: {replicas: 11}}":                                                           "keda.fallback.replicas",
		"keda: {lag: {enabled: false}, latency: {enabled: false}, cpu: {enabled: false}}":            "no trigger is enabled",
		"keda: {minReplicas: 0, lag: {enabled: false}}":                                              "nothing else wakes a pool",
		"keda: {minReplicas: 0, lag: {source: workers}}":                                             "0 needs keda.lag.source=kafka",
		"config: {MILLRACE_DELIVERY: queue}\nkeda: {minReplicas: 0}\ngateway: {enabled: false}":      "0 needs gateway.enabled",
		"worker: {config: {MILLRACE_GROUP: a}}":                                                      "config.MILLRACE_GROUP: workers and gateways have to have the same",
		"config: {MILLRACE_MODEL_CACHE_QUOTA: 5000000000}":                                           "MILLRACE_MODEL_CACHE_QUOTA: 5000000000 is more than worker.modelCache.size, 4Gi",
		"config: {MILLRACE_MODEL_CACHE_QUOTA: 0}":                                                    "MILLRACE_MODEL_CACHE_QUOTA: 0 is more",
		"config: {MILLRACE_MODEL_CACHE_DIR: /x}":                                                     "config.MILLRACE_MODEL_CACHE_DIR: the chart sets it",
		"config: {MILLRACE_KAFKA_SASL_MECHANISM: PLAIN}":                                             "secrets.kafka.name: the mechanism PLAIN needs a secret",
		"secrets: {kafka: {name: x}}":                                                                "no mechanism",
		"secrets: {kafkaTLS: {name: x}}":                                                             "nothing would be encrypted",
		"secrets: {mlflow: {name: a, tokenKey: b}, env: {MLFLOW_TRACKING_TOKEN: {name: a, key: b}}}": "secrets.mlflow has it",
		"gateway: {enabled: false, ingress: {enabled: true}}":                                        "there is no gateway",
	} {
		t.Run(values, func(t *testing.T) {
			_, err := render(chart, values)
			require.ErrorContains(t, err, says)
		})
	}
}

// What Kubernetes does not hold together itself.
func TestObjectsFitEachOther(t *testing.T) {
	for name, values := range matrix() {
		t.Run(name, func(t *testing.T) {
			r := rendered(t, values)
			for id, o := range r.objects {
				pod := podOf(o)
				if pod == nil {
					continue
				}
				labels := o.at("spec", "template", "metadata", "labels")
				if selector := o.at("spec", "selector", "matchLabels"); selector != nil {
					require.Subset(t, labels, selector, id)
				}
				checkPod(t, r, id, pod)
			}
			for _, kind := range []string{"PodDisruptionBudget", "NetworkPolicy", "PodMonitor", "Service", "ServiceMonitor"} {
				for _, o := range r.of(kind) {
					checkSelects(t, r, o)
				}
			}
			for _, o := range r.of("ScaledObject") {
				target := fmt.Sprintf("%v/%v", o.at("spec", "scaleTargetRef", "kind"), o.at("spec", "scaleTargetRef", "name"))
				require.Contains(t, r.objects, target)
				require.Nil(t, r.objects[target].at("spec", "replicas"), "the size is KEDA's: an upgrade would reset it")
			}
		})
	}
}

func podOf(o object) object {
	spec, _ := o.at("spec", "template", "spec").(map[string]any)
	return spec
}

func checkPod(t *testing.T, r release, id string, pod object) {
	t.Helper()
	require.Equal(t, true, pod.at("securityContext", "runAsNonRoot"), id)
	require.Equal(t, false, pod["automountServiceAccountToken"], id)
	if account, ok := pod["serviceAccountName"]; ok && account != "ours" {
		require.Contains(t, r.objects, fmt.Sprintf("ServiceAccount/%v", account), id)
	}
	have, used := make(map[any]bool), make(map[any]bool)
	volumes, _ := pod["volumes"].([]any)
	for _, v := range volumes {
		have[v.(map[string]any)["name"]] = true
	}
	for i := range pod["containers"].([]any) {
		c := object(pod.at("containers", i).(map[string]any))
		require.Equal(t, true, c.at("securityContext", "readOnlyRootFilesystem"), id)
		require.Equal(t, false, c.at("securityContext", "allowPrivilegeEscalation"), id)
		require.NotNil(t, c.at("resources", "requests", "cpu"), id)
		mounts, _ := c["volumeMounts"].([]any)
		for _, m := range mounts {
			used[m.(map[string]any)["name"]] = true
		}
		ports, _ := c["ports"].([]any)
		names := make([]any, 0, len(ports))
		for _, p := range ports {
			names = append(names, p.(map[string]any)["name"])
		}
		for _, probe := range []string{"startupProbe", "livenessProbe", "readinessProbe"} {
			if port := c.at(probe, "httpGet", "port"); port != nil {
				require.Contains(t, names, port, "%s: %s", id, probe)
			}
		}
	}
	require.Equal(t, have, used, "%s: volumes and their mounts", id)
}

// checkSelects holds that there is something with the labels that an object looks
// for, and with its port.
func checkSelects(t *testing.T, r release, o object) {
	t.Helper()
	selector, _ := o.at("spec", "selector", "matchLabels").(map[string]any)
	if o["kind"] == "Service" {
		selector, _ = o.at("spec", "selector").(map[string]any)
	}
	if o["kind"] == "NetworkPolicy" {
		selector, _ = o.at("spec", "podSelector", "matchLabels").(map[string]any)
	}
	require.NotEmpty(t, selector, o.id())
	var found []string
	for id, other := range r.objects {
		labels := other.at("spec", "template", "metadata", "labels")
		if o["kind"] == "ServiceMonitor" {
			labels = nil
			if other["kind"] == "Service" {
				labels = other.at("metadata", "labels")
			}
		}
		m, _ := labels.(map[string]any)
		if len(m) > 0 && contains(m, selector) {
			found = append(found, id)
		}
	}
	require.Len(t, found, 1, "%s selects one", o.id())
}

func contains(labels, selector map[string]any) bool {
	for k, v := range selector {
		if labels[k] != v {
			return false
		}
	}
	return true
}

// Nothing in the chart's own files or in what it renders holds a secret: they are
// named.
func TestSecretsAreOnlyNamed(t *testing.T) {
	for name, values := range matrix() {
		require.Empty(t, rendered(t, values).of("Secret"), name)
	}
	r := rendered(t, matrix()["a registry, AWS and more secrets"])
	worker, gateway := envOf(r, "Deployment/millrace-worker"), envOf(r, "Deployment/millrace-gateway")
	for variable, want := range map[string]string{
		"MLFLOW_TRACKING_USERNAME": "mlflow/user", "MLFLOW_TRACKING_PASSWORD": "mlflow/pass",
		"AWS_ACCESS_KEY_ID": "s3/AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY": "s3/AWS_SECRET_ACCESS_KEY",
		"MILLRACE_REMOTE_TOKEN": "triton/token", "OTEL_EXPORTER_OTLP_HEADERS": "otel/headers",
	} {
		require.Equal(t, "secret "+want, worker[variable])
		require.NotContains(t, gateway, variable, "it does not read it")
	}
	require.Equal(t, "/etc/millrace/mlflow/ca.crt", worker["MLFLOW_TRACKING_SERVER_CERT_PATH"])
}

// envOf is the environment of an object's container: values, or "secret NAME/KEY".
func envOf(r release, id string) map[string]string {
	env := make(map[string]string)
	list, _ := podOf(r.objects[id]).at("containers", 0, "env").([]any)
	for _, e := range list {
		o := object(e.(map[string]any))
		value := fmt.Sprint(o["value"])
		if key := o.at("valueFrom", "secretKeyRef"); key != nil {
			value = fmt.Sprintf("secret %v/%v", object(key.(map[string]any))["name"], object(key.(map[string]any))["key"])
		}
		env[fmt.Sprint(o["name"])] = value
	}
	return env
}

// Who reads the table of the values has to be able to trust it.
func TestREADMEHasEveryValue(t *testing.T) {
	text, err := os.ReadFile(chart + "/values.yaml")
	require.NoError(t, err)
	want, err := valuesTable(text)
	require.NoError(t, err)
	path := chart + "/README.md"
	readme, err := os.ReadFile(path)
	require.NoError(t, err)
	const begin, end = "<!-- values: written by `make docs`, held by a test -->\n", "<!-- end of values -->"
	head, rest, found := strings.Cut(string(readme), begin)
	require.True(t, found)
	have, tail, found := strings.Cut(rest, end)
	require.True(t, found)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(head+begin+want+end+tail), 0o644))
		return
	}
	require.Equal(t, want, have, "run `make docs`")
}

// The schema has what the values have: a value that is not in the schema could not
// be set.
func TestSchemaHasEveryValue(t *testing.T) {
	text, err := os.ReadFile(chart + "/values.yaml")
	require.NoError(t, err)
	var values map[string]any
	require.NoError(t, yaml.Unmarshal(text, &values))
	text, err = os.ReadFile(chart + "/values.schema.json")
	require.NoError(t, err)
	var schema object
	require.NoError(t, yaml.Unmarshal(text, &schema))
	var walk func(path string, have map[string]any, schema object)
	walk = func(path string, have map[string]any, schema object) {
		properties, _ := schema["properties"].(map[string]any)
		if len(properties) == 0 {
			return // free, or a reference
		}
		names := slices.Sorted(maps.Keys(properties))
		names = slices.DeleteFunc(names, func(n string) bool { return n == "global" || n == "selectPolicy" })
		require.Equal(t, slices.Sorted(maps.Keys(have)), names, path)
		for name, v := range have {
			if m, ok := v.(map[string]any); ok {
				walk(path+"."+name, m, object(properties[name].(map[string]any)))
			}
		}
	}
	walk("", values, schema)
}
