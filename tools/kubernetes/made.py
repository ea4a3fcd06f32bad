"""Every made file of deploy/k8s, by its path, with its text."""

from __future__ import annotations

import tomllib
from pathlib import Path

from tools.kubernetes.certificates import chart_template, component_file
from tools.kubernetes.chart import ManifestError, defaults, template
from tools.kubernetes.envoy import envoy_file, envoy_tls_files
from tools.kubernetes.fixed import CLUSTER
from tools.kubernetes.refusals import refusals_template
from tools.kubernetes.rules import rules_file
from tools.kubernetes.values import VALUES, schema_file, values_file

ROOT = Path(__file__).parents[2]

_K8S = "deploy/k8s"
_CHART = f"{_K8S}/helm/fasttree"
#: Manifest to the condition under which the chart has it; empty: always.
MANIFESTS = {
    "base/priority.yaml": ".Values.priorityClass.create",
    "base/network.yaml": ".Values.networkPolicy.enabled",
    "base/coordinator.yaml": "",
    "base/pusher.yaml": "",
    "base/treenode.yaml": "",
    "base/vip.yaml": ".Values.vip.enabled",
    "base/console.yaml": ".Values.console.enabled",
    "components/backup/backup.yaml": ".Values.backup.enabled",
    "components/datatrax/datatrax.yaml": ".Values.datatrax.enabled",
    "components/gateway/gateway.yaml": ".Values.gateway.enabled",
    "components/monitoring/monitor.yaml": ".Values.monitoring.enabled",
    "components/monitoring/rules.yaml": ".Values.monitoring.enabled",
}
_MADE = "{{- /* Made by python -m tools.kubernetes: edit deploy/k8s/%s. */ -}}\n"

#: The services' settings as TOML: what JSON writes of texts, numbers and lists, TOML reads alike.
_HELPERS = """\
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
"""
_CONFIG = """\
{{- /* Made by python -m tools.kubernetes. */ -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: fasttree
  namespace: {{ .Release.Namespace }}
  labels: {app.kubernetes.io/name: fasttree}
data:
  cluster.toml: |
{{- include "fasttree.config" . | nindent 4 }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: fasttree-vip
  namespace: {{ .Release.Namespace }}
  labels: {app.kubernetes.io/name: fasttree, app.kubernetes.io/component: vip}
data:
{{- include "fasttree.vip" . | nindent 2 }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: fasttree-endpoints
  namespace: {{ .Release.Namespace }}
  labels: {app.kubernetes.io/name: fasttree}
data:
  endpoints.json: |
    {
      "vip": "fasttree-vip:50100",
      "pusher": {{ include "fasttree.pushers" . | toJson }},
      "coordinator": {{ include "fasttree.coordinators" . | toJson }},
      {{- if eq .Values.tls.mode "mutual" }}
      "tls": {"certificate": "/run/fasttree/tls/tls.crt", "key": "/run/fasttree/tls/tls.key",
              "ca": "/run/fasttree/tls/ca.crt"},
      {{- end }}
      "nodes": [
        {{- range $number := until (int .Values.treenode.replicas) }}
        {{- $name := printf "fasttree-treenode-%d" $number }}
        {{- $host := printf "%s.fasttree-treenode" $name }}
        {{- if $number }},{{ end }}
        {"name": "{{ $name }}", "report": "{{ $host }}:50100",
         "instant": "{{ $host }}:50201", "http": "{{ $host }}:50200"}
        {{- end }}
      ]
    }
"""
_NOTES = """\
FastTree {{ .Chart.AppVersion }} in the namespace {{ .Release.Namespace }}:
  kubectl get pods --namespace {{ .Release.Namespace }} --label-columns fasttree.io/role
Reports are at fasttree-vip:50100, updates and imports at fasttree-pusher:50300, for pods and namespaces with the label
fasttree.io/client=true. It serves once it has a tree: docs/kubernetes.md.
{{- if eq .Values.tls.mode "mutual" }}
Who comes shows a certificate; pods wait for their Secrets until {{ if .Values.tls.certManager.enabled -}}
cert-manager has made them.
{{- else -}}
you make them: components/tls/secrets.sh, or tls.certManager.enabled=true.
{{- end }}
{{- else }}
It goes in clear: whoever reaches a port may read and change everything. For certificates: tls.mode=mutual.
{{- end }}
"""
_CHART_FILE = """\
# Made by python -m tools.kubernetes.
apiVersion: v2
name: fasttree
description: "{description}"
type: application
version: {version}
appVersion: "{version}"
# preStop by a sleep of Kubernetes itself.
kubeVersion: ">=1.30.0-0"
"""


def made_files() -> dict[str, str]:
    """Path below the repository to text.

    Raises:
        ManifestError: A manifest that no chart can be made from.
    """
    envoy, by_tls, rules = envoy_file(), envoy_tls_files(), rules_file(ROOT)
    cluster_toml = (ROOT / _K8S / "base/cluster.toml").read_text(encoding="utf-8")
    texts = {
        name: (ROOT / _K8S / name).read_text(encoding="utf-8") for name in MANIFESTS if not name.endswith("/rules.yaml")
    }
    texts["components/monitoring/rules.yaml"] = rules
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    made = {
        f"{_K8S}/base/envoy.yaml": envoy,
        f"{_K8S}/components/monitoring/rules.yaml": rules,
        f"{_CHART}/Chart.yaml": _CHART_FILE.format(description=project["description"], version=project["version"]),
        f"{_CHART}/files/envoy.yaml": envoy,
        f"{_CHART}/files/envoy-tls.yaml": by_tls["envoy.yaml"].replace(f"spiffe://{CLUSTER}/", "spiffe://CLUSTER/"),
        **{f"{_CHART}/files/{name}": text for name, text in by_tls.items() if name != "envoy.yaml"},
        **{f"{_K8S}/components/tls/{name}": text for name, text in by_tls.items()},
        f"{_K8S}/components/cert-manager/certificates.yaml": component_file(),
        f"{_CHART}/templates/certificates.yaml": chart_template(),
        f"{_CHART}/templates/_helpers.tpl": _HELPERS,
        f"{_CHART}/templates/config.yaml": _CONFIG,
        f"{_CHART}/templates/refusals.yaml": refusals_template(),
        f"{_CHART}/templates/NOTES.txt": _NOTES,
        f"{_CHART}/values.yaml": values_file(_defaults(texts), cluster_toml),
        f"{_CHART}/values.schema.json": schema_file(cluster_toml),
    }
    for name, condition in MANIFESTS.items():
        text = template(texts[name])
        body = f"{{{{- if {condition} }}}}\n{text}{{{{- end }}}}\n" if condition else text
        made[f"{_CHART}/templates/{Path(name).name}"] = _MADE % name + body
    return made


def _defaults(texts: dict[str, str]) -> dict[str, str]:
    """Path to the default that manifests give; all of them the same one."""
    found: dict[str, str] = {}
    for name, text in texts.items():
        for path, default in defaults(text):
            if found.setdefault(path, default) != default:
                raise ManifestError(f"{name}: {path} is {default} here and {found[path]} elsewhere")
    wanted = {path for path, value in VALUES.items() if value.default is None}
    if found.keys() != wanted:
        raise ManifestError(f"in manifests or in VALUES alone: {', '.join(sorted(found.keys() ^ wanted))}")
    return found
