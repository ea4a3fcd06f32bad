"""What the chart refuses in words of its own: a template that renders nothing, or fails.

A value by itself is the schema's. What two of them say together is here, and what a schema would tell by a pattern that
nobody can read. Helm's lint goes on after `fail`, so the line after it is no YAML.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from fasttree.command.settings.reading import SECTION_CLASSES
from services.coordinator.leadership.settings import RETRY_S
from services.shared.config.sections import fields_of
from services.shared.domain.limits import SLOTS_MAX
from services.shared.security.audit.files import CHAINS
from services.shared.security.settings import CLEARTEXT, MUTUAL
from services.treenode.app import PERIOD_WRITES_S_MAX
from tools.kubernetes.forms import IMAGE_PATTERN, SCHEDULE_PATTERN


class Pair(NamedTuple):
    """Two settings of a section, one of which is at most (or less than) the other."""

    section: str
    small: str
    large: str
    must_be_less: bool = False


#: What a service would refuse at its start, pod after pod (`Settings.problems`).
PAIRS: Final = (
    Pair("coordinator", "probe_interval_s", "closing_s", must_be_less=True),
    Pair("pusher", "push_stream_updates_max", "push_updates_max"),
    Pair("pusher", "batch_updates_max", "window_updates"),
    Pair("pusher", "batch_bytes_max", "window_bytes"),
    Pair("pusher", "backoff_initial_s", "backoff_max_s"),
    Pair("pusher", "heartbeat_s", "stall_timeout_s", must_be_less=True),
    Pair("pusher", "load_backoff_initial_s", "load_backoff_max_s"),
    Pair("treenode", "search_backoff_initial_s", "search_backoff_max_s"),
    Pair("imports", "unpack_free_bytes", "unpacked_bytes"),
    Pair("imports", "line_bytes", "unpacked_bytes"),
    Pair("telemetry", "batch_spans_max", "queue_spans_max"),
)
#: Of a pod's grace, what its drain may take: the rest is for a last snapshot or
#: write.
COORDINATOR_DRAIN_S: Final = 10
PUSHER_DRAIN_S: Final = 30
TREENODE_DRAIN_S: Final = 60 - int(PERIOD_WRITES_S_MAX)
#: What else a service has to have on the volume of its audit log.
AUDIT_BESIDE_BYTES: Final = 64 << 20
_RESOURCES = ("treenode", "pusher", "coordinator", "vip", "console", "datatrax", "backup")

_QUANTITY = """\
{{- /* Made by python -m tools.kubernetes. */ -}}
{{- /* A quantity of Kubernetes as a number. */ -}}
{{- define "fasttree.number" -}}
{{- if kindIs "string" . -}}
{{- $number := regexFind "^[0-9.]+" . -}}
{{- $units := dict "" 1 "m" 0.001 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 -}}
{{- $units = merge $units (dict "Ti" 1099511627776 "Pi" 1125899906842624) -}}
{{- mulf (float64 $number) (get $units (trimPrefix $number .)) -}}
{{- else -}}
{{- float64 . -}}
{{- end -}}
{{- end -}}
{{- $faults := list -}}
{{- $settings := .Values.settings -}}
"""
_END = """\
{{- if $faults }}
{{ fail (printf "the values can't be together:\\n  %s" (join "\\n  " $faults)) }}
the values can't be together: [: {{ join "; " $faults }}
{{- end }}
"""


def refusals_template() -> str:
    """The text of templates/refusals.yaml."""
    return _QUANTITY + "".join(f"{line}\n" for line in _lines()) + _END


def _lines() -> Iterator[str]:
    yield from _of_the_parts()
    yield from _of_certificates()
    yield from _of_pushers()
    yield from _of_memory()
    yield from _of_audit_logs()
    yield from _of_drains()
    yield from _of_settings()


def _of_the_parts() -> Iterator[str]:
    values = ".Values"
    yield from _refused(
        f"and {values}.gateway.enabled (not {values}.vip.enabled)",
        "gateway.enabled: its route leads to the VIP: set vip.enabled=true, or gateway.enabled=false",
    )
    yield from _refused(
        f'and {values}.console.enabled (not {values}.vip.enabled) (hasPrefix "fasttree-vip:" $settings.console.vip)',
        "settings.console.vip: there is no VIP: set fasttree-rw:50100, or vip.enabled=true",
    )
    outside = f'ne {values}.vip.service.type "ClusterIP"'
    yield from _refused(
        f"and {values}.vip.enabled {values}.networkPolicy.enabled ({outside}) (not {values}.vip.service.sourceRanges)",
        "vip.service.type: nobody outside gets in while networkPolicy.enabled is true: say who may, such as "
        "vip.service.sourceRanges={10.0.0.0/8}",
    )
    for path in ("image", "vip.image"):
        yield from _refused(
            f"not (regexMatch `{IMAGE_PATTERN}` {values}.{path})",
            f"{path}: %q is no image's name: give one such as registry.example.com/fasttree:0.1.0",
            f"{values}.{path}",
        )
    yield from _refused(
        f"not (regexMatch `{SCHEDULE_PATTERN}` {values}.backup.schedule)",
        "backup.schedule: %q is no time as cron has it: give five fields such as 17 2 * * *, or @daily",
        f"{values}.backup.schedule",
    )
    yield from _refused(
        f'regexMatch "(^|/)fasttree-slim([:@]|$)" {values}.image',
        "image: tree nodes need the whole image, fasttree: fasttree-slim has no compiler and no Arrow",
    )
    yield from _refused(
        f'and {values}.priorityClass.create (hasPrefix "system-" {values}.priorityClass.name)',
        "priorityClass.name: names with system- are Kubernetes' own: choose another one, or priorityClass.create=false",
    )
    store = f'ne ({_setting("pusher", "log_store")}) "sqlite"'
    yield from _refused(
        f"and {values}.backup.enabled ({store})",
        "backup.enabled: the log is not on the pusher's volume (settings.pusher.log_store): have its servers backed "
        "up, and set backup.enabled=false",
    )
    nodes = _setting("coordinator", "nodes_max")
    yield from _refused(
        f"gt (int {values}.treenode.replicas) (int ({nodes}))",
        "treenode.replicas: more nodes than settings.coordinator.nodes_max, which the coordinator would refuse",
    )


def _of_certificates() -> Iterator[str]:
    mutual = f'eq .Values.tls.mode "{MUTUAL}"'
    yield from _refused(
        f"and ({mutual}) (gt (int .Values.treenode.replicas) (int .Values.tls.nodes))",
        "tls.nodes: less than treenode.replicas, and each node needs a certificate of its own: raise it",
    )
    yield from _refused(
        f"and .Values.tls.certManager.enabled (not ({mutual}))",
        "tls.certManager.enabled: nobody would look at its certificates: set tls.mode=mutual, or "
        "tls.certManager.enabled=false",
    )
    yield from _refused(
        f"and .Values.gateway.enabled ({mutual}) (not .Values.gateway.hostnames)",
        "gateway.hostnames: with certificates a Gateway goes by the name alone: give one",
    )
    for name in ("mode", "folder", "certificate", "key", "ca"):
        default = fields_of(SECTION_CLASSES["tls"])[name].default if name != "mode" else CLEARTEXT
        yield from _refused(
            f'and ({mutual}) (ne (dig "tls" "{name}" "{default}" $settings) "{default}")',
            f"settings.tls.{name}: tls.mode says it: leave it out",
        )


def _of_pushers() -> Iterator[str]:
    several = "gt (int .Values.pusher.replicas) 1"
    yield from _refused(
        f'and ({several}) (eq ({_setting("pusher", "log_store")}) "sqlite")',
        "pusher.replicas: several pushers have one log, in a server: set settings.pusher.log_store to postgresql or "
        "jetstream, or pusher.replicas=1",
    )
    yield from _refused(
        f"and ({several}) (not ({_setting('pusher', 'takes_turns')}))",
        "pusher.replicas: several pushers take turns: set settings.pusher.takes_turns=true, or pusher.replicas=1",
    )


def _of_audit_logs() -> Iterator[str]:
    """What an audit log may come to is less than the volume that it is on."""
    sizes = " ".join(f"({_number('audit', each)})" for each in ("files_kept", "file_bytes_max"))
    yield f"{{{{- $audit := mulf {len(CHAINS)} {sizes} }}}}"
    for part in ("coordinator", "pusher", "treenode"):
        size = f".Values.{part}.storage.size"
        yield from _refused(
            f'gt (addf $audit {AUDIT_BESIDE_BYTES}) (include "fasttree.number" {size} | float64)',
            "settings.audit.files_kept: its files come to %d MiB, which with "
            f"{AUDIT_BESIDE_BYTES >> 20} MiB beside them is more than {part}.storage.size, %s: "
            "keep fewer, or give it a larger volume",
            f"(divf $audit 1048576 | int) {size}",
        )


def _of_memory() -> Iterator[str]:
    """What is asked for is within the limit, and the limit is what the service has without a member in it."""
    for part in _RESOURCES:
        yield f"{{{{- range $name, $asked := .Values.{part}.resources.requests }}}}"
        yield f"{{{{- $limit := get ($.Values.{part}.resources.limits | default dict) $name }}}}"
        over = 'gt (include "fasttree.number" $asked | float64) (include "fasttree.number" $limit | float64)'
        yield "{{- if $limit }}"
        yield from _refused(
            over,
            f"{part}.resources.requests.%s: %v is more than the limit, %v",
            "$name (toString $asked) (toString $limit)",
        )
        yield "{{- end }}"
        yield "{{- end }}"
    mebi = 1 << 20
    node = f"addf {400 * mebi} ({_setting('treenode', 'report_copy_bytes_max')})"
    yield from _least("treenode", node, "400 MiB and settings.treenode.report_copy_bytes_max")
    caches = f"addf ({_setting('pusher', 'log_cache_mib')}) ({_setting('pusher', 'tail_mib')})"
    pusher = f"mulf {mebi} (addf 300 ({caches}) (mulf 8 .Values.treenode.replicas))"
    yield from _least("pusher", pusher, "300 MiB, settings.pusher.log_cache_mib, tail_mib, and 8 MiB a node")


def _least(part: str, least: str, what: str) -> Iterator[str]:
    yield f"{{{{- with .Values.{part}.resources.limits }}}}"
    yield "{{- with .memory }}"
    yield f"{{{{- $least := {least.replace('.Values', '$.Values')} }}}}"
    yield from _refused(
        'lt (include "fasttree.number" . | float64) $least',
        f"{part}.resources.limits.memory: %v is less than {what}, %.0f Mi together: raise it, or lower those",
        f"(toString .) (divf $least {1 << 20})",
    )
    yield "{{- end }}"
    yield "{{- end }}"


def _of_drains() -> Iterator[str]:
    drains = (
        ("coordinator", ("drain_grace_s",), COORDINATOR_DRAIN_S),
        ("pusher", ("drain_grace_s",), PUSHER_DRAIN_S),
        ("treenode", ("drain_notice_s", "drain_grace_s"), TREENODE_DRAIN_S),
    )
    for section, fields, longest_s in drains:
        sums = " ".join(f"({_setting(section, field)})" for field in fields)
        names = " and ".join(f"settings.{section}.{field}" for field in fields)
        yield from _refused(
            f"gt (addf 0 {sums}) {float(longest_s)}",
            f"{names}: {longest_s} s at most{' together' * (len(fields) > 1)}, or the pod is killed in its drain",
        )


def _of_settings() -> Iterator[str]:
    for section, small, large, must_be_less in PAIRS:
        yield from _refused(
            f"{'ge' if must_be_less else 'gt'} ({_number(section, small)}) ({_number(section, large)})",
            f"settings.{section}.{small}: must be {'less than' if must_be_less else 'at most'} {large}, which is %v",
            f"({_setting(section, large)})",
        )
    yield from _refused(
        f"ge ({_number('treenode', 'heartbeat_s')}) "
        f"(subf ({_number('coordinator', 'lease_s')}) ({_number('treenode', 'lease_margin_s')}))",
        "settings.treenode.heartbeat_s: must be less than settings.coordinator.lease_s less "
        "settings.treenode.lease_margin_s",
    )
    right = f"subf ({_number('coordinator', 'active_lease_s')}) ({_number('coordinator', 'active_margin_s')})"
    renew = _number("coordinator", "active_renew_s")
    yield from _refused(
        f"or (gt ({renew}) (divf ({right}) 2)) (gt ({renew}) (subf ({right}) {RETRY_S} 0.4))",
        "settings.coordinator.active_renew_s: too long for active_lease_s less active_margin_s, in which a renewal "
        "without an answer and another one have to end: 0.4 goes with 2 and 0.3",
    )
    yield from _refused(
        f"eq ({_setting('pusher', 'upload_folder')}) $settings.pusher.state_folder",
        "settings.pusher.upload_folder: must differ from state_folder",
    )
    yield from _refused(
        f"gt (mul (len ({_setting('cluster', 'volume_types')})) (len ({_setting('cluster', 'periods')}))) {SLOTS_MAX}",
        f"settings.cluster.periods: {SLOTS_MAX} at most, times volume_types",
    )
    for store, form in (("postgresql", "postgres(ql)?"), ("jetstream", "(nats|tls)")):
        yield from _refused(
            f'and (eq ({_setting("pusher", "log_store")}) "{store}") '
            f'(not (regexMatch "^{form}://" ({_setting("pusher", "log_url")})))',
            f"settings.pusher.log_url: must name the servers where log_store is {store}",
        )
    yield from _places("pusher", "import_")
    yield from _places("treenode", "snapshot_")
    keys = _setting("tokens", "keys")
    for field in ("issuer", "audience"):
        yield from _refused(
            f"and ({keys}) (not ({_setting('tokens', field)}))", f"settings.tokens.{field}: must be set where keys is"
        )
    yield from _refused(
        f"and (not ({keys})) ({_setting('tokens', 'without_certificate')})",
        "settings.tokens.without_certificate: must be false where there are no keys",
    )


def _places(section: str, begin: str) -> Iterator[str]:
    """A store of objects that has no place, or two."""
    s3 = f'eq ({_setting(section, f"{begin}store")}) "s3"'
    url, settings = _setting(section, f"{begin}url"), f"settings.{section}.{begin}"
    yield from _refused(f"and ({s3}) (not ({url}))", f"{settings}url: must name the bucket where {begin}store is s3")
    yield from _refused(f"and ({url}) (not ({s3}))", f"{settings}store: must be s3 where {begin}url is set")
    yield from _refused(
        f"and ({s3}) ({_setting(section, f'{begin}folder')})",
        f"{settings}folder: must be empty where {begin}store is s3",
    )


def _refused(condition: str, words: str, arguments: str = "") -> Iterator[str]:
    said = f'(printf "{words}" {arguments})' if arguments else f'"{words}"'
    yield f"{{{{- if {condition} }}}}{{{{ $faults = append $faults {said} }}}}{{{{- end }}}}"


def _setting(section: str, name: str) -> str:
    """What the release has of it, or the service's default."""
    default = fields_of(SECTION_CLASSES[section])[name].default
    return f'dig "{section}" "{name}" {_literal(default)} $settings'


def _number(section: str, name: str) -> str:
    return f"float64 ({_setting(section, name)})"


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return "(list" + "".join(f" {_literal(each)}" for each in value) + ")"
    return f'"{value}"' if isinstance(value, str) else repr(value)
