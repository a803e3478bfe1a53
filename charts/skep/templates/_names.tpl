{{/* Names and labels. Selectors are made of skep.selector alone: versions and chart names change, and would lose the pods. */}}

{{- define "skep.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "skep.operator" -}}{{ include "skep.fullname" . }}-operator{{- end -}}

{{- define "skep.cluster" -}}{{ .Values.cluster.name | default (include "skep.fullname" .) }}{{- end -}}

{{- define "skep.selector" -}}
app.kubernetes.io/name: skep-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "skep.labels" -}}
{{ include "skep.selector" . }}
{{ include "skep.commonLabels" . }}
{{- end -}}

{{/* Of what belongs to the release but is not the operator. */}}
{{- define "skep.commonLabels" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: skep
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "skep.repository" -}}
{{- if not .Values.image.repository -}}
{{- fail "image.repository is empty: there is no image of Skep that everybody could pull. Build one, push it to a registry that your nodes can pull from, and name it by --set image.repository=REGISTRY/skep (docs/kubernetes.md, 'An image first')" -}}
{{- end -}}
{{- .Values.image.repository -}}
{{- end -}}

{{- define "skep.image" -}}
{{ include "skep.repository" . }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "skep.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "skep.operator" .) }}
{{- else -}}
{{ required "serviceAccount.name is needed when serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end -}}
{{- end -}}

{{/* Namespaces that the operator looks after, with commas; empty: all. */}}
{{- define "skep.namespaces" -}}
{{- if eq .Values.operator.scope "namespace" -}}
{{- .Values.operator.namespaces | default (list .Release.Namespace) | uniq | join "," -}}
{{- else if .Values.operator.namespaces -}}
{{- fail "operator.namespaces is only looked at with operator.scope: namespace" -}}
{{- end -}}
{{- end -}}

{{/* Locked in: no root, no capability, nothing writable. */}}
{{- define "skep.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end -}}
{{- define "skep.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* What is common to the small pods of hooks and tests. */}}
{{- define "skep.smallPod" -}}
restartPolicy: Never
enableServiceLinks: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  {{- include "skep.podSecurity" . | nindent 2 }}
{{- with .Values.operator.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.operator.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
