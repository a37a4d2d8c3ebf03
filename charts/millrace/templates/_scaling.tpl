{{/* The topics that requests are read from, as the code has them: a list in JSON. */}}
{{- define "millrace.topics" -}}
{{- $part := dict "root" . "part" "worker" -}}
{{- $topics := list (include "millrace.setting" (merge (dict "name" "MILLRACE_TOPIC_REQUESTS") $part)) -}}
{{- range splitList "," (include "millrace.setting" (merge (dict "name" "MILLRACE_ROUTES") $part)) -}}
{{- with trim (regexReplaceAll "=.*" . "") }}{{ $topics = append $topics . }}{{ end -}}
{{- end -}}
{{- toJson (uniq $topics) -}}
{{- end -}}

{{/* Labels of the series of a part in this release. */}}
{{- define "millrace.seriesOf" -}}
{{- $job := printf ",job=%q" (printf "%s-%s" (include "millrace.fullname" .root) .part) -}}
{{- printf "namespace=%q%s" .root.Release.Namespace (ternary $job "" .root.Values.metrics.operator.enabled) -}}
{{- end -}}

{{/* Seconds that 95 of 100 requests wait for their batch: what more workers can help. A pool
without requests has no such number: that is 0. */}}
{{- define "millrace.latencyQuery" -}}
{{- $labels := .Values.keda.prometheus.selector | default (include "millrace.seriesOf" (dict "root" . "part" "worker")) -}}
{{- printf "(histogram_quantile(0.95, sum by (le) (rate(inference_queue_latency_bucket{%s}[%s]))) >= 0) or vector(0)" $labels .Values.keda.latency.window -}}
{{- end -}}

{{/* Requests that wait. For a share group, which KEDA does not know, and for several topics, which
it does not add up, as the gateways see them, who live when no worker does; else, or without
them, as the workers tell. */}}
{{- define "millrace.lagQuery" -}}
{{- $p := .Values.keda.prometheus -}}
{{- $queue := eq "queue" (include "millrace.setting" (dict "root" . "part" "worker" "name" "MILLRACE_DELIVERY")) -}}
{{- if and .Values.gateway.enabled (or $queue (eq .Values.keda.lag.source "kafka")) -}}
{{- $labels := $p.gatewaySelector | default (include "millrace.seriesOf" (dict "root" . "part" "gateway")) -}}
{{- printf "sum(max by (topic) (millrace_group_lag_records{%s,group=%q}))" $labels (include "millrace.setting" (dict "root" . "part" "gateway" "name" "MILLRACE_GROUP")) -}}
{{- else -}}
{{- printf "sum(inference_queue_len{%s})" ($p.selector | default (include "millrace.seriesOf" (dict "root" . "part" "worker"))) -}}
{{- end -}}
{{- end -}}

{{/* A trigger on a topic's lag at Kafka. */}}
{{- define "millrace.kafkaTrigger" -}}
{{- $k := .root.Values.keda -}}
type: kafka
name: {{ .trigger }}
metricType: AverageValue
metadata:
  bootstrapServers: {{ include "millrace.setting" (merge (dict "name" "MILLRACE_KAFKA_BROKERS") .) | quote }}
  consumerGroup: {{ include "millrace.setting" (merge (dict "name" "MILLRACE_GROUP") .) | quote }}
  topic: {{ .topic | quote }}
  lagThreshold: {{ include "millrace.text" $k.lag.threshold | quote }}
  activationLagThreshold: {{ include "millrace.text" $k.lag.activation | quote }}
  offsetResetPolicy: {{ include "millrace.setting" (merge (dict "name" "MILLRACE_AUTO_OFFSET_RESET") .) | quote }}
  excludePersistentLag: "false"
  {{- if eq "true" (include "millrace.setting" (merge (dict "name" "MILLRACE_KAFKA_TLS") .)) }}
  tls: enable
  unsafeSsl: {{ include "millrace.setting" (merge (dict "name" "MILLRACE_KAFKA_TLS_INSECURE_SKIP_VERIFY") .) | quote }}
  {{- end }}
  {{- with include "millrace.setting" (merge (dict "name" "MILLRACE_KAFKA_SASL_MECHANISM") .) | upper }}
  sasl: {{ get (dict "PLAIN" "plaintext" "SCRAM-SHA-256" "scram_sha256" "SCRAM-SHA-512" "scram_sha512" "OAUTHBEARER" "oauthbearer") . }}
  {{- end }}
{{- if .auth }}
authenticationRef: { name: {{ include "millrace.fullname" .root }}-kafka }
{{- end }}
{{- end -}}

{{- define "millrace.prometheus" -}}
serverAddress: {{ .Values.keda.prometheus.serverAddress | quote }}
{{- with .Values.keda.prometheus.authModes }}
authModes: {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "millrace.prometheusAuth" -}}
{{- with .Values.keda.prometheus.authenticationRef }}
authenticationRef: { name: {{ . }} }
{{- end }}
{{- end -}}

{{/* How KEDA signs in at Kafka: a TriggerAuthentication's spec, empty for nothing. */}}
{{- define "millrace.kafkaAuth" -}}
{{- $s := .Values.secrets -}}
{{- $oauth := eq "OAUTHBEARER" (include "millrace.setting" (dict "root" . "part" "worker" "name" "MILLRACE_KAFKA_SASL_MECHANISM") | upper) -}}
{{- $keys := list -}}
{{- if $s.kafka.name -}}
{{- if not $oauth }}{{ $keys = append $keys (dict "parameter" "username" "name" $s.kafka.name "key" $s.kafka.usernameKey) }}{{ end -}}
{{- $keys = append $keys (dict "parameter" "password" "name" $s.kafka.name "key" $s.kafka.passwordKey) -}}
{{- end -}}
{{- if $s.kafkaTLS.name -}}
{{- range $parameter, $key := dict "ca" $s.kafkaTLS.caKey "cert" $s.kafkaTLS.certKey "key" $s.kafkaTLS.keyKey -}}
{{- if $key }}{{ $keys = append $keys (dict "parameter" $parameter "name" $s.kafkaTLS.name "key" $key) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- if $keys -}}
secretTargetRef: {{ toJson $keys }}
{{- end -}}
{{- if $oauth }}
env: # of the workers' container
  - { parameter: username, name: MILLRACE_KAFKA_OAUTH_CLIENT_ID, containerName: worker }
  - { parameter: oauthTokenEndpointUri, name: MILLRACE_KAFKA_OAUTH_TOKEN_URL, containerName: worker }
  - { parameter: scopes, name: MILLRACE_KAFKA_OAUTH_SCOPE, containerName: worker }
{{- end -}}
{{- end -}}

{{/* What the schema cannot say. */}}
{{- define "millrace.check" -}}
{{- $k := .Values.keda -}}
{{- $part := dict "root" . "part" "worker" -}}
{{- $queue := eq "queue" (include "millrace.setting" (merge (dict "name" "MILLRACE_DELIVERY") $part)) -}}
{{- $created := include "millrace.setting" (merge (dict "name" "MILLRACE_TOPIC_PARTITIONS") $part) | int64 -}}
{{- $partitions := $k.partitions | default (mul $created (include "millrace.topics" . | fromJsonArray | len)) | int64 -}}
{{- $most := ternary $k.maxReplicas .Values.worker.replicas $k.enabled | int64 -}}
{{- if and (not $queue) (gt $most $partitions) -}}
{{- fail (printf "%s: %d workers for %d partitions: the others would idle. Give the topic more (keda.partitions says how many it has, config.MILLRACE_TOPIC_PARTITIONS how many are created), or take requests by config.MILLRACE_DELIVERY=queue" (ternary "keda.maxReplicas" "worker.replicas" $k.enabled) $most $partitions) -}}
{{- end -}}
{{- range $name := list "MILLRACE_DELIVERY" "MILLRACE_GROUP" "MILLRACE_TOPIC_REQUESTS" -}}
{{- if and $.Values.gateway.enabled (ne (include "millrace.setting" (dict "root" $ "part" "worker" "name" $name)) (include "millrace.setting" (dict "root" $ "part" "gateway" "name" $name))) -}}
{{- fail (printf "config.%s: workers and gateways have to have the same: set it in config alone" $name) -}}
{{- end -}}
{{- end -}}
{{- if $k.enabled -}}
{{- if gt (int64 $k.minReplicas) (int64 $k.maxReplicas) }}{{ fail "keda.minReplicas: it is above keda.maxReplicas" }}{{ end -}}
{{- if gt (int64 $k.fallback.replicas) (int64 $k.maxReplicas) }}{{ fail "keda.fallback.replicas: it is above keda.maxReplicas" }}{{ end -}}
{{- if not (or $k.lag.enabled $k.latency.enabled $k.cpu.enabled $k.cron) }}{{ fail "keda: no trigger is enabled; without KEDA set keda.enabled=false" }}{{ end -}}
{{- if and (eq 0 (int64 $k.minReplicas)) (not $k.lag.enabled) }}{{ fail "keda.minReplicas: 0 needs keda.lag.enabled, for nothing else wakes a pool whose workers are gone" }}{{ end -}}
{{- if and (eq 0 (int64 $k.minReplicas)) (not $queue) (eq $k.lag.source "workers") }}{{ fail "keda.minReplicas: 0 needs keda.lag.source=kafka, for workers that are gone tell nothing" }}{{ end -}}
{{- if and (eq 0 (int64 $k.minReplicas)) (or $queue (gt (include "millrace.topics" . | fromJsonArray | len) 1)) (not .Values.gateway.enabled) }}{{ fail "keda.minReplicas: 0 needs gateway.enabled with MILLRACE_DELIVERY=queue or MILLRACE_ROUTES: without workers, the gateways alone know the group's lag" }}{{ end -}}
{{- end -}}
{{- $mechanism := include "millrace.setting" (merge (dict "name" "MILLRACE_KAFKA_SASL_MECHANISM") $part) -}}
{{- if and $mechanism (not .Values.secrets.kafka.name) (not (get (include "millrace.config" $part | fromJson) "MILLRACE_KAFKA_OAUTH_TOKEN_FILE")) }}{{ fail (printf "secrets.kafka.name: the mechanism %s needs a secret" $mechanism) }}{{ end -}}
{{- if and (not $mechanism) .Values.secrets.kafka.name }}{{ fail "config.MILLRACE_KAFKA_SASL_MECHANISM: secrets.kafka is set, but no mechanism" }}{{ end -}}
{{- if and .Values.secrets.kafkaTLS.name (ne "true" (include "millrace.setting" (merge (dict "name" "MILLRACE_KAFKA_TLS") $part))) }}{{ fail "config.MILLRACE_KAFKA_TLS: secrets.kafkaTLS is set, but nothing would be encrypted" }}{{ end -}}
{{- if and .Values.gateway.ingress.enabled (not .Values.gateway.enabled) }}{{ fail "gateway.ingress.enabled: there is no gateway" }}{{ end -}}
{{- end -}}
