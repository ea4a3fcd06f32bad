"""Certificates that cert-manager makes: for each Secret of `components/tls` whose it is, and how others dial him.

`components/tls/secrets.sh` makes the same ones by `fasttree certs`; a test holds both to each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from fasttree.command.session import EVERY_PART
from tools.kubernetes.fixed import CLUSTER, NODES_WITH_SECRETS

_NODE: Final = "fasttree-treenode-"
#: Coordinators and pushers, each of which has a name of its own, whether it is there or not.
_REPLICAS: Final = 3


#: What the component has as it is, and the chart by its values.
_Words = Mapping[str, str]

_COMPONENT: Final = {
    "namespace": "fasttree",
    "cluster": CLUSTER,
    "duration": "720h",
    "issuer": "{name: fasttree, kind: Issuer, group: cert-manager.io}",
}
_CHART: Final = {
    "namespace": "{{ $.Release.Namespace }}",
    "cluster": "{{ $.Values.settings.cluster.name }}",
    "duration": "{{ $.Values.tls.certManager.duration }}",
    "issuer": "{{ $issuer }}",
}
_CERTIFICATE: Final = """\
apiVersion: cert-manager.io/v1
kind: Certificate
metadata:
  name: {name}
  namespace: {namespace}
  labels: {{app.kubernetes.io/name: fasttree}}
spec:
  secretName: {name}-tls
  commonName: {role}/{who}
  uris: ["spiffe://{cluster}/{role}/{who}"]
{hosts}  usages: [{usages}]
  duration: {duration}
  renewBeforePercentage: 33
  privateKey: {{algorithm: ECDSA, size: 256, encoding: PKCS8, rotationPolicy: Always}}
  issuerRef: {issuer}
"""
#: Five years; renewed with the key that it has, so that what it has signed stays good.
_AUTHORITY: Final = """\
apiVersion: cert-manager.io/v1
kind: Issuer
metadata:
  name: fasttree-self-signed
  namespace: {namespace}
  labels: {{app.kubernetes.io/name: fasttree}}
spec:
  selfSigned: {{}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata:
  name: fasttree-authority
  namespace: {namespace}
  labels: {{app.kubernetes.io/name: fasttree}}
spec:
  secretName: fasttree-authority-tls
  isCA: true
  commonName: FastTree {cluster}
  usages: [cert sign, crl sign]
  duration: 43800h
  renewBeforePercentage: 33
  privateKey: {{algorithm: ECDSA, size: 256, encoding: PKCS8, rotationPolicy: Never}}
  issuerRef: {{name: fasttree-self-signed, kind: Issuer, group: cert-manager.io}}
---
apiVersion: cert-manager.io/v1
kind: Issuer
metadata:
  name: fasttree
  namespace: {namespace}
  labels: {{app.kubernetes.io/name: fasttree}}
spec:
  ca: {{secretName: fasttree-authority-tls}}
"""
_COMPONENT_HEAD: Final = """\
# Made by `python -m tools.kubernetes`: tools/kubernetes/certificates.py is the one to edit. An authority of
# the cluster's own, whose key is in the Secret fasttree-authority-tls, and of it a certificate for each part;
# docs/kubernetes.md, "Certificates", says how another Issuer makes them.
"""
_CHART_HEAD: Final = """\
{{- /* Made by python -m tools.kubernetes. */ -}}
{{- if and .Values.tls.certManager.enabled (eq .Values.tls.mode "mutual") }}
{{- $own := dict "name" "fasttree" "kind" "Issuer" "group" "cert-manager.io" }}
{{- $issuer := ternary .Values.tls.certManager.issuer $own (ne .Values.tls.certManager.issuer.name "") | toJson }}
"""


def component_file() -> str:
    """The text of components/cert-manager/certificates.yaml."""
    words = _COMPONENT
    nodes = [_of_node(words, str(number)) for number in range(NODES_WITH_SECRETS)]
    parts = [text for _, text in _parts(words, _each(_REPLICAS), [], [])]
    return _COMPONENT_HEAD + "---\n".join([_authority(words), *nodes, *parts])


def chart_template() -> str:
    """The text of the chart's templates/certificates.yaml."""
    words = _CHART
    authority = '{{- if eq .Values.tls.certManager.issuer.name "" }}\n' + _authority(words) + "---\n{{- end }}\n"
    nodes = (
        "{{- range $number := until (int .Values.tls.nodes) }}\n"
        + _of_node(words, "{{ $number }}")
        + "---\n{{- end }}\n"
    )
    replicas = {part: _ranged(part) for part in ("coordinator", "pusher")}
    text = _CHART_HEAD + authority + nodes
    for condition, part in _parts(words, replicas, _hosts_of("vipHosts"), _hosts_of("pusherHosts")):
        text += f"{{{{- if {condition} }}}}\n{part}---\n{{{{- end }}}}\n" if condition else f"{part}---\n"
    return text + "{{- end }}\n"


def _authority(words: _Words) -> str:
    return _AUTHORITY.format(namespace=words["namespace"], cluster=words["cluster"])


def _of_node(words: _Words, number: str) -> str:
    name = f"{_NODE}{number}"
    hosts = _dialled(words, f"{name}.fasttree-treenode", "fasttree-rw", "fasttree-ro")
    return _certificate(words, "node", name, hosts, name=name)


def _parts(
    words: _Words, replicas: dict[str, list[str]], vip_hosts: Sequence[str], pusher_hosts: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """Of each the chart's condition, and its certificate."""
    for part in ("coordinator", "pusher"):
        hosts = [*_dialled(words, f"fasttree-{part}"), *replicas[part]]
        yield "", _certificate(words, part, part, [*hosts, *(pusher_hosts if part == "pusher" else ())])
    vip = [*_dialled(words, "fasttree-vip", "fasttree-vips"), *vip_hosts]
    yield ".Values.vip.enabled", _certificate(words, "vip", "vip", vip)
    console = [*_dialled(words, "fasttree-console"), "    - localhost"]
    yield ".Values.console.enabled", _certificate(words, "console", "console", console)
    yield ".Values.datatrax.enabled", _certificate(words, "datatrax", "datatrax", _dialled(words, "fasttree-datatrax"))
    for role in ("operator", "monitor"):
        yield "", _certificate(words, role, role, [])


def _certificate(words: _Words, role: str, who: str, hosts: Sequence[str], name: str = "") -> str:
    """`hosts`: lines below dnsNames; none: nobody dials it."""
    return _CERTIFICATE.format(
        **words,
        name=name or f"fasttree-{role}",
        role=role,
        who=who,
        hosts="".join(f"{line}\n" for line in ("  dnsNames:", f"    - {EVERY_PART}", *hosts)) if hosts else "",
        usages=f"digital signature,{' server auth,' * bool(hosts)} client auth",
    )


def _dialled(words: _Words, *hosts: str) -> list[str]:
    """Each host also as others' namespaces know it."""
    return [f"    - {name}" for host in hosts for name in (host, f"{host}.{words['namespace']}.svc")]


def _each(replicas: int) -> dict[str, list[str]]:
    return {
        part: _dialled(_COMPONENT, *(f"fasttree-{part}-{number}.fasttree-{part}s" for number in range(replicas)))
        for part in ("coordinator", "pusher")
    }


def _ranged(part: str) -> list[str]:
    return [
        f"    {{{{- range $number := until (int (max {_REPLICAS} $.Values.{part}.replicas)) }}}}",
        *_dialled(_CHART, f"fasttree-{part}-{{{{ $number }}}}.fasttree-{part}s"),
        "    {{- end }}",
    ]


def _hosts_of(value: str) -> list[str]:
    return [
        f"    {{{{- range $.Values.tls.certManager.{value} }}}}",
        "    - {{ toJson . }}",
        "    {{- end }}",
    ]
