{{- define "werkbank.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "werkbank.selectorLabels" -}}
app.kubernetes.io/name: werkbank
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "werkbank.labels" -}}
{{ include "werkbank.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: werkbank
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "werkbank.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "werkbank.fullname" .) -}}
{{- else -}}
{{- required "serviceAccount.name must name an account of the operator's own where serviceAccount.create is false: what the operator may do is bound to it" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "werkbank.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- define "werkbank.auditLogUrl" -}}
{{- if eq .Values.audit.store "S3" -}}
{{- .Values.audit.s3.url -}}
{{- else -}}
file:///var/lib/werkbank/audit
{{- end -}}
{{- end -}}

{{- /* What the schema cannot say in a sentence a person understands. */ -}}
{{- define "werkbank.validate" -}}
{{- if and (eq .Values.audit.store "S3") (not .Values.audit.s3.url) -}}
{{- fail "audit.store is S3 but audit.s3.url is empty: set it to s3://bucket/prefix" -}}
{{- end -}}
{{- if and .Values.audit.keySecret (eq .Values.audit.store "EmptyDir") -}}
{{- fail "audit.keySecret is set and audit.store is EmptyDir: every pod would sign a log of its own under one name; set audit.store to S3 or PersistentVolumeClaim" -}}
{{- end -}}
{{- if and (eq .Values.audit.store "PersistentVolumeClaim") (not .Values.audit.persistentVolumeClaim.existingClaim) -}}
{{- fail "audit.store is PersistentVolumeClaim but audit.persistentVolumeClaim.existingClaim is empty: set it to the name of a claim in the release's namespace" -}}
{{- end -}}
{{- with .Values.leaderElection -}}
{{- if not (and (lt (int .retryPeriodSeconds) (int .renewDeadlineSeconds)) (lt (int .renewDeadlineSeconds) (int .leaseDurationSeconds))) -}}
{{- fail (printf "leaderElection needs retryPeriodSeconds < renewDeadlineSeconds < leaseDurationSeconds, got %v, %v, %v: else two replicas could lead, or none" .retryPeriodSeconds .renewDeadlineSeconds .leaseDurationSeconds) -}}
{{- end -}}
{{- end -}}
{{- if gt (int .Values.kubeApi.qps) (int .Values.kubeApi.burst) -}}
{{- fail (printf "kubeApi.burst (%v) is below kubeApi.qps (%v): raise the burst to at least the rate" .Values.kubeApi.burst .Values.kubeApi.qps) -}}
{{- end -}}
{{- if and .Values.prometheus.url (not .Values.prometheus.allowedNamespaces) -}}
{{- fail "prometheus.url is set but prometheus.allowedNamespaces is empty, so nobody could query it: name the namespaces, or use [\"*\"]" -}}
{{- end -}}
{{- end -}}
