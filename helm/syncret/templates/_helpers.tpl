{{- define "syncret.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "syncret.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "syncret.name" .) .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "syncret.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "syncret.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "syncret.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.name: name the ServiceAccount to use, because serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "syncret.selectorLabels" -}}
app.kubernetes.io/name: {{ include "syncret.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "syncret.labels" -}}
{{ include "syncret.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "syncret.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end }}

{{- /* Not empty if a source of events is a hook. */ -}}
{{- define "syncret.hooks" -}}
{{- range .Values.events.sources }}{{ if hasKey . "hook" }}yes{{ end }}{{ end }}
{{- end }}

{{- define "syncret.events" -}}
{{- if include "syncret.hooks" . }}
hookAddress: ":{{ .Values.events.hooks.port }}"
{{- end }}
eventSources:
  {{- toYaml .Values.events.sources | nindent 2 }}
{{- end }}
