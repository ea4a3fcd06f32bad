{{- /* Made by python -m tools.kubernetes. */ -}}
{{- define "fasttree.config" -}}
{{- range $section, $fields := .Values.settings }}
[{{ $section }}]
{{- range $field, $value := $fields }}
{{ $field }} = {{ toJson $value }}
{{- end }}
{{ end }}
{{- end -}}
