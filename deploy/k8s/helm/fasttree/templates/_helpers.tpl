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
