"""The pusher while its log is damaged beyond opening, lies in servers that are away, or was moved elsewhere: it takes
nothing, says what is wrong to whoever asks, and begins as soon as somebody has brought a whole log, or the servers.

One that just ended would leave the reason in its own log alone; who asks `fasttree status`, a probe or a monitor would
learn no more than that nobody answers.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp

from fasttree.v1 import import_source_pb2_grpc, pusher_pb2, pusher_pb2_grpc
from services.pusher.log.engine.said import TriesAgain
from services.pusher.log.fencing.fence import LogElsewhereError
from services.pusher.log.store import LogDamagedError, LogStore, LogStoreError, StoreFullError
from services.pusher.settings import PusherSettings
from services.shared.domain.addresses import address_of
from services.shared.files.sealed.own import sealing_problem
from services.shared.files.state_folder import lock_folder
from services.shared.files.threads import in_thread
from services.shared.own_version import own_version
from services.shared.rules import RULE_VERSION
from services.shared.security.audit.log import audit_problem
from services.shared.security.own import certificate_expires, security_problem
from services.shared.serving.errors import FailedPreconditionError, UnavailableError
from services.shared.serving.metrics import Metrics
from services.shared.serving.ops_port import OpsPort, Verdict
from services.shared.serving.process import StartupError
from services.shared.serving.server import GrpcServer

logger = logging.getLogger(__name__)

#: How often the folder is looked at, and servers that are away.
LOOK_S = 1.0
#: A damaged log that lies in servers is tried again so often: nothing in the folder says that it is whole.
SERVERS_LOOK_S = 10.0
#: What a log is made of, beside its ids.
_FILES = ("log.db", "log.db-wal", "log.end")

_Seen = tuple[tuple[int, int, int], ...]


class OpenLog(NamedTuple):
    """A log, and the lock of its folder: to be closed once nothing more is done with the log."""

    store: LogStore
    lock: IO[str]


class Problem(NamedTuple):
    """Why there is none; `told_as`: the reason that whoever asks is given."""

    reason: str
    told_as: Literal["LOG_AWAY", "LOG_DAMAGED", "LOG_ELSEWHERE"]

    @property
    def is_away(self) -> bool:
        """It lies in servers that can't be reached."""
        return self.told_as == "LOG_AWAY"

    @property
    def is_damaged(self) -> bool:
        return self.told_as == "LOG_DAMAGED"


async def open_log(
    settings: PusherSettings,
    cluster: str,
    open_store: Callable[[], LogStore],
    look_s: float = LOOK_S,
    servers_look_s: float = SERVERS_LOOK_S,
) -> OpenLog:
    """The log, at once or as soon as it is whole.

    While it waits it does not have the folder: `fasttree log restore` may. It looks again when the log's files have
    changed, and rest: a copy that is under way is none. A log that lies in servers it asks for every `servers_look_s`,
    and while they are away every `look_s`.

    Raises:
        StartupError: Another process has the folder, or the log can't be opened for another reason.
        OSError: A port is taken.
    """
    folder, in_servers = settings.state_path, settings.log.log_store != "sqlite"
    tried = _seen(folder)
    found = await in_thread(_try_open, folder, open_store, in_servers)
    if isinstance(found, OpenLog):
        return found
    logger.error("the log can't be opened: %s; %s", found.reason, _waits(found))
    waiting, in_use = _Waiting(settings, cluster, found), TriesAgain(logger)
    await waiting.start()
    try:
        while True:
            again_s = look_s if found.is_away else servers_look_s if in_servers else math.inf
            seen = await _changed(folder, tried, look_s, again_s)
            try:
                found = await in_thread(_try_open, folder, open_store, in_servers)
            except StartupError as error:  # whoever brings it back has the folder yet
                in_use.because(str(error))
                found = waiting.problem
                continue
            tried = seen
            if isinstance(found, OpenLog):
                logger.info("the log is whole again" if waiting.problem.is_damaged else "the log is there")
                return found
            if found != waiting.problem:
                logger.error("the log can't be opened: %s; %s", found.reason, _waits(found))
            waiting.problem = found
    finally:
        await waiting.stop()


def _waits(problem: Problem) -> str:
    return {
        "LOG_AWAY": "waits for the servers",
        "LOG_DAMAGED": "waits for a whole one",
        "LOG_ELSEWHERE": "takes nothing",
    }[problem.told_as]


def _try_open(folder: Path, open_store: Callable[[], LogStore], in_servers: bool) -> OpenLog | Problem:
    """The log, or what is wrong with it."""
    lock = lock_folder(folder)
    try:
        return OpenLog(open_store(), lock)
    except LogDamagedError as error:
        lock.close()
        return Problem(str(error), "LOG_DAMAGED")
    except LogElsewhereError as error:
        lock.close()
        return Problem(str(error), "LOG_ELSEWHERE")
    except LogStoreError as error:
        lock.close()
        if in_servers and isinstance(error, StoreFullError):
            return Problem(str(error), "LOG_AWAY")
        raise StartupError(str(error)) from error


async def _changed(folder: Path, tried: _Seen, look_s: float, again_s: float) -> _Seen:
    """The files once they are others than before the last try, and have been the same for two looks; or once so much
    time has passed."""
    last = tried
    again_at_s = time.monotonic() + again_s
    while True:
        await asyncio.sleep(look_s)
        now = _seen(folder)
        if now == last != tried or time.monotonic() >= again_at_s:
            return now
        last = now


def _seen(folder: Path) -> _Seen:
    found = [path.stat() for name in _FILES if (path := folder / name).exists()]
    return tuple((stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in found)


class _Waiting:
    """What answers meanwhile, on both ports."""

    def __init__(self, settings: PusherSettings, cluster: str, problem: Problem) -> None:
        self.problem = problem
        self._settings = settings
        metrics = Metrics("pusher", "fasttree_pusher_", origin={"fasttree.cluster": cluster})
        metrics.gauge(
            "log_damaged_records", "1: the log is damaged beyond opening: an alarm", lambda: self.problem.is_damaged
        )
        metrics.gauge("closed", "1: no pushes are taken: an alarm", lambda: 1)
        metrics.process(settings.state_path)
        self._metrics = metrics
        self._http = OpsPort("pusher.http_port", metrics, {"/readyz": lambda: Verdict(False, self.problem.reason)})
        address = address_of(settings.listen_host, settings.port)
        services: list[tuple[Any, Any]] = [
            (pusher_pb2_grpc.add_PusherServiceServicer_to_server, _Servicer(cluster, lambda: self.problem)),
            (import_source_pb2_grpc.add_ImportSourceServiceServicer_to_server, _NoFiles(lambda: self.problem)),
        ]
        names = ("fasttree.v1.PusherService", "fasttree.v1.ImportSourceService")
        self._server = GrpcServer(address, services, names, settings.serving, "pusher.port")

    async def start(self) -> None:
        await self._http.start(self._settings.listen_host, self._settings.http_port)
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop(0.0)
        await self._http.stop()
        self._metrics.close()


class _Servicer(pusher_pb2_grpc.PusherServiceServicer):
    """Says what is wrong, whatever it is asked."""

    def __init__(self, cluster: str, problem: Callable[[], Problem]) -> None:
        self._cluster, self._problem = cluster, problem
        self._started_at = Timestamp()
        self._started_at.GetCurrentTime()

    async def GetPusher(self, request: Any, context: Any) -> pusher_pb2.GetPusherResponse:
        problem = self._problem()
        return pusher_pb2.GetPusherResponse(
            cluster=self._cluster,
            started_at=self._started_at,
            closed_reason=problem.reason,
            log_damage=problem.reason if problem.is_damaged else "",
            known_rule_version=RULE_VERSION,
            audit_problem=audit_problem(),
            software_version=own_version(),
            certificate_expires=certificate_expires(),
            sealing_problem=sealing_problem(),
            security_problem=security_problem(),
        )

    async def _refuse(self, request: Any, context: Any) -> None:
        """Who would change something waits for the log; before a damaged one is whole, somebody has to act."""
        if not self._problem().is_damaged:
            _put_off(self._problem())
        raise FailedPreconditionError(self._problem().reason, reason="LOG_DAMAGED")

    UploadImport: Any = _refuse
    RollbackImport: Any = _refuse
    GetImportProfile: Any = _refuse
    SkipUpdate: Any = _refuse
    EraseMember: Any = _refuse
    GetErasure: Any = _refuse
    ReadPersonal: Any = _refuse
    AdoptLog: Any = _refuse

    async def PushUpdates(self, request_iterator: Any, context: Any) -> AsyncIterator[Any]:
        await self._refuse(request_iterator, context)
        yield

    async def WatchImport(self, request: Any, context: Any) -> AsyncIterator[Any]:
        """Who reads waits, as for a pusher that is down."""
        _put_off(self._problem())
        yield

    ReadLog: Any = WatchImport


class _NoFiles(import_source_pb2_grpc.ImportSourceServiceServicer):
    def __init__(self, problem: Callable[[], Problem]) -> None:
        self._problem = problem

    async def DownloadImport(self, request: Any, context: Any) -> AsyncIterator[Any]:
        _put_off(self._problem())
        yield


def _put_off(problem: Problem) -> None:
    raise UnavailableError(problem.reason, reason=problem.told_as)
