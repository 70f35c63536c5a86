{{/* Checks that the schema can't express: contradictory values. All errors are reported together. */}}
{{- define "rookery.checks" -}}
{{- $wrong := list -}}
{{- $values := .Values -}}
{{- $tls := 0 -}}
{{- range list $values.tls.secretName $values.tls.certManager.enabled $values.tls.plaintext }}{{ if . }}{{ $tls = add1 $tls }}{{ end }}{{ end -}}
{{- if ne (int $tls) 1 -}}
{{- $wrong = append $wrong "set exactly one of tls.secretName, tls.certManager.enabled and tls.plaintext" -}}
{{- end -}}
{{- if and $values.tls.certManager.enabled (not $values.tls.certManager.issuer.name) -}}
{{- $wrong = append $wrong "tls.certManager.enabled needs tls.certManager.issuer.name" -}}
{{- end -}}
{{- if and $values.tls.plaintext $values.tls.publicSecretName -}}
{{- $wrong = append $wrong "tls.publicSecretName needs TLS in the pods, which tls.plaintext disables" -}}
{{- end -}}
{{- if include "rookery.exposed" . -}}
{{- if not (and $values.public.host $values.public.gatewayDomain) -}}
{{- $wrong = append $wrong (printf "exposure.kind %s needs public.host and public.gatewayDomain" $values.exposure.kind) -}}
{{- end -}}
{{- if and (eq $values.exposure.kind "gatewayApi") (not $values.exposure.gatewayApi.parentRefs) -}}
{{- $wrong = append $wrong "exposure.kind gatewayApi needs exposure.gatewayApi.parentRefs" -}}
{{- end -}}
{{- if eq $values.exposure.kind "loadBalancer" -}}
{{- if $values.tls.plaintext -}}
{{- $wrong = append $wrong "exposure.kind loadBalancer needs TLS in the pods, which tls.plaintext disables" -}}
{{- end -}}
{{- if and $values.tls.certManager.enabled (not $values.tls.publicSecretName) -}}
{{- $wrong = append $wrong "exposure.kind loadBalancer needs tls.publicSecretName: the certificate of tls.certManager has no public name" -}}
{{- end -}}
{{- if $values.exposure.trustedProxies -}}
{{- $wrong = append $wrong "exposure.trustedProxies is for proxies of HTTP: with exposure.kind loadBalancer, X-Forwarded-For is what clients wrote" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and $values.monitoring.podMonitor.enabled $values.tls.publicSecretName (not $values.monitoring.podMonitor.tlsConfig) -}}
{{- $wrong = append $wrong "monitoring.podMonitor with tls.publicSecretName needs monitoring.podMonitor.tlsConfig: pods present that certificate" -}}
{{- end -}}
{{- range $role := splitList " " (include "rookery.roles" .) -}}
{{- $needed := add (index $values $role).preStopSeconds (ceil $values.stopDeadlineSeconds) -}}
{{- if and $values.terminationGracePeriodSeconds (le (int $values.terminationGracePeriodSeconds) (int $needed)) -}}
{{- $wrong = append $wrong (printf "terminationGracePeriodSeconds must be more than %s.preStopSeconds and stopDeadlineSeconds together, %d" $role $needed) -}}
{{- end -}}
{{- end -}}
{{- if and $values.files.url (not $values.files.credentials.secretName) -}}
{{- $wrong = append $wrong "files.url needs files.credentials.secretName" -}}
{{- end -}}
{{- if and (eq $values.mode "embedded") $values.files.claimName -}}
{{- $wrong = append $wrong "mode embedded has its own volume: files.claimName is for mode distributed" -}}
{{- end -}}
{{- if eq $values.mode "distributed" -}}
{{- if eq (empty $values.files.url) (empty $values.files.claimName) -}}
{{- $wrong = append $wrong "set one of files.url and files.claimName" -}}
{{- end -}}
{{- if not $values.kafka.servers }}{{ $wrong = append $wrong "kafka.servers names no broker" }}{{ end -}}
{{- if not $values.cassandra.hosts }}{{ $wrong = append $wrong "cassandra.hosts names no node" }}{{ end -}}
{{- if eq (empty $values.redis.url) (empty $values.redis.secretName) -}}
{{- $wrong = append $wrong "set one of redis.url and redis.secretName" -}}
{{- end -}}
{{- if and (hasPrefix "SASL" $values.kafka.security) (not $values.kafka.credentials.secretName) -}}
{{- $wrong = append $wrong (printf "kafka.security %s needs kafka.credentials.secretName" $values.kafka.security) -}}
{{- end -}}
{{- if and $values.kafka.credentials.secretName (not (hasPrefix "SASL" $values.kafka.security)) -}}
{{- $wrong = append $wrong (printf "kafka.credentials.secretName needs kafka.security SASL_SSL or SASL_PLAINTEXT, not %s" $values.kafka.security) -}}
{{- end -}}
{{- if and $values.kafka.tls.secretName (not (hasSuffix "SSL" $values.kafka.security)) -}}
{{- $wrong = append $wrong (printf "kafka.tls.secretName needs kafka.security SSL or SASL_SSL, not %s" $values.kafka.security) -}}
{{- end -}}
{{- range $name := list "kafka" "cassandra" -}}
{{- $tls := (index $values $name).tls -}}
{{- if and $tls.clientCertificate (not $tls.secretName) -}}
{{- $wrong = append $wrong (printf "%s.tls.clientCertificate needs %s.tls.secretName" $name $name) -}}
{{- end -}}
{{- end -}}
{{- if gt (int $values.kafka.minInSync) (int $values.kafka.replication) -}}
{{- $wrong = append $wrong "kafka.minInSync is more than kafka.replication" -}}
{{- end -}}
{{- range $role := list "archive" "gateway" "bff" -}}
{{- $auto := (index $values $role).autoscaling -}}
{{- if gt (int $auto.minReplicas) (int $auto.maxReplicas) -}}
{{- $wrong = append $wrong (printf "%s.autoscaling.minReplicas is more than its maxReplicas" $role) -}}
{{- end -}}
{{- $most := include "rookery.maxReplicas" (dict "root" $ "role" $role) | int -}}
{{- if and (ne $role "bff") (gt $most (int $values.kafka.partitions)) -}}
{{- $wrong = append $wrong (printf "%d pods of %s exceed kafka.partitions, %d: some would have no partition" $most $role (int $values.kafka.partitions)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $wrong }}{{ fail (printf "\n\n  %s\n" (join "\n  " $wrong)) }}{{ end -}}
{{- end -}}
