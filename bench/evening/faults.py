"""What goes wrong in an evening, how it is done, and how it is mended again."""

from __future__ import annotations

import contextlib
import datetime
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from bench.cluster.cluster import RunningCluster
from fasttree.client import Client
from fasttree.command.certs.folder import CertificateFolder
from fasttree.command.certs.roles import Holder
from fasttree.v1 import types_pb2

_FILLER = "filler"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One of them."""

    name: str
    inject: Callable[[], Awaitable[None]]
    #: Ends it; what is mended by no hand in an evening has none.
    mend: Callable[[], Awaitable[None]] | None
    #: Where it can't be done here, why.
    left_out: str = ""


class Faults:
    """Of one cluster. `disk`: the log's own small disk; None: there is none here."""

    def __init__(self, cluster: RunningCluster, client: Client, member_id: str, disk: Path | None) -> None:
        self._cluster = cluster
        self._client = client
        self._member_id = member_id
        self._disk = disk

    def all(self) -> list[Fault]:
        """In the order of the evening: the last ones are mended by no command."""
        return [
            self._killed("primary killed", self._primary),
            Fault(name="node cut off", inject=self._cut, mend=self._join),
            Fault(
                name="disk full under the log",
                inject=self._fill,
                mend=self._empty,
                left_out="" if self._disk else "a disk of its own takes root's rights",
            ),
            self._killed("coordinator killed", lambda: self._named("coordinator")),
            self._killed("pusher killed", lambda: self._named("pusher")),
            Fault(name="certificate about to end", inject=self._short_certificate, mend=self._renew),
            Fault(name="two nodes differ", inject=self._differ, mend=None),
        ]

    def _killed(self, name: str, part: Callable[[], Awaitable[str]]) -> Fault:
        async def kill() -> None:
            whom = await part()
            # Whoever would start it again is held meanwhile, so that there is something to tell.
            os.kill(self._cluster.pid, signal.SIGSTOP)
            self._cluster.kill(whom)

        async def start_again() -> None:
            os.kill(self._cluster.pid, signal.SIGCONT)

        return Fault(name=name, inject=kill, mend=start_again)

    async def _primary(self) -> str:
        return (await self._client.get_cluster()).primary

    async def _named(self, part: str) -> str:
        return part

    async def _passive(self) -> str:
        primary = await self._primary()
        return next(name for name in self._cluster.node_names if name != primary)

    async def _cut(self) -> None:
        """A node that nothing comes from and nothing reaches, whose connections stay open: as behind a dead switch."""
        self._gone = await self._passive()
        self._cluster.kill(self._gone, signal.SIGSTOP)

    async def _join(self) -> None:
        self._cluster.kill(self._gone, signal.SIGCONT)

    async def _fill(self) -> None:
        assert self._disk is not None
        room = os.statvfs(self._disk)
        with (self._disk / _FILLER).open("wb") as file, contextlib.suppress(OSError):
            os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize)

    async def _empty(self) -> None:
        assert self._disk is not None
        (self._disk / _FILLER).unlink()

    async def _short_certificate(self) -> None:
        """In the place of a node's own: taken by itself."""
        folder = CertificateFolder(self._cluster.folder / "certs")
        holder = Holder("node", self._cluster.node_names[-1])
        folder.issue(folder.authority(), holder, ["127.0.0.1", "localhost"], datetime.timedelta(hours=12))

    async def _renew(self) -> None:
        folder = CertificateFolder(self._cluster.folder / "certs")
        folder.renew(folder.authority(), all_of_them=True)

    async def _differ(self) -> None:
        """By a defect that was planted in one node's engine (`bench/chaos/planted`)."""
        changed = types_pb2.MemberChanged(member_id=self._member_id, rank=7)
        update = types_pb2.Update(update_id=f"differ-at-{self._cluster.node_names[-1]}/1", member_changed=changed)
        async for _ in self._client.push([update]):
            pass
