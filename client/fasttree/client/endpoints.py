"""Where a cluster is: the file that `fasttree up` writes, or one written by hand for a cluster elsewhere."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from fasttree.client.calls.tls import TlsFiles
from fasttree.client.calls.tokens import TokenFile
from fasttree.client.errors import EndpointsError
from fasttree.client.files import open_regular

#: Far more than the addresses of a cluster take.
_BYTES_MAX = 1 << 20
_ADDRESSES = ("vip", "pusher", "coordinator", "messages", "console")
_NODE_FIELDS: dict[str, type] = {"name": str, "report": str, "instant": str, "http": str, "pid": int}
_TLS_FIELDS = ("certificate", "key", "ca", "server_name")
_ANEW = "write it anew with `fasttree up`, or by hand with vip, pusher, coordinator, nodes"


@dataclass(frozen=True, kw_only=True)
class NodeEndpoint:
    """One tree node: its three ports as host:port, and its process (0 where it is not on this machine)."""

    name: str
    report: str = ""
    instant: str = ""
    http: str = ""
    pid: int = 0


class EndpointsJson(TypedDict):
    """An endpoints file."""

    vip: str
    pusher: str
    coordinator: str
    messages: str
    console: str
    nodes: list[NodeEndpoint]
    http: dict[str, str]
    pids: dict[str, int]
    tls: NotRequired[TlsFiles]
    token_file: NotRequired[str]
    token_in_clear: NotRequired[bool]


@dataclass(frozen=True, kw_only=True)
class Endpoints:
    """Addresses as host:port: `vip` for reports, `pusher` for updates and imports, `coordinator` for operators,
    `messages` for messages to downlines, where the service for DataTrax takes them, `console` for a browser."""

    vip: str = ""
    pusher: str = ""
    coordinator: str = ""
    messages: str = ""
    console: str = ""
    nodes: tuple[NodeEndpoint, ...] = ()
    #: host:port of the HTTP ports (health, metrics) of what is not a node.
    http: dict[str, str] = field(default_factory=dict)
    #: Process ids of what is not a node: coordinator, pusher, vip, up. Empty for a cluster elsewhere.
    pids: dict[str, int] = field(default_factory=dict)
    #: The certificate that whoever has this file shows, and whose it believes; None: no TLS.
    tls: TlsFiles | None = None
    #: The token that the calls of whoever has this file bring; None: none.
    token: TokenFile | None = None

    @classmethod
    def read(cls, path: Path) -> Endpoints:
        """Reads an endpoints file. Raises EndpointsError, which names the file and the mend."""
        try:
            with open_regular(path) as file:
                text = file.read(_BYTES_MAX + 1).decode("utf-8-sig")  # with the mark that editors of Windows write
            content = json.loads(text)
        except FileNotFoundError:
            raise EndpointsError(
                f"{path} does not exist: start a cluster with `fasttree up`, or name another file with --endpoints"
            ) from None
        except PermissionError:
            raise EndpointsError(f"{path} may not be read by this user: ask its owner, who has the rights") from None
        except OSError as error:
            raise EndpointsError(f"{path} can't be read: {error.strerror}; write it anew with `fasttree up`") from None
        except json.JSONDecodeError as error:
            raise EndpointsError(f"{path} is no JSON from line {error.lineno} on: {_ANEW}") from None
        except (ValueError, RecursionError):
            raise EndpointsError(f"{path} is no JSON in UTF-8: {_ANEW}") from None
        if not isinstance(content, dict):
            raise EndpointsError(f"{path} does not hold a JSON object with vip, pusher, coordinator, nodes")
        if problem := _problem(content):
            raise EndpointsError(f"{path}: {problem}; {_ANEW}")
        return cls._of(content, path.absolute().parent)

    @classmethod
    def _of(cls, content: dict[str, Any], folder: Path) -> Endpoints:
        nodes = tuple(
            NodeEndpoint(**{key: value for key, value in node.items() if key in _NODE_FIELDS})
            for node in content.get("nodes", [])
        )
        addresses = {key: content.get(key, "") for key in _ADDRESSES}
        tls = content.get("tls")
        return cls(
            **addresses,
            nodes=nodes,
            http=dict(content.get("http", {})),
            pids=dict(content.get("pids", {})),
            tls=_tls(tls, folder) if tls else None,
            token=_token(content, folder),
        )

    def write(self, path: Path) -> None:
        """Writes the file in one step: a reader sees the old one or the new one, never a half.

        Without an fsync: after a power failure no process that it names is there.
        """
        text = json.dumps(self.content(), indent=2) + "\n"
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise

    def content(self) -> dict[str, Any]:
        """As the file has it, which is as `EndpointsJson` has it."""
        content = asdict(self)
        if self.tls is None:
            del content["tls"]
        del content["token"]
        if self.token is not None:
            content["token_file"] = self.token.path
            if self.token.in_clear:
                content["token_in_clear"] = True
        return content

    def node(self, name: str) -> NodeEndpoint:
        """The node of that name. Raises EndpointsError, which lists those that there are."""
        for node in self.nodes:
            if node.name == name:
                return node
        names = ", ".join(node.name for node in self.nodes) or "none"
        raise EndpointsError(f"no node {name!r} in the endpoints file; it has: {names}")


def _problem(content: dict[str, Any]) -> str | None:
    """What of an endpoints file is none of its form; None where nothing is."""
    for key in _ADDRESSES:
        if not isinstance(content.get(key, ""), str):
            return f"{key} must be a text, host:port"
    for key, inner, words in (("http", str, "texts"), ("pids", int, "numbers")):
        part = content.get(key, {})
        if not isinstance(part, dict) or not all(_is(value, inner) for value in part.values()):
            return f"{key} must be an object of {words}"
    tls = content.get("tls") or {}
    if not isinstance(tls, dict) or not all(isinstance(tls.get(key, ""), str) for key in _TLS_FIELDS):
        return f"tls must be an object of texts: {', '.join(_TLS_FIELDS)}"
    named = [key for key in _TLS_FIELDS[:3] if tls.get(key)]
    if tls and named not in (list(_TLS_FIELDS[:3]), ["ca"]):
        return "tls must name the files certificate, key and ca; or ca alone, where a token says who calls"
    if not isinstance(content.get("token_file", ""), str) or not isinstance(content.get("token_in_clear", False), bool):
        return "token_file must be a text, and token_in_clear true or false"
    nodes = content.get("nodes", [])
    if not isinstance(nodes, list) or not all(isinstance(node, dict) and "name" in node for node in nodes):
        return "nodes must be a list of objects, each with a name"
    for node in nodes:
        for key, kind in _NODE_FIELDS.items():
            if not _is(node.get(key, kind()), kind):
                return f"{key} of a node must be a {'text' if kind is str else 'number'}"
    return None


def _tls(named: dict[str, str], folder: Path) -> TlsFiles:
    """Files are named from the folder of the endpoints file."""
    files = {key: str(folder / named[key]) if named.get(key) else "" for key in _TLS_FIELDS[:3]}
    return TlsFiles(**files, server_name=named.get("server_name", ""))


def _token(content: dict[str, Any], folder: Path) -> TokenFile | None:
    """Named from that folder, too."""
    named = content.get("token_file")
    if not named:
        return None
    return TokenFile(path=str(folder / named), in_clear=content.get("token_in_clear", False))


def _is(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)
