"""What a release of the chart can be set to: each value with what it is for and what it may be."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from fasttree.command.settings.reading import SECTION_CLASSES
from services.shared.config.sections import fields_of
from services.shared.security.settings import CLEARTEXT, MUTUAL
from tools.kubernetes import fixed
from tools.kubernetes.forms import (
    CIDRS,
    HOST,
    HOSTS,
    HOURS,
    LABELS,
    NAME,
    NAME_OR_NONE,
    PARENTS,
    PICKED_BY,
    POD_SECURITY,
    PULL_SECRETS,
    RESOURCES,
    SERVERS,
    SIZE,
    SWITCH,
    TEXT,
    TEXTS,
    TOLERATIONS,
    Schema,
    whole,
)


class Value(NamedTuple):
    """A value of the chart."""

    about: str
    schema: Schema
    #: YAML; None where a line of a manifest has it.
    default: str | None = None


_NODE_SELECTOR = Value("On which machines, by their labels.", LABELS)
_TOLERATIONS = Value("Taints that it bears.", TOLERATIONS)
_CLASS = Value("The volume's StorageClass; empty: the cluster's default.", NAME_OR_NONE, '""')

#: Path to the value. `settings` comes beside them: see `settings_schema`.
VALUES: Mapping[str, Value] = {
    "image": Value(
        "Image of coordinator, pusher and tree nodes; by digest (name@sha256:...) where tags may move.", TEXT
    ),
    "imagePullPolicy": Value("When it is pulled.", {"enum": ["Always", "IfNotPresent", "Never"]}),
    "imagePullSecrets": Value("Secrets of the registry, each {name: ...}.", PULL_SECRETS),
    "podSecurityContext": Value(
        "The pods' own; where a platform gives user ids (OpenShift), leave the ids out.", POD_SECURITY
    ),
    "priorityClass.create": Value("Whether the release makes the class; a cluster has it once.", SWITCH, "true"),
    "priorityClass.name": Value("Its name.", NAME),
    "priorityClass.value": Value("How much they matter beside other pods.", whole(0, 1_000_000_000)),
    "treenode.replicas": Value(
        "Nodes, each with the whole tree: two serve and survive, a third is for maintenance.", whole(1, 64)
    ),
    "treenode.resources": Value(
        "Memory: 400 MiB + 600 bytes a member + settings.treenode.report_copy_bytes_max.", RESOURCES
    ),
    "treenode.storage.size": Value("A node's volume: 5,000 bytes a member.", SIZE),
    "treenode.storage.className": _CLASS,
    "treenode.nodeSelector": _NODE_SELECTOR,
    "treenode.tolerations": _TOLERATIONS,
    "pusher.replicas": Value(
        "Pushers, one of which is active: more than one need settings.pusher.takes_turns and a log in a server.",
        whole(1, 9),
    ),
    "pusher.servers": Value(
        "Servers that pushers may reach (of the log, of import files), each {cidr: ..., port: ...}.", SERVERS, "[]"
    ),
    "pusher.resources": Value("Memory: its caches, and 8 MiB a node.", RESOURCES),
    "pusher.storage.size": Value(
        "The log's volume: 300 bytes an update of 30 days, 20 bytes an update for good, 3 import files.", SIZE
    ),
    "pusher.storage.className": _CLASS,
    "pusher.nodeSelector": _NODE_SELECTOR,
    "pusher.tolerations": _TOLERATIONS,
    "coordinator.replicas": Value("Coordinators, one of which is active.", whole(1, 9)),
    "coordinator.resources": Value("It is small.", RESOURCES),
    "coordinator.storage.size": Value(
        "Its volume, of the audit log: 2 x settings.audit.files_kept x file_bytes_max, and 64 MiB.", SIZE
    ),
    "coordinator.storage.className": _CLASS,
    "coordinator.nodeSelector": _NODE_SELECTOR,
    "coordinator.tolerations": _TOLERATIONS,
    "vip.enabled": Value("The VIP by Envoy; without it, reports go by fasttree-rw and fasttree-ro.", SWITCH, "true"),
    "vip.replicas": Value("Envoys.", whole(1, 64)),
    "vip.threads": Value("Threads of each: one carries some thousand calls a second.", whole(1, 64)),
    "vip.image": Value("Image of Envoy.", TEXT),
    "vip.resources": Value("About 50 KiB a connection.", RESOURCES),
    "vip.service.type": Value("Of the Service fasttree-vip.", {"enum": ["ClusterIP", "NodePort", "LoadBalancer"]}),
    "vip.service.annotations": Value('Such as a cloud\'s "internal".', TEXTS),
    "vip.service.sourceRanges": Value(
        "With another type than ClusterIP: from which addresses outside clients come, as CIDR.", CIDRS, "[]"
    ),
    "vip.nodeSelector": _NODE_SELECTOR,
    "vip.tolerations": _TOLERATIONS,
    "console.enabled": Value("Pages in a browser, by kubectl port-forward and a key.", SWITCH, "true"),
    "console.resources": Value("It is small.", RESOURCES),
    "console.nodeSelector": _NODE_SELECTOR,
    "console.tolerations": _TOLERATIONS,
    "datatrax.enabled": Value("The service for DataTrax's programs: a spool, and a port of lines.", SWITCH, "false"),
    "datatrax.resources": Value("It is small.", RESOURCES),
    "datatrax.storage.size": Value("Its volume: the spool, and what was taken in 30 days.", SIZE),
    "datatrax.storage.accessModes": Value(
        "ReadWriteMany where programs in other pods drop files too.",
        {"type": "array", "minItems": 1, "items": {"enum": ["ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod"]}},
    ),
    "datatrax.storage.className": _CLASS,
    "datatrax.nodeSelector": _NODE_SELECTOR,
    "datatrax.tolerations": _TOLERATIONS,
    "networkPolicy.enabled": Value("Nobody speaks with anybody, but for what is named.", SWITCH, "true"),
    "tls.mode": Value(
        "mutual: by certificates, out of Secrets (docs/kubernetes.md); else in clear, in a closed network.",
        {"enum": [CLEARTEXT, MUTUAL]},
        CLEARTEXT,
    ),
    "tls.nodes": Value(
        "Nodes that may have a Secret, fasttree-treenode-0-tls and on.", whole(1, 64), str(fixed.NODES_WITH_SECRETS)
    ),
    "tls.certManager.enabled": Value("cert-manager makes the Secrets, and renews them.", SWITCH, "false"),
    "tls.certManager.issuer.name": Value(
        "Its Issuer; empty: one of the release's own, whose key is in the Secret fasttree-authority-tls.",
        NAME_OR_NONE,
        '""',
    ),
    "tls.certManager.issuer.kind": Value("Issuer, ClusterIssuer, or another controller's.", TEXT, "Issuer"),
    "tls.certManager.issuer.group": Value("Of that kind.", NAME, "cert-manager.io"),
    "tls.certManager.duration": Value(
        "How long a certificate is good; it is renewed in the last third.", HOURS, "720h"
    ),
    "tls.certManager.vipHosts": Value("More names by which clients come to the VIP, from outside say.", HOSTS, "[]"),
    "tls.certManager.pusherHosts": Value("The same of the pusher.", HOSTS, "[]"),
    "backup.enabled": Value("A backup of the log every night.", SWITCH, "false"),
    "backup.schedule": Value("When, as cron has it (UTC).", TEXT),
    "backup.kept": Value("Copies that are kept.", whole(1, 1_000)),
    "backup.resources": Value("Of a backup's Job.", RESOURCES),
    "backup.storage.size": Value("Its volume: one copy more than are kept.", SIZE),
    "backup.storage.className": _CLASS,
    "gateway.enabled": Value(
        "A GRPCRoute of the Gateway API, to the VIP; with certificates a TLSRoute.", SWITCH, "false"
    ),
    "gateway.parentRefs": Value("Gateways that take it.", PARENTS),
    "gateway.hostnames": Value("Names by which clients come.", {"type": "array", "items": HOST}),
    "gateway.namespaceLabels": Value("Labels of the namespace in which the gateway's own pods are.", PICKED_BY),
    "monitoring.enabled": Value("A PodMonitor and the alert rules, for the Prometheus operator.", SWITCH, "false"),
    "monitoring.labels": Value("By which your Prometheus picks them.", LABELS),
    "monitoring.namespaceLabels": Value("Labels of the namespace in which Prometheus is.", PICKED_BY),
}


def settings_of(cluster_toml: str) -> dict[str, dict[str, Any]]:
    """The sections of the base's settings file, but for what the chart says itself."""
    settings = tomllib.loads(cluster_toml)
    del settings["cluster"]["coordinator"]
    return settings


def values_file(given: Mapping[str, str], cluster_toml: str) -> str:
    """values.yaml. `given`: the defaults that manifests have, by path."""
    lines = ["# What the release can be set to; values.schema.json has what each of them may be."]
    open_path: list[str] = []
    for path, value in VALUES.items():
        *above, name = path.split(".")
        shared = next(
            (n for n, (a, b) in enumerate(zip(open_path, above, strict=False)) if a != b),
            min(len(open_path), len(above)),
        )
        if not above or shared == 0:
            lines.append("")
        lines += [f"{'  ' * depth}{above[depth]}:" for depth in range(shared, len(above))]
        indent = "  " * len(above)
        default = given[path] if value.default is None else value.default
        lines += [f"{indent}# {value.about}", f"{indent}{name}: {default}"]
        open_path = above
    lines += ["", "# The services' settings, by section: docs/configuration.md has every one.", "settings:"]
    for section, fields in settings_of(cluster_toml).items():
        lines += [f"  {section}:", *(f"    {name}: {json.dumps(value)}" for name, value in fields.items())]
    return "\n".join(lines) + "\n"


def schema_file(cluster_toml: str) -> str:
    """values.schema.json: a value that does not exist, is missing or can't be, is refused before anything is sent."""
    top = _folder("What a release of the chart can be set to.")
    for path, value in VALUES.items():
        *above, name = path.split(".")
        place = top
        for each in above:
            place = _added(place, each, place["properties"].get(each) or _folder(""))
        _added(place, name, {"description": value.about, **value.schema})
    _added(top, "settings", settings_schema(settings_of(cluster_toml)))
    top["properties"]["global"] = {"description": "Helm's own.", "type": "object"}
    return (
        json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **top}, indent=2, ensure_ascii=False)
        + "\n"
    )


def settings_schema(base: Mapping[str, Mapping[str, Any]]) -> Schema:
    """Every setting of every service, with its bounds, and narrower where the manifests go by it."""
    schema = _folder("The services' settings, by section.")
    for section, cls in SECTION_CLASSES.items():
        fields = _folder(f"[{section}]")
        for name, field in fields_of(cls).items():
            there = fixed.schema_of(section, name, field, base)
            fields["properties"][name] = there or _for_helm(msgspec.json.schema(field.kind))
        if needed := fixed.needed(section):
            fields["required"] = needed
        schema["properties"][section] = fields
    schema["required"] = list(base)
    return schema


def _added(folder: Schema, name: str, schema: Schema) -> Schema:
    """A value that has to be there, since a template has it: null takes a default away."""
    folder["properties"][name] = schema
    folder["required"] = list(dict.fromkeys([*folder.get("required", ()), name]))
    return schema


def _folder(about: str) -> Schema:
    described: Schema = {"description": about} if about else {}
    return {**described, "type": "object", "additionalProperties": False, "properties": {}}


def _for_helm(schema: Schema) -> Schema:
    """Helm's patterns are Go's: some of ours are none there, and are left to the services' own check."""
    changed: Schema = {key: _for_helm(each) if isinstance(each, dict) else each for key, each in schema.items()}
    pattern: str = changed.pop("pattern", "")
    if pattern and not re.search(r"\(\?[=!<]|,\d{4,}\}", pattern):
        changed["pattern"] = pattern.replace(r"\A", "^").replace(r"\Z", "$")
    return changed
