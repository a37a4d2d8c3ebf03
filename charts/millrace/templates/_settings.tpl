{{/* A value as an environment variable has it. YAML's numbers come as floats. */}}
{{- define "millrace.text" -}}
{{- if kindIs "slice" . -}}{{ join "," . }}
{{- else if and (kindIs "float64" .) (eq (floor .) .) -}}{{ int64 . }}
{{- else -}}{{ toString . }}
{{- end -}}
{{- end -}}

{{/* The section of the values that a part is told by. */}}
{{- define "millrace.section" -}}
{{- ternary "worker" .part (eq .part "topics") -}}
{{- end -}}

{{/* The settings of a part: those that its command reads, of config and of its own config. */}}
{{- define "millrace.config" -}}
{{- $known := .root.Files.Get "files/variables.json" | fromJson -}}
{{- $all := merge (dict) (index .root.Values (include "millrace.section" .)).config .root.Values.config -}}
{{- $out := dict -}}
{{- range $name, $value := $all -}}
{{- if has $.part (index $known $name).commands -}}
{{- $_ := set $out $name (include "millrace.text" $value) -}}
{{- end -}}
{{- end -}}
{{- toJson $out -}}
{{- end -}}

{{/* What a setting is: as configured, or as the code has it by default. */}}
{{- define "millrace.setting" -}}
{{- $set := include "millrace.config" . | fromJson -}}
{{- get $set .name | default (index (.root.Files.Get "files/variables.json" | fromJson) .name).default -}}
{{- end -}}

{{/* Variables that the chart itself sets: what it mounts is where it says. */}}
{{- define "millrace.ownEnv" -}}
{{- $s := .root.Values.secrets -}}
{{- $out := dict -}}
{{- if $s.kafkaTLS.name -}}
{{- range $variable, $key := dict "MILLRACE_KAFKA_TLS_CA" $s.kafkaTLS.caKey "MILLRACE_KAFKA_TLS_CERT" $s.kafkaTLS.certKey "MILLRACE_KAFKA_TLS_KEY" $s.kafkaTLS.keyKey -}}
{{- if $key }}{{ $_ := set $out $variable (printf "/etc/millrace/kafka-tls/%s" $key) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- if $s.kafka.name -}}
{{- $oauth := eq "OAUTHBEARER" (include "millrace.setting" (merge (dict "name" "MILLRACE_KAFKA_SASL_MECHANISM") .) | upper) -}}
{{- $_ := set $out (ternary "MILLRACE_KAFKA_OAUTH_CLIENT_SECRET_FILE" "MILLRACE_KAFKA_SASL_PASSWORD_FILE" $oauth) (printf "/etc/millrace/kafka/%s" $s.kafka.passwordKey) -}}
{{- end -}}
{{- if eq .part "worker" -}}
{{- $_ := set $out "MILLRACE_MODEL_CACHE_DIR" "/var/cache/millrace/models" -}}
{{- $_ := set $out "XDG_CACHE_HOME" "/var/cache/millrace" -}}
{{- $_ := set $out "HOME" "/tmp" -}}
{{- if and $s.mlflow.name $s.mlflow.caKey }}{{ $_ := set $out "MLFLOW_TRACKING_SERVER_CERT_PATH" (printf "/etc/millrace/mlflow/%s" $s.mlflow.caKey) }}{{ end -}}
{{- if $s.webhook.name }}{{ $_ := set $out "MILLRACE_WEBHOOK_SECRET_FILE" (printf "/etc/millrace/webhook/%s" $s.webhook.key) }}{{ end -}}
{{- end -}}
{{- if eq .part "gateway" -}}
{{- if $s.gatewayTokens.name }}{{ $_ := set $out "MILLRACE_GATEWAY_TOKENS_FILE" (printf "/etc/millrace/tokens/%s" $s.gatewayTokens.key) }}{{ end -}}
{{- if $s.gatewayTLS.name -}}
{{- range $variable, $key := dict "MILLRACE_GATEWAY_TLS_CERT_FILE" $s.gatewayTLS.certKey "MILLRACE_GATEWAY_TLS_KEY_FILE" $s.gatewayTLS.keyKey "MILLRACE_GATEWAY_TLS_CLIENT_CA_FILE" $s.gatewayTLS.clientCAKey -}}
{{- if $key }}{{ $_ := set $out $variable (printf "/etc/millrace/tls/%s" $key) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $out -}}
{{- end -}}

{{/* Variables whose values are in secrets. */}}
{{- define "millrace.secretEnv" -}}
{{- $known := .root.Files.Get "files/variables.json" | fromJson -}}
{{- $s := .root.Values.secrets -}}
{{- $out := dict -}}
{{- range $name, $ref := $s.env -}}
{{- $reads := ternary (list "worker") (get (get $known $name | default dict) "commands") (not (hasKey $known $name)) -}}
{{- if has $.part $reads }}{{ $_ := set $out $name (dict "name" $ref.name "key" $ref.key) }}{{ end -}}
{{- end -}}
{{- if and $s.kafka.name (ne "OAUTHBEARER" (include "millrace.setting" (merge (dict "name" "MILLRACE_KAFKA_SASL_MECHANISM") .) | upper)) -}}
{{- $_ := set $out "MILLRACE_KAFKA_SASL_USERNAME" (dict "name" $s.kafka.name "key" $s.kafka.usernameKey) -}}
{{- end -}}
{{- if eq .part "worker" -}}
{{- if $s.mlflow.name -}}
{{- range $variable, $key := dict "MLFLOW_TRACKING_TOKEN" $s.mlflow.tokenKey "MLFLOW_TRACKING_USERNAME" $s.mlflow.usernameKey "MLFLOW_TRACKING_PASSWORD" $s.mlflow.passwordKey -}}
{{- if and $key (hasKey $out $variable) }}{{ fail (printf "secrets.env.%s: secrets.mlflow has it" $variable) }}{{ end -}}
{{- if $key }}{{ $_ := set $out $variable (dict "name" $s.mlflow.name "key" $key) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- if $s.aws.name -}}
{{- $_ := set $out "AWS_ACCESS_KEY_ID" (dict "name" $s.aws.name "key" $s.aws.accessKeyIDKey) -}}
{{- $_ := set $out "AWS_SECRET_ACCESS_KEY" (dict "name" $s.aws.name "key" $s.aws.secretAccessKeyKey) -}}
{{- end -}}
{{- end -}}
{{- toJson $out -}}
{{- end -}}

{{/* The environment of a container: dict "root" $ "part" "worker". */}}
{{- define "millrace.env" -}}
{{- $set := include "millrace.config" . | fromJson -}}
{{- $own := include "millrace.ownEnv" . | fromJson -}}
{{- $refs := include "millrace.secretEnv" . | fromJson -}}
{{- if eq .part "worker" -}}
{{- $room := include "millrace.bytes" .root.Values.worker.modelCache.size | int64 -}}
{{- $quota := get $set "MILLRACE_MODEL_CACHE_QUOTA" -}}
{{- if and $quota (or (eq $quota "0") (gt ($quota | int64) $room)) }}{{ fail (printf "config.MILLRACE_MODEL_CACHE_QUOTA: %s is more than worker.modelCache.size, %s, has room for" $quota .root.Values.worker.modelCache.size) }}{{ end -}}
{{- if not $quota }}{{ $_ := set $own "MILLRACE_MODEL_CACHE_QUOTA" (div $room 4 | mul 3 | toString) }}{{ end -}}
{{- end -}}
{{- range $name, $_ := merge (dict) $own $refs -}}
{{- if hasKey $set $name }}{{ fail (printf "config.%s: the chart sets it, by worker.modelCache or secrets" $name) }}{{ end -}}
{{- if and (hasKey $own $name) (hasKey $refs $name) }}{{ fail (printf "secrets.env.%s: the chart sets it by another of secrets" $name) }}{{ end -}}
{{- end -}}
{{- range $name := keys $set $own $refs | uniq | sortAlpha }}
- name: {{ $name }}
  {{- if hasKey $refs $name }}
  valueFrom: { secretKeyRef: {{ toJson (get $refs $name) }} }
  {{- else }}
  value: {{ get $own $name | default (get $set $name) | quote }}
  {{- end }}
{{- end }}
{{- with (index .root.Values (include "millrace.section" .)).extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}
