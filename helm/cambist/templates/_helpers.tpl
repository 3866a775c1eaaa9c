{{- define "cambist.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "cambist.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "cambist.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "cambist.selectorLabels" -}}
app.kubernetes.io/name: {{ include "cambist.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "cambist.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "cambist.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "cambist.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "cambist.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- /* "0.0.0.0:8080" -> 8080 */ -}}
{{- define "cambist.port" -}}
{{- regexFind "[0-9]+$" . -}}
{{- end -}}

{{- /* Not empty where nothing outside the pod can reach the address. */ -}}
{{- define "cambist.loopback" -}}
{{- if regexMatch `^(127\.|localhost:|\[::1\]:)` . }}yes{{ end -}}
{{- end -}}

{{- /* "5s" -> 5, rounded up. Longer forms are left to terminationGracePeriodSeconds. */ -}}
{{- define "cambist.seconds" -}}
{{- $number := int (regexFind "^[0-9]+" .value) -}}
{{- if regexMatch "^[0-9]+ ?s$" .value -}}{{ $number }}
{{- else if regexMatch "^[0-9]+ ?ms$" .value -}}{{ div (add $number 999) 1000 }}
{{- else if regexMatch "^[0-9]+ ?m$" .value -}}{{ mul $number 60 }}
{{- else -}}{{ fail (printf "config.shutdown.%s is %q, which the chart cannot add up: write whole seconds (\"20s\"), or set terminationGracePeriodSeconds" .key .value) }}
{{- end -}}
{{- end -}}

{{- /* Kubernetes must not kill what is still draining. 5s and 20s are the gateway's own defaults. */ -}}
{{- define "cambist.terminationGracePeriodSeconds" -}}
{{- if .Values.terminationGracePeriodSeconds -}}
{{- .Values.terminationGracePeriodSeconds | int -}}
{{- else -}}
{{- $shutdown := .Values.config.shutdown | default dict -}}
{{- $delay := include "cambist.seconds" (dict "key" "delay" "value" ($shutdown.delay | default "5s")) | int -}}
{{- $grace := include "cambist.seconds" (dict "key" "grace" "value" ($shutdown.grace | default "20s")) | int -}}
{{- add $delay $grace 5 -}}
{{- end -}}
{{- end -}}

{{- /* Mistakes across values, which the schema cannot see. */ -}}
{{- define "cambist.verify" -}}
{{- $config := .Values.config -}}
{{- if include "cambist.loopback" $config.metrics.address -}}
{{- fail (printf "config.metrics.address is %s: the kubelet's probes cannot reach it; use 0.0.0.0" $config.metrics.address) -}}
{{- end -}}
{{- $listener := get $config.listeners .Values.service.listener -}}
{{- if not $listener -}}
{{- fail (printf "service.listener is %q, but config.listeners has: %s" .Values.service.listener (keys $config.listeners | sortAlpha | join ", ")) -}}
{{- end -}}
{{- if include "cambist.loopback" $listener.address -}}
{{- fail (printf "config.listeners.%s.address is %s: the Service cannot reach it; use 0.0.0.0" .Values.service.listener $listener.address) -}}
{{- end -}}
{{- if and (not .Values.existingSecret) (contains "/run/secrets/cambist/" (toYaml $config)) -}}
{{- fail "config reads files under /run/secrets/cambist/, but existingSecret names no Secret to mount there" -}}
{{- end -}}
{{- end -}}
