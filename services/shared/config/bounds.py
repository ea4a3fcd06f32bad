"""What a setting may be: types that carry their bounds, and the words that tell them.

Every number has a least and a largest value, which also keeps out what is no number (NaN compares with nothing) and
what is none that a machine can do anything with. A setting whose bounds are its own writes them beside itself.
"""

from __future__ import annotations

from typing import Annotated, Any, get_args, get_origin

from msgspec import Meta

from services.shared.domain.addresses import ADDRESS_PATTERN, HOST_PATTERN, NODE_NAME_FORM, NODE_NAME_PATTERN
from services.shared.domain.columns import COLUMN_NAME_PATTERN, RESERVED_TYPES, VOLUME_TYPE_PATTERN
from services.shared.domain.days import PERIOD_PATTERN

DAY_S = 86_400

Flag = Annotated[bool, Meta(description="true or false")]
#: 0 takes a free one.
Port = Annotated[int, Meta(ge=0, le=65_535)]
#: A time that has to pass.
Seconds = Annotated[float, Meta(ge=0.001, le=DAY_S)]
#: A time that may be none at all.
SecondsFrom0 = Annotated[float, Meta(ge=0, le=DAY_S)]
#: How long something is kept: up to a century.
KeptSeconds = Annotated[float, Meta(ge=0, le=100 * 366 * DAY_S)]
Percent = Annotated[float, Meta(ge=0, le=100)]
#: A number of things, such as updates.
Count = Annotated[int, Meta(ge=1, le=1_000_000_000)]
CountFrom0 = Annotated[int, Meta(ge=0, le=1_000_000_000)]
#: Up to a pebibyte.
Bytes = Annotated[int, Meta(ge=1, le=1 << 50)]

_PATH = r"[^\x00-\x1f\x7f]{1,4096}"

Name = Annotated[str, Meta(pattern=r"\A[!-~]{1,64}\Z", description="1 to 64 printable ASCII characters without blanks")]
OptionalNodeName = Annotated[
    str, Meta(pattern=rf"\A(?:{NODE_NAME_PATTERN})?\Z", description=f"{NODE_NAME_FORM}; or empty")
]
Host = Annotated[str, Meta(pattern=rf"\A{HOST_PATTERN}\Z", description="a host name or an address, without a port")]
OptionalHost = Annotated[
    str, Meta(pattern=rf"\A(?:{HOST_PATTERN})?\Z", description="a host name or an address, without a port; or empty")
]
Address = Annotated[
    str,
    Meta(pattern=rf"\A{ADDRESS_PATTERN}\Z", description="host:port, such as ftsp01.example.com:2379"),
]
OptionalAddress = Annotated[
    str,
    Meta(
        pattern=rf"\A(?:{ADDRESS_PATTERN})?\Z",
        description="host:port, such as ftsp01.example.com:50400; or empty",
    ),
]
OptionalAddresses = Annotated[
    str,
    Meta(
        pattern=rf"\A(?:{ADDRESS_PATTERN}(?:,{ADDRESS_PATTERN}){{0,15}})?\Z",
        description="host:port, or up to 16 of them with commas between; or empty",
    ),
]
#: What has to be at a path (`paths.py`), as `Meta.extra` says it: a file to be read, a folder if anything is there, or
#: a folder that the service writes into, and makes where it is not there.
READ = "read"
FOLDER = "folder"
OWN_FOLDER = "own folder"
_KEY = "path"

Folder = Annotated[str, Meta(pattern=rf"\A{_PATH}\Z", description="a path", extra={_KEY: FOLDER})]
OptionalPath = Annotated[str, Meta(pattern=rf"\A(?:{_PATH})?\Z", description="a path; or empty")]
OptionalFolder = Annotated[
    str, Meta(pattern=rf"\A(?:{_PATH})?\Z", description="a path; or empty", extra={_KEY: FOLDER})
]
OwnFolder = Annotated[str, Meta(pattern=rf"\A{_PATH}\Z", description="a path", extra={_KEY: OWN_FOLDER})]
OptionalOwnFolder = Annotated[
    str, Meta(pattern=rf"\A(?:{_PATH})?\Z", description="a path; or empty", extra={_KEY: OWN_FOLDER})
]
OptionalFile = Annotated[str, Meta(pattern=rf"\A(?:{_PATH})?\Z", description="a path; or empty", extra={_KEY: READ})]
OptionalFileOrUrl = Annotated[
    str,
    Meta(
        pattern=rf"\A(?:{_PATH})?\Z",
        description="a path, or an address with https://; or empty",
        extra={_KEY: READ},
    ),
]
_KUBERNETES_NAME = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
KubernetesName = Annotated[
    str,
    Meta(pattern=rf"\A{_KUBERNETES_NAME}\Z", description="a name of Kubernetes: 1 to 63 of a-z 0-9 -"),
]
OptionalService = Annotated[
    str,
    Meta(
        pattern=rf"\A(?:{_KUBERNETES_NAME})?\Z",
        description="a Service's name, such as fasttree-treenode; or empty",
    ),
]
EtcdKey = Annotated[
    str,
    Meta(pattern=r"\A[!-~]{0,256}\Z", description="up to 256 printable ASCII characters without blanks; or empty"),
]
_RESERVED = "|".join(sorted(each for each in RESERVED_TYPES if each != "*"))
VolumeType = Annotated[
    str,
    Meta(
        pattern=rf"\A(?!(?i:{_RESERVED})\Z){VOLUME_TYPE_PATTERN}\Z",
        description="a volume type of up to 16 letters, such as PV, that is no column's name, such as GV",
    ),
]
Status = Annotated[
    str, Meta(pattern=r"\A[ -~]{1,16}\Z", description="a status code of up to 16 printable ASCII characters")
]
ColumnName = Annotated[
    str, Meta(pattern=rf"\A{COLUMN_NAME_PATTERN}\Z", description="a column's name of up to 64 characters")
]
Period = Annotated[str, Meta(pattern=rf"\A{PERIOD_PATTERN}\Z", description="a month, such as 2026-11")]


def base_of(kind: Any) -> Any:
    """The type without its bounds."""
    return _parted(kind)[0]


def items_of(kind: Any) -> Any:
    """The type of a list's items; None where the type is no list."""
    base, _ = _parted(kind)
    return get_args(base)[0] if get_origin(base) in (list, tuple) else None


def path_of(kind: Any) -> str:
    """READ, FOLDER or OWN_FOLDER, where a setting of that type names one; else empty."""
    meta = _parted(kind)[1]
    return str(meta.extra.get(_KEY, "")) if meta is not None and meta.extra else ""


def allowed(kind: Any) -> str:
    """What a setting of that type may be, in words."""
    _, meta = _parted(kind)
    if meta is not None and meta.description:
        return meta.description
    item = items_of(kind)
    if item is not None:
        least, most = (meta.min_length or 0, meta.max_length) if meta is not None else (0, None)
        return f"{least} to {most}, each {allowed(item)}, none twice"
    if meta is None or meta.ge is None:
        return "a text"
    return f"{_figure(meta.ge)} to {_figure(meta.le)}"


def must_be(kind: Any) -> str:
    """The mend for a value that is none of that type's."""
    base, _ = _parted(kind)
    article = {int: "a whole number from ", float: "a number from "}.get(base, "a list of " if items_of(kind) else "")
    return f"must be {article}{allowed(kind)}"


def _parted(kind: Any) -> tuple[Any, Meta | None]:
    """The bare type, and its bounds."""
    if get_origin(kind) is Annotated:
        base, meta = get_args(kind)[:2]
        return base, meta
    return kind, None


def _figure(value: float | None) -> str:
    return f"{int(value):,}" if value is not None and value == int(value) else f"{value:g}"
