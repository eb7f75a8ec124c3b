{{- /* The settings of a service as its file: what all have, then its own. Secrets are not among them. */ -}}
{{- define "voicemill.settings" -}}
{{- $v := .root.Values -}}
{{- $shared := dict "bus-url" $v.bus.url "blob-endpoint" $v.bucket.endpoint "blob-bucket" $v.bucket.name "blob-region" $v.bucket.region "blob-tls" $v.bucket.tls -}}
{{- with $v.bucket.publicEndpoint }}{{ $_ := set $shared "blob-public-endpoint" . }}{{ end -}}
{{- if $v.bus.credentials.name }}{{ $_ := set $shared "bus-credentials" "/etc/voicemill/nats/nats.creds" }}{{ end -}}
{{- mergeOverwrite $shared (deepCopy $v.settings) (deepCopy (default dict .own)) (default dict .fixed) | toYaml }}
{{- end }}

{{- define "voicemill.secrets" -}}
- name: VOICEMILL_DB_DSN
  valueFrom: {secretKeyRef: {name: {{ .Values.database.secret.name }}, key: {{ .Values.database.secret.key }}}}
- name: VOICEMILL_BLOB_ACCESS_KEY
  valueFrom: {secretKeyRef: {name: {{ .Values.bucket.secret.name }}, key: {{ .Values.bucket.secret.accessKey }}}}
- name: VOICEMILL_BLOB_SECRET_KEY
  valueFrom: {secretKeyRef: {name: {{ .Values.bucket.secret.name }}, key: {{ .Values.bucket.secret.secretKey }}}}
{{- end }}

{{- /* What gateway and scheduler open credentials of owners' buckets with. */ -}}
{{- define "voicemill.bucketKeys" -}}
{{- with .Values.delivery.keys }}{{ if .name -}}
- name: VOICEMILL_BUCKET_KEYS
  valueFrom: {secretKeyRef: {name: {{ .name }}, key: {{ .key }}}}
{{- end }}{{ end }}
{{- end }}

{{- /* What Go keeps to: three quarters of the container's memory; the rest is for what it does not count, engines' helpers and ffmpeg. */ -}}
{{- define "voicemill.runtime" -}}
{{- $mib := regexFind "^[0-9]+" .limits.memory | int -}}
{{- if hasSuffix "Gi" .limits.memory }}{{ $mib = mul $mib 1024 }}{{ end -}}
- {name: GOMEMLIMIT, value: {{ div (mul $mib 3) 4 }}MiB}
{{- end }}

{{- define "voicemill.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: admin}
  periodSeconds: 2
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /healthz, port: admin}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: admin}
  periodSeconds: 5
  timeoutSeconds: 5
{{- end }}

{{- define "voicemill.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{- /* What the pods of every service have: dict root, component, values, name, pool. */ -}}
{{- define "voicemill.pod" -}}
serviceAccountName: {{ .name }}
automountServiceAccountToken: false
# Kubernetes would set VOICEMILL_…_PORT for its Services, which are settings that nobody knows.
enableServiceLinks: false
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
terminationGracePeriodSeconds: {{ default 90 .values.gracePeriodSeconds }}
{{- with .values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "voicemill.selector" . | nindent 8 }}
{{- end }}

{{- define "voicemill.volumes" -}}
- name: settings
  configMap: {name: {{ .name }}}
- name: tmp
  emptyDir: {sizeLimit: 1Gi}
{{- if .root.Values.bus.credentials.name }}
- name: nats
  secret:
    secretName: {{ .root.Values.bus.credentials.name }}
    items: [{key: {{ .root.Values.bus.credentials.key }}, path: nats.creds}]
{{- end }}
{{- end }}

{{- define "voicemill.mounts" -}}
- {name: settings, mountPath: /etc/voicemill/settings, readOnly: true}
- {name: tmp, mountPath: /tmp}
{{- if .Values.bus.credentials.name }}
- {name: nats, mountPath: /etc/voicemill/nats, readOnly: true}
{{- end }}
{{- end }}

{{- define "voicemill.meta" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ .name }}
  labels: {{- include "voicemill.labels" . | nindent 4 }}
automountServiceAccountToken: false
{{- if and .root.Values.podDisruptionBudget.enabled (gt (int .values.replicas) 1) }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ .name }}
  labels: {{- include "voicemill.labels" . | nindent 4 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels: {{- include "voicemill.selector" . | nindent 6 }}
{{- end }}
{{- end }}

{{- /* Who may come in: dict root, name, component, pool, and clients of the gateway. */ -}}
{{- define "voicemill.networkPolicy" -}}
{{- $p := .root.Values.networkPolicy }}
{{- if $p.enabled }}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ .name }}
  labels: {{- include "voicemill.labels" . | nindent 4 }}
spec:
  podSelector:
    matchLabels: {{- include "voicemill.selector" . | nindent 6 }}
  policyTypes: [Ingress{{ if $p.egress }}, Egress{{ end }}]
  ingress:
    {{- if .clients }}
    - ports: [{port: clients, protocol: TCP}]
      {{- with $p.clients }}
      from: {{- toYaml . | nindent 8 }}
      {{- end }}
    {{- end }}
    {{- with $p.monitoring }}
    - ports: [{port: admin, protocol: TCP}]
      from: {{- toYaml . | nindent 8 }}
    {{- end }}
  {{- with $p.egress }}
  egress:
    - ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}
