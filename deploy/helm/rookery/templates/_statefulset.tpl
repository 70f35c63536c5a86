{{/* Stable names, so that a restarted pod rejoins its consumer group at once. Pods start in parallel, and are replaced one
     after the other, the last first, each when the one before it is ready. Takes root and role. */}}
{{- define "rookery.statefulSet" -}}
{{- $own := index .root.Values .role -}}
serviceName: {{ ternary (printf "%s-bff" (include "rookery.fullname" .root)) (include "rookery.workload" .) (eq .role "embedded") }}
{{- if eq .role "embedded" }}
replicas: 1
{{- else }}
{{- with include "rookery.replicas" (merge (dict "kind" "StatefulSet") .) }}
{{ . }}
{{- end }}
{{- end }}
podManagementPolicy: Parallel
updateStrategy: {type: RollingUpdate}
minReadySeconds: {{ $own.minReadySeconds }}
revisionHistoryLimit: 5
selector:
  matchLabels:
    {{- include "rookery.selector" . | nindent 4 }}
template:
  {{- include "rookery.pod" . | nindent 2 }}
{{- end -}}
