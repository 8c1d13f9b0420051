{{/* The name of all objects: only the release's name if that contains the chart's. */}}
{{- define "managed-redis-operator.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The labels by which the Deployment, the Service and other objects select pods. */}}
{{- define "managed-redis-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "managed-redis-operator.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "managed-redis-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "managed-redis-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "managed-redis-operator.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- define "managed-redis-operator.image" -}}
{{- .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- with .Values.image.digest }}@{{ . }}{{ end -}}
{{- end -}}

{{/* The port of config.adminAddr. */}}
{{- define "managed-redis-operator.adminPort" -}}
{{- regexFind "[0-9]+$" (.Values.config.adminAddr | default "0.0.0.0:8080") -}}
{{- end -}}

{{/* The arguments of the container. Numbers are converted to look as they were given: Helm reads all numbers as floats. */}}
{{- define "managed-redis-operator.args" -}}
- run
- --operator-namespace={{ .Release.Namespace }}
- --leader-election={{ .Values.leaderElection.enabled }}
{{- range .Values.watchNamespaces }}
- --watch-namespace={{ . }}
{{- end }}
- --connection-config-maps={{ .Values.connectionConfigMaps.enabled }}
{{- with .Values.config }}
{{- range .kakaoEndpoint }}
- {{ printf "--kakao-endpoint=%s" . | quote }}
{{- end }}
{{- range .kakaoIamEndpoint }}
- {{ printf "--kakao-iam-endpoint=%s" . | quote }}
{{- end }}
{{- range .ncpEndpoint }}
- {{ printf "--ncp-endpoint=%s" . | quote }}
{{- end }}
{{- with .labelSelector }}
- {{ printf "--label-selector=%s" . | quote }}
{{- end }}
{{- with .workers }}
- --workers={{ int64 . }}
{{- end }}
{{- with .maxClustersPerSync }}
- --max-clusters-per-sync={{ int64 . }}
{{- end }}
{{- with .cloudQps }}
- --cloud-qps={{ toString . }}
{{- end }}
{{- with .cloudBurst }}
- --cloud-burst={{ int64 . }}
{{- end }}
{{- with .maxClusters }}
- --max-clusters={{ int64 . }}
{{- end }}
{{- with .pollInterval }}
- --poll-interval={{ . }}
{{- end }}
{{- with .statusHeartbeat }}
- --status-heartbeat={{ . }}
{{- end }}
{{- with .flushClaimRetention }}
- --flush-claim-retention={{ . }}
{{- end }}
{{- with .adminAddr }}
- {{ printf "--admin-addr=%s" . | quote }}
{{- end }}
{{- with .logFormat }}
- --log-format={{ . }}
{{- end }}
{{- with .logFilter }}
- {{ printf "--log-filter=%s" . | quote }}
{{- end }}
{{- if .allowInsecureEndpoints }}
- --allow-insecure-endpoints
{{- end }}
{{- end }}
{{- range .Values.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end -}}

{{/* Checks of values against each other, which the schema cannot do. */}}
{{- define "managed-redis-operator.check" -}}
{{- if and (gt (int .Values.replicas) 1) (not .Values.leaderElection.enabled) -}}
{{- fail "replicas is more than 1, but leaderElection.enabled is false: pods would work against each other" -}}
{{- end -}}
{{- if and .Values.metrics.serviceMonitor.enabled (not .Values.metrics.service.enabled) -}}
{{- fail "metrics.serviceMonitor.enabled needs metrics.service.enabled: a ServiceMonitor selects a Service" -}}
{{- end -}}
{{- end -}}
