{{/* The pod of a role: one container without privileges. Takes root and role. */}}

{{/* The ports of a role's container, by name. `health` has probes and metrics; in one pod with all roles it is the BFF's. */}}
{{- define "rookery.ports" -}}
{{- if eq .role "bff" -}}
http: 8080
health: 8090
{{- else if eq .role "gateway" -}}
websocket: 8081
grpc: 8082
health: 8091
{{- else if eq .role "archive" -}}
grpc: 8083
health: 8093
{{- else -}}
http: 8080
websocket: 8081
grpc: 8082
health: 8090
{{- end -}}
{{- end -}}

{{- define "rookery.pod" -}}
{{- $root := .root -}}
{{- $values := $root.Values -}}
{{- $own := index $values .role -}}
{{- $ports := include "rookery.ports" . | fromYaml -}}
metadata:
  labels: # without versions, so that an upgrade rolls only changed pods
    {{- include "rookery.selector" . | nindent 4 }}
    {{- with mergeOverwrite (dict) $values.podLabels $own.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    # A changed ConfigMap rolls the pods. (A changed Secret does not: use kubectl rollout restart.)
    checksum/settings: {{ include "rookery.settings" . | sha256sum }}
    {{- if and $values.monitoring.annotations (not $values.monitoring.podMonitor.enabled) }}
    prometheus.io/scrape: "true"
    prometheus.io/path: /metrics
    prometheus.io/port: {{ $ports.health | quote }}
    prometheus.io/scheme: {{ ternary "https" "http" (not (empty (include "rookery.secure" $root))) }}
    {{- end }}
    {{- with mergeOverwrite (dict) $values.podAnnotations $own.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  {{- include "rookery.podSpec" (merge (dict "account" (include "rookery.fullname" $root)) .) | nindent 2 }}
  terminationGracePeriodSeconds: {{ include "rookery.gracePeriod" . }}
  containers:
    - name: {{ .role }}
      image: {{ include "rookery.image" . | quote }}
      imagePullPolicy: {{ $values.image.pullPolicy }}
      args: [{{ ternary "up" .role (eq .role "embedded") }}]
      envFrom:
        - configMapRef: {name: {{ include "rookery.workload" . }}}
      {{- with include "rookery.env" . | trim }}
      env:
        {{- . | nindent 8 }}
      {{- end }}
      ports:
        {{- range $name, $port := $ports }}
        - {name: {{ $name }}, containerPort: {{ $port }}, protocol: TCP}
        {{- end }}
      {{- include "rookery.probes" . | nindent 6 }}
      {{- if $own.preStopSeconds }}
      lifecycle:
        preStop: {sleep: {seconds: {{ $own.preStopSeconds }}}}
      {{- end }}
      {{- include "rookery.containerSecurity" . | nindent 6 }}
      resources:
        {{- toYaml $own.resources | nindent 8 }}
      volumeMounts:
        {{- include "rookery.volumeMounts" . | nindent 8 }}
  volumes:
    {{- include "rookery.volumes" . | nindent 4 }}
{{- end -}}

{{/* Checks take at most 2 seconds; a probe's timeout leaves time for the response. A start may read tails of the log first;
the embedded platform's may migrate its databases, in half an hour at most. A role that waits for an engine has started. */}}
{{- define "rookery.probes" -}}
{{- $get := printf "port: health, scheme: %s" (ternary "HTTPS" "HTTP" (not (empty (include "rookery.secure" .root)))) -}}
startupProbe:
  httpGet: {path: /startupz, {{ $get }}}
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: {{ ternary 900 90 (eq .role "embedded") }}
readinessProbe:
  httpGet: {path: /readyz, {{ $get }}}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 2
livenessProbe:
  httpGet: {path: /livez, {{ $get }}}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end -}}

{{/* The common part of the pods of roles and of the migration, without containers and volumes. Also takes account. */}}
{{- define "rookery.podSpec" -}}
{{- $values := .root.Values -}}
serviceAccountName: {{ .account }}
automountServiceAccountToken: false
enableServiceLinks: false # variables such as ROOKERY_BFF_PORT would be read as unknown settings
{{- with $values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- range $name := list "nodeSelector" "tolerations" "affinity" }}
{{- with include "rookery.ownOrShared" (merge (dict "name" $name) $) }}
{{ $name }}:
  {{- . | nindent 2 }}
{{- end }}
{{- end }}
{{- with (index $values .role).priorityClassName | default $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- if has .role (list "archive" "gateway" "bff") }}
{{- include "rookery.topologySpread" . }}
{{- end }}
{{- end -}}

{{- define "rookery.topologySpread" -}}
{{- $spread := .root.Values.topologySpread -}}
{{- $rules := dict "topology.kubernetes.io/zone" $spread.zone "kubernetes.io/hostname" $spread.host -}}
{{- if or $spread.zone $spread.host }}
topologySpreadConstraints:
  {{- range $key, $rule := $rules }}
  {{- if $rule }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: {{ $rule }}
    labelSelector:
      matchLabels:
        {{- include "rookery.selector" $ | nindent 8 }}
    matchLabelKeys: [{{ ternary "pod-template-hash" "controller-revision-hash" (eq $.role "bff") }}]
  {{- end }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "rookery.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end -}}

{{/* Secrets with certificates: name of the folder, name of the Secret. */}}
{{- define "rookery.certificates" -}}
{{- $values := .root.Values -}}
{{- if ne .role "migrate" }}
{{- with include "rookery.tlsSecret" .root }}
tls: {{ . }}
{{- end }}
{{- if and $values.tls.publicSecretName (ne .role "archive") }}
public-tls: {{ $values.tls.publicSecretName }}
{{- end }}
{{- end }}
{{- if ne .role "embedded" }}
{{- range $name := list "kafka" "cassandra" }}
{{- with (index $values $name).tls.secretName }}
{{ $name }}: {{ . }}
{{- end }}
{{- end }}
{{- end }}
{{- if and (include "rookery.usesBucket" .) $values.files.tls.secretName }}
files: {{ $values.files.tls.secretName }}
{{- end }}
{{- end -}}

{{/* Whether the role reads or writes files on a volume that pods share. */}}
{{- define "rookery.usesClaim" -}}
{{- if and .root.Values.files.claimName (has .role (list "bff" "archive")) }}true{{ end -}}
{{- end -}}

{{- define "rookery.volumeMounts" -}}
- {name: tmp, mountPath: /tmp}
{{- if eq .role "embedded" }}
- {name: data, mountPath: /data}
{{- end }}
{{- if include "rookery.usesClaim" . }}
- {name: shared-files, mountPath: /data/files}
{{- end }}
{{- range $name, $_ := include "rookery.certificates" . | fromYaml }}
- {name: {{ $name }}, mountPath: /etc/rookery/{{ $name }}, readOnly: true}
{{- end }}
{{- with .root.Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "rookery.volumes" -}}
- name: tmp
  emptyDir: {medium: Memory, sizeLimit: 64Mi}
{{- range $name, $secret := include "rookery.certificates" . | fromYaml }}
- name: {{ $name }}
  secret: {secretName: {{ $secret | quote }}, defaultMode: 0440}
{{- end }}
{{- if include "rookery.usesClaim" . }}
- name: shared-files
  persistentVolumeClaim: {claimName: {{ .root.Values.files.claimName | quote }}}
{{- end }}
{{- with .root.Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
