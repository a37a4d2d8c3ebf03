{{- define "millrace.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The beginning of all names: 42 letters, so that the longest end fits. */}}
{{- define "millrace.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 42 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "millrace.name" . -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 42 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels that tell a part's pods: dict "root" $ "part" "worker". */}}
{{- define "millrace.selector" -}}
app.kubernetes.io/name: {{ include "millrace.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end -}}

{{- define "millrace.labels" -}}
{{ include "millrace.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "millrace.serviceAccount" -}}
{{- $own := index .root.Values .part -}}
{{- $own.serviceAccount.name | default (ternary (printf "%s-%s" (include "millrace.fullname" .root) .part) "default" $own.serviceAccount.create) -}}
{{- end -}}

{{- define "millrace.image" -}}
{{- with .Values.image -}}
{{- .repository }}{{ ternary (printf "@%s" .digest) (printf ":%s" (.tag | default $.Chart.AppVersion)) (ne .digest "") -}}
{{- end -}}
{{- end -}}

{{/* What runs the workers. Transactional ids want names that outlive a pod. */}}
{{- define "millrace.workerKind" -}}
{{- ternary "StatefulSet" "Deployment" (eq (include "millrace.setting" (dict "root" . "part" "worker" "name" "MILLRACE_DELIVERY")) "exactly-once") -}}
{{- end -}}

{{/* Whole seconds of a duration of Go's, rounded up. */}}
{{- define "millrace.seconds" -}}
{{- $begin := toDate "2006-01-02" "2000-01-01" -}}
{{- $end := mustDateModify (printf "+%s" .) $begin -}}
{{- sub (mustDateModify "+999ms" $end | unixEpoch | int64) ($begin | unixEpoch | int64) -}}
{{- end -}}

{{/* Bytes of 512Mi, 4Gi or 1Ti. */}}
{{- define "millrace.bytes" -}}
{{- $n := regexFind "^[0-9]+" . | int64 -}}
{{- range until (get (dict "Mi" 2 "Gi" 3 "Ti" 4) (regexFind "[A-Z]i$" .)) }}{{ $n = mul $n 1024 }}{{ end -}}
{{- $n -}}
{{- end -}}

{{/* Port of host:port or :port. */}}
{{- define "millrace.port" -}}
{{- regexFind "[0-9]+$" . -}}
{{- end -}}
{{- define "millrace.workerPort" -}}
{{- include "millrace.port" (include "millrace.setting" (dict "root" . "part" "worker" "name" "MILLRACE_ADMIN_ADDR")) -}}
{{- end -}}
{{- define "millrace.gatewayPort" -}}
{{- include "millrace.port" (include "millrace.setting" (dict "root" . "part" "gateway" "name" "MILLRACE_GATEWAY_ADDR")) -}}
{{- end -}}
{{/* Empty where gRPC is not served. */}}
{{- define "millrace.grpcPort" -}}
{{- include "millrace.port" (include "millrace.setting" (dict "root" . "part" "gateway" "name" "MILLRACE_GATEWAY_GRPC_ADDR")) -}}
{{- end -}}
