{{/* Names, labels, and computed values. */}}

{{- define "rookery.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* At most 40 characters, so that names with `-gateway-0` and the like are valid labels. */}}
{{- define "rookery.fullname" -}}
{{- $name := include "rookery.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The roles of the release, separated by spaces. */}}
{{- define "rookery.roles" -}}
{{- if eq .Values.mode "embedded" }}embedded{{ else }}archive gateway bff{{ end -}}
{{- end -}}

{{/* The name of a role's workload. Takes root and role. */}}
{{- define "rookery.workload" -}}
{{- $fullname := include "rookery.fullname" .root -}}
{{- if eq .role "embedded" }}{{ $fullname }}{{ else }}{{ $fullname }}-{{ .role }}{{ end -}}
{{- end -}}

{{/* Labels of all objects; labels of a role's objects. The second takes root and role. */}}
{{- define "rookery.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: {{ include "rookery.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "rookery.roleLabels" -}}
{{ include "rookery.labels" .root }}
app.kubernetes.io/component: {{ .role }}
{{- end -}}

{{/* Selector labels: never change them, because the selector of a workload is immutable. */}}
{{- define "rookery.selector" -}}
app.kubernetes.io/name: {{ include "rookery.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
{{- end -}}

{{/* The image of a role: its own digest or tag, else that of all roles. Takes root and role. */}}
{{- define "rookery.image" -}}
{{- $image := .root.Values.image -}}
{{- $own := index .root.Values .role -}}
{{- $digest := $own.imageDigest | default (ternary "" $image.digest (not (empty $own.imageTag))) -}}
{{- $tag := $own.imageTag | default $image.tag | default .root.Chart.AppVersion -}}
{{- if $digest }}{{ $image.repository }}@{{ $digest }}{{ else }}{{ $image.repository }}:{{ $tag }}{{ end -}}
{{- end -}}

{{/* Seconds from a pod's deletion to SIGKILL. Takes root and role. */}}
{{- define "rookery.gracePeriod" -}}
{{- $needed := add (index .root.Values .role).preStopSeconds (ceil .root.Values.stopDeadlineSeconds) 5 -}}
{{- .root.Values.terminationGracePeriodSeconds | default $needed -}}
{{- end -}}

{{/* The number of pods of a role. With autoscaling, the current number: without a number, Kubernetes would scale to one pod
     when autoscaling is turned on. Takes root, role and kind. */}}
{{- define "rookery.replicas" -}}
{{- $own := index .root.Values .role -}}
{{- if not $own.autoscaling.enabled -}}
replicas: {{ $own.replicas }}
{{- else -}}
{{- with (lookup "apps/v1" .kind .root.Release.Namespace (include "rookery.workload" .)).spec -}}
replicas: {{ .replicas }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The maximum of pods of a role. Takes root and role. */}}
{{- define "rookery.maxReplicas" -}}
{{- if eq .role "embedded" }}1
{{- else -}}
{{- $values := index .root.Values .role -}}
{{- if $values.autoscaling.enabled }}{{ max $values.replicas $values.autoscaling.maxReplicas }}{{ else }}{{ $values.replicas }}{{ end -}}
{{- end -}}
{{- end -}}

{{/* The role that serves the API, and the role that serves sessions. */}}
{{- define "rookery.bffRole" -}}{{ if eq .Values.mode "embedded" }}embedded{{ else }}bff{{ end }}{{- end -}}
{{- define "rookery.gatewayRole" -}}{{ if eq .Values.mode "embedded" }}embedded{{ else }}gateway{{ end }}{{- end -}}

{{/* The names of all possible gateway pods, separated by spaces. */}}
{{- define "rookery.gatewayPods" -}}
{{- $of := dict "root" . "role" (include "rookery.gatewayRole" .) -}}
{{- $pods := list -}}
{{- range $number := until (include "rookery.maxReplicas" $of | int) -}}
{{- $pods = append $pods (printf "%s-%d" (include "rookery.workload" $of) $number) -}}
{{- end -}}
{{- join " " $pods -}}
{{- end -}}

{{- define "rookery.exposed" -}}{{ if ne .Values.exposure.kind "none" }}true{{ end }}{{- end -}}

{{/* The Secret with the certificate of all listeners inside the cluster; empty for plain text. */}}
{{- define "rookery.tlsSecret" -}}
{{- if .Values.tls.certManager.enabled }}{{ include "rookery.fullname" . }}-tls{{ else }}{{ .Values.tls.secretName }}{{ end -}}
{{- end -}}

{{/* Whether the pods serve clients over TLS. */}}
{{- define "rookery.secure" -}}{{ if include "rookery.tlsSecret" . }}true{{ end }}{{- end -}}

{{/* The name whose addresses are the archives, for BFFs and gateways. */}}
{{- define "rookery.archiveHost" -}}
{{ include "rookery.fullname" . }}-archive.{{ .Release.Namespace }}.svc
{{- end -}}

{{/* The origin of the page inside the cluster. */}}
{{- define "rookery.internalPage" -}}
{{ ternary "https" "http" (not (empty (include "rookery.secure" .))) }}://{{ include "rookery.fullname" . }}-bff.{{ .Release.Namespace }}.svc:8080
{{- end -}}

{{/* A value of a role, or the value of all roles. Takes root, role and name. */}}
{{- define "rookery.ownOrShared" -}}
{{- $value := index (index .root.Values .role) .name | default (index .root.Values .name) -}}
{{- with $value }}{{ toYaml . }}{{ end -}}
{{- end -}}
