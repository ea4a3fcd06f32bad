"""What Kubernetes takes where the chart has a value, as JSON Schema. Patterns are of RE2, which Helm's are."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

_NAME_PART = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_NAME_PART}(\.{_NAME_PART})*"
_LABEL = "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"

SWITCH: Schema = {"type": "boolean"}
TEXTS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
#: A name of an object, such as a Secret or a class.
NAME: Schema = {"type": "string", "maxLength": 253, "pattern": f"^{_SUBDOMAIN}$"}
NAME_OR_NONE: Schema = {"type": "string", "maxLength": 253, "pattern": f"^({_SUBDOMAIN})?$"}
HOST: Schema = {"type": "string", "maxLength": 253, "pattern": rf"^(\*\.)?{_SUBDOMAIN}$"}
HOSTS: Schema = {"type": "array", "items": HOST}
#: As Go writes a time.
HOURS: Schema = {"type": "string", "pattern": "^[1-9][0-9]{0,5}h$"}
LABELS: Schema = {
    "type": "object",
    "propertyNames": {"pattern": f"^({_SUBDOMAIN}/)?{_LABEL}$"},
    "additionalProperties": {"type": "string", "pattern": f"^({_LABEL})?$"},
}
#: Labels that somebody is picked by: none would pick everybody.
PICKED_BY: Schema = {**LABELS, "minProperties": 1}
TEXT: Schema = {"type": "string", "minLength": 1}
#: [REGISTRY[:PORT]/]NAME[:TAG][@sha256:DIGEST]
IMAGE_PATTERN = (
    r"^(([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(:[0-9]{1,5})?/)?"
    r"[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*"
    r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?$"
)
CIDRS: Schema = {"type": "array", "items": {"type": "string", "pattern": r"^[0-9A-Fa-f.:]+/[0-9]{1,3}$"}}

_QUANTITY: Schema = {
    "type": ["string", "number"],
    "minimum": 0,
    "pattern": r"^[0-9]+(\.[0-9]+)?(m|Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$",
}
#: Of a volume: a number alone would be so many bytes.
SIZE: Schema = {"type": "string", "pattern": r"^([1-9][0-9]*(\.[0-9]+)?|0\.0*[1-9][0-9]*)(Mi|Gi|Ti|Pi|M|G|T|P)$"}
_QUANTITIES: Schema = {
    "type": "object",
    "propertyNames": {
        "pattern": r"^(cpu|memory|ephemeral-storage|hugepages-[0-9]+[KMG]i|[a-z0-9.-]+/[A-Za-z0-9._-]+)$"
    },
    "additionalProperties": _QUANTITY,
}


def _closed(required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    closed: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return closed | ({"required": list(required)} if required else {})


RESOURCES = _closed(
    requests=_QUANTITIES,
    limits=_QUANTITIES,
    claims={"type": "array", "items": _closed(("name",), name=NAME, request=NAME)},
)
SERVERS: Schema = {
    "type": "array",
    "items": _closed(("cidr", "port"), cidr=CIDRS["items"], port={"type": "integer", "minimum": 1, "maximum": 65_535}),
}
PULL_SECRETS: Schema = {"type": "array", "items": _closed(("name",), name=NAME)}
#: A pod selector's own: what the schedulers take is theirs to say, but not a word that they would not know.
TOLERATIONS: Schema = {
    "type": "array",
    "items": {
        **_closed(
            key={"type": "string", "pattern": f"^({_SUBDOMAIN}/)?{_LABEL}$"},
            operator={"enum": ["Exists", "Equal"]},
            value={"type": "string", "pattern": f"^({_LABEL})?$"},
            effect={"enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"]},
            tolerationSeconds={"type": "integer"},
        ),
        # One that exists has no value, and one without a key is for every taint that exists.
        "if": {"properties": {"operator": {"const": "Exists"}}, "required": ["operator"]},
        "then": {"properties": {"value": {"const": ""}}},
        "else": {"required": ["key"]},
    },
}
_ID: Schema = {"type": "integer", "minimum": 1, "maximum": 2**31 - 1}
#: Under PodSecurity `restricted`, which the chart is for.
POD_SECURITY = _closed(
    ("runAsNonRoot", "seccompProfile"),
    runAsNonRoot={"const": True},
    runAsUser=_ID,
    runAsGroup=_ID,
    fsGroup=_ID,
    fsGroupChangePolicy={"enum": ["OnRootMismatch", "Always"]},
    supplementalGroups={"type": "array", "items": _ID},
    supplementalGroupsPolicy={"enum": ["Merge", "Strict"]},
    seLinuxOptions=TEXTS,
    seccompProfile=_closed(
        ("type",), type={"enum": ["RuntimeDefault", "Localhost"]}, localhostProfile={"type": "string"}
    ),
)
PARENTS: Schema = {
    "type": "array",
    "minItems": 1,
    "items": _closed(
        ("name",),
        name=NAME,
        namespace=NAME,
        sectionName=NAME,
        port={"type": "integer", "minimum": 1, "maximum": 65_535},
        group={"type": "string"},
        kind={"type": "string"},
    ),
}


def whole(least: int, most: int) -> Schema:
    """A whole number within bounds."""
    return {"type": "integer", "minimum": least, "maximum": most}


def _cron() -> str:
    """Five fields, or a word: what CronJobs take, but for ranges that end before they begin."""
    days = "SUN|MON|TUE|WED|THU|FRI|SAT"
    months = "JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC"
    numbers = (
        "[0-5]?[0-9]",
        "[01]?[0-9]|2[0-3]",
        "0?[1-9]|[12][0-9]|3[01]",
        f"0?[1-9]|1[0-2]|{months}",
        f"0?[0-6]|{days}",
    )
    fields = []
    for number in numbers:
        one = rf"([*?]|({number})(-({number}))?)(/[1-9][0-9]?)?"
        fields.append(f"{one}(,{one})*")
    return rf"^((?i:{' +'.join(fields)})|@(yearly|annually|monthly|weekly|daily|midnight|hourly))$"


SCHEDULE_PATTERN = _cron()
