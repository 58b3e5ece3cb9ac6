{{- /* How the operator is called: every value that reaches it, reaches it here. */ -}}
{{- define "werkbank.args" -}}
- operator
- --listen={{ if eq .Values.ipFamily "IPv6" }}[$(POD_IP)]{{ else }}$(POD_IP){{ end }}:{{ .Values.port }}
- --log-format={{ .Values.log.format }}
- --log-level={{ .Values.log.level }}
- --concurrency={{ .Values.concurrency }}
- --kube-api-qps={{ .Values.kubeApi.qps }}
- --kube-api-burst={{ .Values.kubeApi.burst }}
- --lease-name={{ include "werkbank.fullname" . }}
- --lease-duration-seconds={{ .Values.leaderElection.leaseDurationSeconds }}
- --lease-renew-deadline-seconds={{ .Values.leaderElection.renewDeadlineSeconds }}
- --lease-retry-seconds={{ .Values.leaderElection.retryPeriodSeconds }}
- --regions-file=/etc/werkbank/regions.json
- --audit-log={{ include "werkbank.auditLogUrl" . }}
{{- if .Values.audit.keySecret }}
- --audit-keys=/etc/werkbank-audit/keys
{{- end }}
{{- if .Values.approvals.policies }}
- --approval-policies={{ include "werkbank.fullname" . }}
{{- end }}
{{- if .Values.artifacts.verify }}
- --verify-artifacts
- --verify-at-once={{ .Values.artifacts.verifyAtOnce }}
{{- with .Values.artifacts.verifyAgainEvery }}
- --verify-again-every={{ . }}
{{- end }}
{{- end }}
{{- if .Values.governance.required }}
- --require-governance
{{- end }}
{{- range .Values.approvals.roles }}
- --approval-role={{ . }}
{{- end }}
{{- range .Values.approvals.knownRoles }}
- --known-role={{ . }}
{{- end }}
{{- range .Values.approvals.deliveryAccounts }}
- --delivery-account={{ . }}
{{- end }}
{{- range .Values.watchNamespaces }}
- --watch-namespace={{ . }}
{{- end }}
{{- if .Values.prometheus.url }}
- --prometheus-url={{ .Values.prometheus.url }}
{{- range .Values.prometheus.allowedNamespaces }}
- --prometheus-allowed-namespace={{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "werkbank.env" -}}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: POD_IP
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
- name: WERKBANK_IMAGE
  value: {{ .Values.fetchImage | default (include "werkbank.image" .) | quote }}
{{- if eq .Values.audit.store "S3" }}
{{- with .Values.audit.s3.endpoint }}
- name: AWS_ENDPOINT_URL
  value: {{ . | quote }}
{{- end }}
{{- with .Values.audit.s3.region }}
- name: AWS_REGION
  value: {{ . | quote }}
{{- end }}
{{- end }}
{{- with .Values.env }}
{{ toYaml . }}
{{- end }}
{{- end -}}
