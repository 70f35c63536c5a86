{{/* Settings of Rookery (docs/operations.md): those without secrets as a map, secrets as references. */}}

{{/* Variables of a role, in YAML. Takes root and role; `migrate` needs only the engines. */}}
{{- define "rookery.settings" -}}
{{- $values := .root.Values -}}
{{- $settings := dict "ROOKERY_LOG_LEVEL" $values.logLevel -}}
{{- if ne .role "migrate" -}}
{{- $_ := set $settings "ROOKERY_STOP_DEADLINE" (toString $values.stopDeadlineSeconds) -}}
{{- with $values.traces.endpoint }}{{ $_ := set $settings "ROOKERY_TRACES__ENDPOINT" . }}{{ end -}}
{{- $settings = mustMerge $settings (include "rookery.tlsSettings" . | fromYaml) -}}
{{- end -}}
{{- if eq .role "embedded" -}}
{{- $_ := set $settings "ROOKERY_DATA" "/data" -}}
{{- else -}}
{{- $settings = mustMerge $settings (include "rookery.engineSettings" .root | fromYaml) -}}
{{- end -}}
{{- if include "rookery.usesBucket" . -}}
{{- $settings = mustMerge $settings (include "rookery.filesSettings" .root | fromYaml) -}}
{{- end -}}
{{- if has .role (list "bff" "embedded") -}}
{{- $_ := set $settings "ROOKERY_BFF__HOST" "0.0.0.0" -}}
{{- $_ := set $settings "ROOKERY_BFF__HEALTH_PORT" "8090" -}}
{{- with $values.exposure.trustedProxies }}{{ $_ := set $settings "ROOKERY_BFF__TRUSTED_PROXIES" (join "," .) }}{{ end -}}
{{- if include "rookery.exposed" .root -}}
{{- $_ := set $settings "ROOKERY_BFF__WEBSOCKET_ORIGINS" (printf "wss://*.%s" $values.public.gatewayDomain) -}}
{{- end -}}
{{- end -}}
{{- if has .role (list "gateway" "embedded") -}}
{{- $_ := set $settings "ROOKERY_GATEWAY__HOST" "0.0.0.0" -}}
{{- with $values.exposure.trustedProxies }}{{ $_ := set $settings "ROOKERY_GATEWAY__TRUSTED_PROXIES" (join "," .) }}{{ end -}}
{{- if include "rookery.exposed" .root -}}
{{- $_ := set $settings "ROOKERY_GATEWAY__ALLOWED_ORIGINS" (printf "https://%s" $values.public.host) -}}
{{- else if eq .role "gateway" -}}
{{- $_ := set $settings "ROOKERY_GATEWAY__ALLOWED_ORIGINS" (include "rookery.internalPage" .root) -}}
{{- end -}}
{{- end -}}
{{- if eq .role "archive" -}}
{{- $_ := set $settings "ROOKERY_ARCHIVE__HOST" "0.0.0.0" -}}
{{- end -}}
{{- if has .role (list "bff" "gateway") -}}
{{- $scheme := ternary "grpcs://" "" (not (empty (include "rookery.secure" .root))) -}}
{{- $_ := set $settings "ROOKERY_ARCHIVES" (printf "%s%s:8083" $scheme (include "rookery.archiveHost" .root)) -}}
{{- end -}}
{{- range $name, $value := $values.settings -}}
{{- if and (kindIs "float64" $value) (eq (floor $value) $value) }}{{ $value = int64 $value }}{{ end -}}{{/* not 3.1e+07 */}}
{{- $_ := set $settings (printf "ROOKERY_%s" $name) (toString $value) -}}
{{- end -}}
{{ toYaml $settings }}
{{- end -}}

{{/* The paths of the certificates that `rookery.tlsMounts` mounts. */}}
{{- define "rookery.tlsSettings" -}}
{{- $tls := .root.Values.tls -}}
{{- if include "rookery.secure" .root -}}
{{- $shown := ternary "public-tls" "tls" (and (not (empty $tls.publicSecretName)) (ne .role "archive")) -}}
ROOKERY_TLS__CERTIFICATE_FILE: /etc/rookery/{{ $shown }}/tls.crt
ROOKERY_TLS__KEY_FILE: /etc/rookery/{{ $shown }}/tls.key
ROOKERY_TLS__MINIMUM_VERSION: {{ $tls.minimumVersion | quote }}
{{- if and (eq .role "archive") $tls.clientAuthentication }}
ROOKERY_TLS__CLIENT_CA_FILE: /etc/rookery/tls/ca.crt
{{- end }}
{{- if has .role (list "bff" "gateway") }}
ROOKERY_TLS__CA_FILE: /etc/rookery/tls/ca.crt
ROOKERY_TLS__CLIENT_CERTIFICATE_FILE: /etc/rookery/tls/tls.crt
ROOKERY_TLS__CLIENT_KEY_FILE: /etc/rookery/tls/tls.key
{{- end }}
{{- else -}}
ROOKERY_TLS__PLAINTEXT: "true"
{{- end -}}
{{- end -}}

{{- define "rookery.engineSettings" -}}
{{- $kafka := .Values.kafka -}}
{{- $cassandra := .Values.cassandra -}}
ROOKERY_ENGINES: kafka,cassandra,redis
ROOKERY_KAFKA__SERVERS: {{ join "," $kafka.servers | quote }}
ROOKERY_KAFKA__PARTITIONS: {{ $kafka.partitions | quote }}
ROOKERY_KAFKA__REPLICATION: {{ $kafka.replication | quote }}
ROOKERY_KAFKA__MIN_IN_SYNC: {{ $kafka.minInSync | quote }}
ROOKERY_KAFKA__SECURITY: {{ $kafka.security }}
ROOKERY_KAFKA__SASL_MECHANISM: {{ $kafka.saslMechanism }}
{{- if $kafka.tls.secretName }}
ROOKERY_KAFKA__CA_FILE: /etc/rookery/kafka/ca.crt
{{- if $kafka.tls.clientCertificate }}
ROOKERY_KAFKA__CERTIFICATE_FILE: /etc/rookery/kafka/tls.crt
ROOKERY_KAFKA__KEY_FILE: /etc/rookery/kafka/tls.key
{{- end }}
{{- end }}
ROOKERY_CASSANDRA__HOSTS: {{ join "," $cassandra.hosts | quote }}
ROOKERY_CASSANDRA__PORT: {{ $cassandra.port | quote }}
ROOKERY_CASSANDRA__KEYSPACE: {{ $cassandra.keyspace }}
ROOKERY_CASSANDRA__LOCAL_DATACENTER: {{ $cassandra.localDatacenter | quote }}
ROOKERY_CASSANDRA__REPLICATION: {{ $cassandra.replication | toJson | quote }}
ROOKERY_CASSANDRA__CONSISTENCY: {{ $cassandra.consistency }}
{{- if $cassandra.tls.secretName }}
ROOKERY_CASSANDRA__CA_FILE: /etc/rookery/cassandra/ca.crt
{{- if $cassandra.tls.clientCertificate }}
ROOKERY_CASSANDRA__CERTIFICATE_FILE: /etc/rookery/cassandra/tls.crt
ROOKERY_CASSANDRA__KEY_FILE: /etc/rookery/cassandra/tls.key
{{- end }}
{{- end }}
{{- with .Values.redis.url }}
ROOKERY_REDIS__URL: {{ . | quote }}
{{- end }}
{{- end -}}

{{/* Whether the role reads or writes files in an object store: archives delete those that no message has. */}}
{{- define "rookery.usesBucket" -}}
{{- if and .root.Values.files.url (has .role (list "bff" "archive" "embedded")) }}true{{ end -}}
{{- end -}}

{{- define "rookery.filesSettings" -}}
{{- $files := .Values.files -}}
ROOKERY_FILES__URL: {{ $files.url | quote }}
ROOKERY_FILES__REGION: {{ $files.region | quote }}
{{- with $files.endpoint }}
ROOKERY_FILES__ENDPOINT: {{ . | quote }}
{{- end }}
{{- with $files.publicEndpoint }}
ROOKERY_FILES__PUBLIC_ENDPOINT: {{ . | quote }}
{{- end }}
{{- if $files.tls.secretName }}
ROOKERY_FILES__CA_FILE: /etc/rookery/files/ca.crt
{{- end }}
{{- end -}}

{{/* Other variables of each container: its identity, and secrets by reference. */}}
{{- define "rookery.env" -}}
{{- $values := .root.Values -}}
{{- if has .role (list "archive" "gateway" "bff") }}
- name: ROOKERY_KAFKA__INSTANCE # the same after a restart
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
{{- end }}
{{- if has .role (list "gateway" "embedded") }}
{{- include "rookery.gatewayAddresses" . }}
{{- end }}
{{- if ne .role "embedded" }}
{{- range $name := list "kafka" "cassandra" }}
{{- with (index $values $name).credentials }}
{{- if .secretName }}
- name: ROOKERY_{{ upper $name }}__USERNAME
  valueFrom: {secretKeyRef: {name: {{ .secretName | quote }}, key: {{ .usernameKey | quote }}}}
- name: ROOKERY_{{ upper $name }}__PASSWORD
  valueFrom: {secretKeyRef: {name: {{ .secretName | quote }}, key: {{ .passwordKey | quote }}}}
{{- end }}
{{- end }}
{{- end }}
{{- with $values.redis }}
{{- if .secretName }}
- name: ROOKERY_REDIS__URL
  valueFrom: {secretKeyRef: {name: {{ .secretName | quote }}, key: {{ .key | quote }}}}
{{- end }}
{{- end }}
{{- end }}
{{- if include "rookery.usesBucket" . }}
{{- with $values.files.credentials }}
- name: ROOKERY_FILES__ACCESS_KEY
  valueFrom: {secretKeyRef: {name: {{ .secretName | quote }}, key: {{ .accessKeyKey | quote }}}}
- name: ROOKERY_FILES__SECRET_KEY
  valueFrom: {secretKeyRef: {name: {{ .secretName | quote }}, key: {{ .secretKeyKey | quote }}}}
{{- end }}
{{- end }}
{{- with $values.archiveToken }}
{{- if and .secretName (ne $.role "migrate") }}
- name: ROOKERY_ARCHIVE_TOKEN
  valueFrom: {secretKeyRef: {name: {{ .secretName | quote }}, key: {{ .key | quote }}}}
{{- end }}
{{- end }}
{{- with $values.traces.headers }}
{{- if and .secretName (ne $.role "migrate") }}
- name: ROOKERY_TRACES__HEADERS
  valueFrom: {secretKeyRef: {name: {{ .secretName | quote }}, key: {{ .key | quote }}}}
{{- end }}
{{- end }}
{{- with $values.previews.proxy }}
{{- if and .secretName (has $.role (list "gateway" "embedded")) }}
- name: ROOKERY_PREVIEWS__PROXY
  valueFrom: {secretKeyRef: {name: {{ .secretName | quote }}, key: {{ .key | quote }}}}
{{- end }}
{{- end }}
{{- with $values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The announced addresses of the gateway in this pod: always the pod's own name. */}}
{{- define "rookery.gatewayAddresses" -}}
{{- $values := .root.Values -}}
{{- $secure := include "rookery.secure" .root -}}
{{- $websocket := "" -}}
{{- $grpc := "" -}}
{{- if include "rookery.exposed" .root -}}
{{- $port := ternary (int $values.exposure.loadBalancer.grpcPort) 443 (eq $values.exposure.kind "loadBalancer") -}}
{{- $websocket = printf "wss://$(POD_NAME).%s/session" $values.public.gatewayDomain -}}
{{- $grpc = printf "grpcs://$(POD_NAME).%s:%d" $values.public.gatewayDomain $port -}}
{{- end -}}
{{- $internal := "" -}}
{{- if eq .role "gateway" -}}
{{- $host := printf "$(POD_NAME).%s.%s.svc" (include "rookery.workload" .) .root.Release.Namespace -}}
{{- $internal = printf "%s%s:8082" (ternary "grpcs://" "" (not (empty $secure))) $host -}}
{{- $websocket = $websocket | default (printf "%s://%s:8081/session" (ternary "wss" "ws" (not (empty $secure))) $host) -}}
{{- $grpc = $grpc | default $internal -}}
{{- end -}}
{{- if $websocket }}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: ROOKERY_GATEWAY__PUBLIC_WEBSOCKET
  value: {{ $websocket | quote }}
- name: ROOKERY_GATEWAY__PUBLIC_GRPC
  value: {{ $grpc | quote }}
{{- end }}
{{- with $internal }}
- name: ROOKERY_GATEWAY__INTERNAL_GRPC
  value: {{ . | quote }}
{{- end }}
{{- end -}}
