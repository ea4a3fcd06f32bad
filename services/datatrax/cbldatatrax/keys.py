"""The keys of [FastTree]: what each may be, what it does here, and what it did in the system of 2016.

Where the papers of 2016 do not say what a key meant, `meaning` says what it is taken to be.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from services.shared.domain.addresses import PORT_PATTERN, is_host
from services.shared.domain.sentences import is_plain

ENVIRONMENT_PATTERN: Final = r"[a-z0-9]{1,16}"


class Kind(NamedTuple):
    """What a value may be."""

    #: In words, after "must be".
    words: str
    is_good: Callable[[str], bool]


def _one_of(*words: str) -> Kind:
    return Kind(" or ".join(words), lambda value: value.upper() in words)


def _is_path(value: str) -> bool:
    parts = value.split("/")
    return value.startswith("/") and len(value) <= 1_024 and is_plain(value) and not {".", ".."} & set(parts)


YES_OR_NO: Final = _one_of("Y", "N")
_HOST: Final = Kind("a host's name or address, without a port", is_host)
_PORT: Final = Kind("a port from 1 to 65535", lambda value: re.fullmatch(PORT_PATTERN, value) is not None)
_PATH: Final = Kind("a folder's path from / on, without . and ..", _is_path)
_FOLDER_NAME: Final = Kind(
    "a name of 1 to 48 letters, digits, . _ -", lambda value: re.fullmatch(r"[A-Za-z0-9._-]{1,48}", value) is not None
)
_STATUSES: Final = Kind(
    "status codes without blanks between them, such as XYZ, each once",
    lambda value: re.fullmatch(r"[A-Za-z0-9]{1,36}", value) is not None and len(set(value)) == len(value),
)
#: Which file a program of 2016 made or read, by the program's name. None is ever started: what is named in a file is
#: nothing to run.
ZIP_FORMATS: Final = {"zip": "zip", "zip-7": "zip", "7z": "zip", "gzip": "gzip", "gunzip": "gzip", "unzip": "zip",
                      "zstd": "zstd", "unzstd": "zstd"}  # fmt: skip
_ZIP_PROCESS: Final = Kind(f"one of {', '.join(ZIP_FORMATS)}", lambda value: value.lower() in ZIP_FORMATS)


class Key(NamedTuple):
    """One key. Its name has no environment in it."""

    name: str
    kind: Kind
    #: What it is where it is not given.
    default: str
    is_by_environment: bool
    #: What it does here.
    effect: str
    #: What it did in 2016.
    meaning: str
    #: When a line that was changed under a running system takes effect.
    when: str

    @property
    def key(self) -> str:
        return self.name.lower()


#: Of keys that the running service goes by.
AT_ONCE: Final = "at once"
#: Of keys that nothing has to go by.
NEVER: Final = "never: it has none"
#: How those begin that wait for a start.
NEXT_START: Final = "at the next start"
_NEXT_RUN: Final = "at the next run of a job"
_CLUSTERS_START: Final = f"{NEXT_START} of the whole cluster"
_RULE: Final = "in a new log; later by `fasttree rules set`"
_VIPS_START: Final = f"{NEXT_START} of the VIP and of this service"


def _by_environment(name: str, kind: Kind, default: str, effect: str, meaning: str, when: str) -> Key:
    return Key(name, kind, default, True, effect, meaning, when)


def _common(name: str, kind: Kind, default: str, effect: str, meaning: str, when: str) -> Key:
    return Key(name, kind, default, False, effect, meaning, when)


KEYS: Final = (
    _by_environment(
        "MDIR",
        _FOLDER_NAME,
        "",
        "the first part of the cluster's name",
        "the folder of its data in DataTrax",
        _CLUSTERS_START,
    ),
    _by_environment(
        "server",
        _HOST,
        "",
        "the VIP's host, at which reports are asked",
        "the FastTree server, or a cluster's load balancer",
        _VIPS_START,
    ),
    _by_environment("server-port", _PORT, "50100", "the VIP's port", "the port of reports, at that host", _VIPS_START),
    _by_environment(
        "dir",
        _PATH,
        "",
        "the folder of what each process keeps: coordinator, pusher and treenode in it",
        "the folder of the tree's files on the FastTree server",
        _CLUSTERS_START,
    ),
    _by_environment(
        "upload",
        _PATH,
        "",
        "the folder that is watched for import files",
        "the folder that a commission run's files were sent to",
        f"{NEXT_START} of the pusher",
    ),
    _by_environment(
        "enabled-primary",
        YES_OR_NO,
        "N",
        "whether the environment has a cluster; N: the local port and the spool take nothing, and say so",
        "whether FastTree was in use; taken to be: for the first tree, that of sponsors",
        AT_ONCE,
    ),
    _by_environment(
        "enabled-secondary",
        YES_OR_NO,
        "N",
        "none: every cluster has the tree of placements, which holds what import files and updates say of it",
        "taken to be: the same for the second tree, that of placements",
        NEVER,
    ),
    _by_environment(
        "enabled-tertiary",
        YES_OR_NO,
        "N",
        "N alone where the environment has a cluster: there are two trees, of sponsors and of placements; Y is refused",
        "taken to be: the same for a third tree",
        NEVER,
    ),
    _by_environment(
        "cluster-transfer",
        YES_OR_NO,
        "N",
        "whether the environment's data goes to every node; N: it stays with its one server of 2016, and the local "
        "port and the spool take nothing, and say so",
        "whether data went to every server of the host file, through the local instant port",
        AT_ONCE,
    ),
    _by_environment(
        "Instant-Push",
        YES_OR_NO,
        "",
        "whether the local port and the spool take updates; N: each is answered that it comes with the next import",
        "whether enrolments and orders were sent at once; live: as enabled-primary, any other: N",
        AT_ONCE,
    ),
    _common(
        "Primary-Output-Option",
        _one_of("ALL"),
        "ALL",
        "none: an import is the whole tree, and would remove whoever is missing in it, so any other word is refused",
        "taken to be: which members a file has; ALL, everybody, is the only one that the papers name",
        NEVER,
    ),
    _common(
        "zipped-transfer",
        YES_OR_NO,
        "N",
        "whether import files are packed on their way by `fasttree datatrax transfer` and export-transfer",
        "whether files were sent compressed",
        _NEXT_RUN,
    ),
    _common(
        "decoupled-transfer",
        YES_OR_NO,
        "N",
        "Y: `fasttree datatrax transfer` writes a file to outgoing/ alone, and the next export-transfer sends it",
        "taken to be: files were written first and sent later",
        _NEXT_RUN,
    ),
    _common(
        "zip-process",
        _ZIP_PROCESS,
        "zip-7",
        "how files are packed then: the form that this program makes; it is never started",
        "the program that compressed files",
        _NEXT_RUN,
    ),
    _common(
        "unzip-process",
        _ZIP_PROCESS,
        "gunzip",
        "none: how a file is packed its first bytes say, and what opens it is never started",
        "the program that opened compressed files",
        NEVER,
    ),
    _common(
        "Customer-Status-List",
        _STATUSES,
        "",
        "members with one of these codes, a character each, are customers in reports: a rule of the log",
        "which status codes are customers', where the database does not say so",
        _RULE,
    ),
    _common(
        "Instant-Server-Port",
        _PORT,
        "50201",
        "the local instant port, and that of the nodes; the host file is hosts.PORT, the spool FTPORT",
        "the port of instant updates, on every server and on the DataTrax host",
        f"{NEXT_START} of the nodes and of this service",
    ),
    _common(
        "Customers-are-Rank-Zero",
        YES_OR_NO,
        "N",
        "customers have rank 0 in reports, whatever is recorded: a rule of the log",
        "whether customers have rank 0, whatever is recorded",
        _RULE,
    ),
)
_COMMON: Final = {each.key: each for each in KEYS if not each.is_by_environment}
#: The longest first: `server-port-live` is not the server of an environment `port-live`.
_BY_ENVIRONMENT: Final = sorted(
    (each for each in KEYS if each.is_by_environment), key=lambda each: len(each.key), reverse=True
)


class Named(NamedTuple):
    """What a key of a file is: one of `KEYS`, and the environment that it ends with, as it is written there."""

    key: Key
    #: Empty where the key has none.
    suffix: str


def named(key: str) -> Named | None:
    """Which key that is, in small letters and without the section's name; None where it is none of them. A key that
    has to end with an environment, and does not, has an empty `suffix`."""
    if found := _COMMON.get(key):
        return Named(found, "")
    for each in _BY_ENVIRONMENT:
        if key == each.key:
            return Named(each, "")
        rest = key.removeprefix(each.key + "-")
        if rest != key and re.fullmatch(ENVIRONMENT_PATTERN, rest):
            return Named(each, rest)
    return None


def key_of(name: str) -> Key:
    """The key of that name. Raises KeyError."""
    return next(each for each in KEYS if each.name == name)
