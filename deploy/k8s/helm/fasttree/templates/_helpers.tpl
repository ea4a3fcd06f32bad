{{- /* Made by python -m tools.kubernetes. */ -}}
{{- /* Every coordinator, and every pusher, by its own name. */ -}}
{{- define "fasttree.coordinators" -}}
{{- range $number := until (int .Values.coordinator.replicas) -}}
{{- if $number }},{{ end }}fasttree-coordinator-{{ $number }}.fasttree-coordinators:50400
{{- end -}}
{{- end -}}
{{- define "fasttree.pushers" -}}
{{- if eq (int .Values.pusher.replicas) 1 }}fasttree-pusher:50300{{ else }}
{{- range $number := until (int .Values.pusher.replicas) -}}
{{- if $number }},{{ end }}fasttree-pusher-{{ $number }}.fasttree-pushers:50300
{{- end -}}
{{- end -}}
{{- end -}}
{{- /* A page of an HTTP port, and a port of a Service: by TLS where there are certificates. The root comes last. */ -}}
{{- define "fasttree.page" -}}
{path: {{ index . 0 }}, port: http{{ if eq (index . 1).Values.tls.mode "mutual" }}, scheme: HTTPS{{ end }}}
{{- end -}}
{{- define "fasttree.port" -}}
{{- $protocol := ternary "https" (index . 2) (eq (index . 3).Values.tls.mode "mutual") -}}
{name: {{ index . 0 }}, port: {{ index . 1 }}, targetPort: {{ index . 0 }}, appProtocol: {{ $protocol }}}
{{- end -}}
{{- /* The VIP's files. */ -}}
{{- define "fasttree.vip" -}}
{{- if eq .Values.tls.mode "mutual" }}
envoy.yaml: |
{{- $cluster := printf "spiffe://%s/" .Values.settings.cluster.name }}
{{- .Files.Get "files/envoy-tls.yaml" | replace "spiffe://CLUSTER/" $cluster | nindent 2 }}
sds-certificate.yaml: |
{{- .Files.Get "files/sds-certificate.yaml" | nindent 2 }}
sds-authorities.yaml: |
{{- .Files.Get "files/sds-authorities.yaml" | nindent 2 }}
{{- else }}
envoy.yaml: |
{{- .Files.Get "files/envoy.yaml" | nindent 2 }}
{{- end }}
{{- end -}}
{{- define "fasttree.config" -}}
{{- $all := . }}
{{- range $section, $fields := .Values.settings }}
[{{ $section }}]
{{- range $field, $value := $fields }}
{{- if ne (printf "%s.%s" $section $field) "cluster.coordinator" }}
{{ $field }} = {{ toJson $value }}
{{- end }}
{{- end }}
{{- if eq $section "cluster" }}
coordinator = {{ include "fasttree.coordinators" $all | toJson }}
{{- end }}
{{ end }}
{{- end -}}
