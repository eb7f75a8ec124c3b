{{- define "voicemill.fullname" -}}
{{- if .Values.fullnameOverride }}{{ .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" }}
{{- end }}{{- end }}{{- end }}

{{- /* What does not change in the life of a Deployment: dict root, component, and pool of a worker. */ -}}
{{- define "voicemill.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- with .pool }}
voicemill/worker: {{ . }}
{{- end }}
{{- end }}

{{- define "voicemill.labels" -}}
{{ include "voicemill.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "voicemill.image" -}}
{{- $i := .root.Values.image -}}
{{- with $i.registry }}{{ . }}/{{ end }}{{ $i.repository }}/{{ .name }}:{{ default .root.Chart.AppVersion $i.tag }}
{{- end }}

{{/* The secret with the first key: the operator's, or one that the chart makes. */}}
{{- define "voicemill.firstKey" -}}
{{- default (printf "%s-first-key" (include "voicemill.fullname" .)) .Values.init.firstKey.name -}}
{{- end }}
