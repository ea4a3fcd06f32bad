"""Who may call what, judged here as every server does: by their own code, since nobody should learn it from a copy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from fasttree.command.certs.roles import ROLES, holder_of
from fasttree.command.session import CommandError
from fasttree.v1 import coordinator_pb2, import_source_pb2, message_pb2, pusher_pb2, report_pb2, treenode_pb2
from services.shared.security.policy import Content, Policy, Verdict, read_policy
from services.shared.security.roles import shipped_policy
from services.shared.security.settings import TlsError

_API: tuple[Any, ...] = (coordinator_pb2, import_source_pb2, message_pb2, pusher_pb2, report_pb2, treenode_pb2)


def policy_of(file: Path | None, cluster: str) -> Policy:
    """The file's, or the shipped one. Raises CommandError."""
    try:
        return shipped_policy(cluster) if file is None else read_policy(file)
    except TlsError as error:
        raise CommandError(str(error)) from None


def text_of(policy: Policy) -> str:
    """As its file has it."""
    return msgspec.json.format(msgspec.json.encode(policy.content), indent=2).decode()


def form() -> type[Any]:
    """What a policy's file is read by."""
    return Content


def calls() -> list[str]:
    """The path of every call of the API."""
    return [
        f"/{service.full_name}/{method.name}"
        for module in _API
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    ]


def path_of(call: str) -> str:
    """Of a call's name, or of a path as it is. Raises CommandError."""
    if call.startswith("/"):
        return call
    found = [path for path in calls() if call in (path.rpartition("/")[2], path.rpartition(".")[2])]
    if len(found) != 1:
        raise CommandError(f"{call!r} is no call of the API: write its name, as GetMember, or a path, as /metrics")
    return found[0]


def principal_of(who: str, cluster: str) -> str:
    """Of ROLE, ROLE/NAME or a name as certificates have it. Raises CommandError."""
    if "://" in who:
        return who
    role = who.partition("/")[0]
    if role in ROLES and "/" not in who:
        who = f"{role}/{role}"
    return holder_of(who).uri(cluster)


def judge(policy: Policy, who: str, path: str) -> Verdict:
    """As a server would."""
    return policy.verdict((who,), path)
