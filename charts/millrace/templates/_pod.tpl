{{/* What workers and gateways have in common, below a pod's spec: dict "root" $ "part" "worker". */}}
{{- define "millrace.podSpec" -}}
{{- $own := index .root.Values (include "millrace.section" .) -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext: {{ toJson .root.Values.podSecurityContext }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{ toJson . }}
{{- end }}
{{- with $own.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $own.nodeSelector }}
nodeSelector: {{ toJson . }}
{{- end }}
{{- with $own.tolerations }}
tolerations: {{ toJson . }}
{{- end }}
{{- with $own.affinity }}
affinity: {{ toJson . }}
{{- end }}
{{- end -}}

{{- define "millrace.spread" -}}
{{- $own := index .root.Values .part -}}
{{- if $own.topologySpread.enabled }}
topologySpreadConstraints:
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: {{ $own.topologySpread.whenUnsatisfiable }}
    labelSelector:
      matchLabels: {{- include "millrace.selector" $ | nindent 8 }}
    matchLabelKeys: [{{ $.revision }}]
  {{- end }}
{{- end }}
{{- end -}}

{{/* A container's beginning: its image, command, environment and rights. */}}
{{- define "millrace.container" -}}
image: {{ include "millrace.image" .root }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
env: {{- include "millrace.env" . | nindent 2 }}
{{- end -}}

{{- define "millrace.mounts" -}}
{{- $s := .root.Values.secrets -}}
{{- if $s.kafka.name }}
- { name: kafka, mountPath: /etc/millrace/kafka, readOnly: true }
{{- end }}
{{- if $s.kafkaTLS.name }}
- { name: kafka-tls, mountPath: /etc/millrace/kafka-tls, readOnly: true }
{{- end }}
{{- if eq .part "worker" }}
- { name: cache, mountPath: /var/cache/millrace }
- { name: tmp, mountPath: /tmp }
{{- if and $s.mlflow.name $s.mlflow.caKey }}
- { name: mlflow, mountPath: /etc/millrace/mlflow, readOnly: true }
{{- end }}
{{- if $s.webhook.name }}
- { name: webhook, mountPath: /etc/millrace/webhook, readOnly: true }
{{- end }}
{{- end }}
{{- if eq .part "gateway" }}
{{- if $s.gatewayTokens.name }}
- { name: tokens, mountPath: /etc/millrace/tokens, readOnly: true }
{{- end }}
{{- if $s.gatewayTLS.name }}
- { name: tls, mountPath: /etc/millrace/tls, readOnly: true }
{{- end }}
{{- end }}
{{- with (index .root.Values (include "millrace.section" .)).extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "millrace.volumes" -}}
{{- $s := .root.Values.secrets -}}
{{- if $s.kafka.name }}
- name: kafka
  secret: { secretName: {{ $s.kafka.name }}, items: [{ key: {{ $s.kafka.passwordKey }}, path: {{ $s.kafka.passwordKey }} }] }
{{- end }}
{{- if $s.kafkaTLS.name }}
- name: kafka-tls
  secret: { secretName: {{ $s.kafkaTLS.name }} }
{{- end }}
{{- if eq .part "worker" }}
{{- with .root.Values.worker.modelCache }}
- name: cache
  {{- if .existingClaim }}
  persistentVolumeClaim: { claimName: {{ .existingClaim }} }
  {{- else if .storageClass }}
  ephemeral:
    volumeClaimTemplate:
      spec:
        accessModes: [ReadWriteOnce]
        storageClassName: {{ .storageClass }}
        resources: { requests: { storage: {{ .size }} } }
  {{- else }}
  emptyDir: { sizeLimit: {{ .size }} }
  {{- end }}
{{- end }}
- name: tmp
  emptyDir: { sizeLimit: {{ .root.Values.worker.tmpSize }} }
{{- if and $s.mlflow.name $s.mlflow.caKey }}
- name: mlflow
  secret: { secretName: {{ $s.mlflow.name }}, items: [{ key: {{ $s.mlflow.caKey }}, path: {{ $s.mlflow.caKey }} }] }
{{- end }}
{{- if $s.webhook.name }}
- name: webhook
  secret: { secretName: {{ $s.webhook.name }}, items: [{ key: {{ $s.webhook.key }}, path: {{ $s.webhook.key }} }] }
{{- end }}
{{- end }}
{{- if eq .part "gateway" }}
{{- if $s.gatewayTokens.name }}
- name: tokens
  secret: { secretName: {{ $s.gatewayTokens.name }}, items: [{ key: {{ $s.gatewayTokens.key }}, path: {{ $s.gatewayTokens.key }} }] }
{{- end }}
{{- if $s.gatewayTLS.name }}
- name: tls
  secret: { secretName: {{ $s.gatewayTLS.name }} }
{{- end }}
{{- end }}
{{- with (index .root.Values (include "millrace.section" .)).extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Annotations of a pod: dict "root" $ "part" "worker" "port" "8001" "scheme" "http". */}}
{{- define "millrace.podAnnotations" -}}
{{- $own := dict -}}
{{- if and .root.Values.metrics.annotations (not .root.Values.metrics.operator.enabled) -}}
{{- $own = dict "prometheus.io/scrape" "true" "prometheus.io/path" "/metrics" "prometheus.io/port" .port "prometheus.io/scheme" .scheme -}}
{{- end -}}
{{- toYaml (merge (dict) (index .root.Values .part).podAnnotations $own) -}}
{{- end -}}
