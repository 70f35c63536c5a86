{{/* Names, labels, and what follows from the values. */}}

{{- define "rookery.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* 40 characters, so that `-gateway-0` and the like make names that a label may have. */}}
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

{{/* The roles that run, with a space between them. */}}
{{- define "rookery.roles" -}}
{{- if eq .Values.mode "embedded" }}embedded{{ else }}archive gateway bff{{ end -}}
{{- end -}}

{{/* The name of a role's workload. Takes root and role. */}}
{{- define "rookery.workload" -}}
{{- $fullname := include "rookery.fullname" .root -}}
{{- if eq .role "embedded" }}{{ $fullname }}{{ else }}{{ $fullname }}-{{ .role }}{{ end -}}
{{- end -}}

{{/* Of everything; of what belongs to a role. The second takes root and role. */}}
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

{{/* By which pods are found: never changed, since workloads can't change theirs. */}}
{{- define "rookery.selector" -}}
app.kubernetes.io/name: {{ include "rookery.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
{{- end -}}

{{- define "rookery.image" -}}
{{- $image := .root.Values.image -}}
{{- $tag := (index .root.Values .role).imageTag | default $image.tag | default .root.Chart.AppVersion -}}
{{- if $image.digest }}{{ $image.repository }}@{{ $image.digest }}{{ else }}{{ $image.repository }}:{{ $tag }}{{ end -}}
{{- end -}}

{{/* Seconds from a pod's deletion to SIGKILL. Takes root and role. */}}
{{- define "rookery.gracePeriod" -}}
{{- $needed := add (index .root.Values .role).preStopSeconds (ceil .root.Values.stopDeadlineSeconds) 5 -}}
{{- .root.Values.terminationGracePeriodSeconds | default $needed -}}
{{- end -}}

{{/* How many pods of a role there are. Where the autoscaler says so, as many as now: to say nothing would mean one, at the
     moment when autoscaling is turned on. Takes root, role and kind. */}}
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

{{/* How many pods of a role there may be. Takes root and role. */}}
{{- define "rookery.maxReplicas" -}}
{{- if eq .role "embedded" }}1
{{- else -}}
{{- $values := index .root.Values .role -}}
{{- if $values.autoscaling.enabled }}{{ max $values.replicas $values.autoscaling.maxReplicas }}{{ else }}{{ $values.replicas }}{{ end -}}
{{- end -}}
{{- end -}}

{{/* The role to which come clients of the API, and those with sessions. */}}
{{- define "rookery.bffRole" -}}{{ if eq .Values.mode "embedded" }}embedded{{ else }}bff{{ end }}{{- end -}}
{{- define "rookery.gatewayRole" -}}{{ if eq .Values.mode "embedded" }}embedded{{ else }}gateway{{ end }}{{- end -}}

{{/* The name of every pod that may be a gateway, with a space between them. */}}
{{- define "rookery.gatewayPods" -}}
{{- $of := dict "root" . "role" (include "rookery.gatewayRole" .) -}}
{{- $pods := list -}}
{{- range $number := until (include "rookery.maxReplicas" $of | int) -}}
{{- $pods = append $pods (printf "%s-%d" (include "rookery.workload" $of) $number) -}}
{{- end -}}
{{- join " " $pods -}}
{{- end -}}

{{- define "rookery.exposed" -}}{{ if ne .Values.exposure.kind "none" }}true{{ end }}{{- end -}}

{{/* The Secret with the certificate of all that is inside; empty for plain text. */}}
{{- define "rookery.tlsSecret" -}}
{{- if .Values.tls.certManager.enabled }}{{ include "rookery.fullname" . }}-tls{{ else }}{{ .Values.tls.secretName }}{{ end -}}
{{- end -}}

{{/* Whether clients find TLS at the pods. */}}
{{- define "rookery.secure" -}}{{ if include "rookery.tlsSecret" . }}true{{ end }}{{- end -}}

{{/* Where BFFs and gateways find archives: each address of this name is one. */}}
{{- define "rookery.archiveHost" -}}
{{ include "rookery.fullname" . }}-archive.{{ .Release.Namespace }}.svc
{{- end -}}

{{/* A value of a role, or that of all. Takes root, role and name. */}}
{{- define "rookery.ownOrShared" -}}
{{- $value := index (index .root.Values .role) .name | default (index .root.Values .name) -}}
{{- with $value }}{{ toYaml . }}{{ end -}}
{{- end -}}
