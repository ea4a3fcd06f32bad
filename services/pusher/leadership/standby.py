"""A pusher that stands by: it follows the log, and says which one is active to whoever would push."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from fasttree.v1 import import_source_pb2_grpc, pusher_pb2_grpc, types_pb2
from services.pusher.import_store.kept import KeptImports
from services.pusher.leadership.leadership import PusherTurn
from services.pusher.log.store import LogStore, LogStoreError, NotInLogError
from services.pusher.ports import Answering
from services.shared.domain.updates import OWN_ID_PREFIX
from services.shared.files.threads import in_thread
from services.shared.serving.errors import FailedPreconditionError, UnavailableError
from services.shared.serving.metrics import Metrics
from services.shared.serving.ops_port import Verdict
from services.shared.serving.server import GrpcServer

logger = logging.getLogger(__name__)

#: A log that can't be read is looked at again so often, and the import files, in seconds.
_LOOK_S = 1.0
_FOLLOWED_BYTES = 4 << 20
_RETRY_AFTER_S = 0.1
#: A client that pushes nothing is told after this, in seconds, that it would push in vain.
_FIRST_MESSAGE_S_MAX = 0.25
#: Of the imports in the log, so many of the newest ones' files have to be there.
_IMPORTS_LOOKED_AT = 2


class FollowedLog:
    """The log as one reads it that another one writes; then claimed, and handed over.

    Args:
        open_store: Opens it; raises LogStoreError.
        imports: The files of imports, as this pusher has them.
        interval_s: How often it reads on.
    """

    def __init__(self, open_store: Callable[[], LogStore], imports: KeptImports, interval_s: float) -> None:
        self._open_store, self._imports, self._interval_s = open_store, imports, interval_s
        self._store: LogStore | None = None
        #: Somebody has claimed it, and writes.
        self._handed_over = False
        #: One call to the store after another.
        self._lock = asyncio.Lock()
        #: The end of what was read.
        self.position = 0
        self.log_id = ""
        self.replaced_log_ids: tuple[str, ...] = ()
        #: The newest position, and of which log, up to which this process saw clients' updates come: whoever took those
        #: had asked the nodes, so they vouch for the log as a mark of its own would.
        self._seen: tuple[str, int] | None = None
        self._opened_at = 0
        #: Why no pusher may claim it, when it was looked at last.
        self.elsewhere = ""
        #: Why the log can't be read, or can be nobody's here; empty where it can.
        self.problem = "the log has not been read yet"
        #: Which import files would be missing if this pusher became active; empty where none would.
        self.lacks = ""

    async def run(self) -> None:
        """Reads on, until it is cancelled."""
        looked_s = float("-inf")
        loop = asyncio.get_running_loop()
        while True:
            try:
                looks = loop.time() - looked_s >= _LOOK_S
                async with self._lock:
                    if not self._handed_over:
                        await in_thread(self._read_on, looks)
                    newest = await in_thread(self._newest_imports) if looks else []
                if looks:
                    looked_s = loop.time()
                    self.lacks = await self._imports.lacks(newest)
            except (LogStoreError, OSError) as error:
                self._note(str(error))
            await asyncio.sleep(_LOOK_S if self.problem else self._interval_s)

    async def claim(self, epoch: int, holder: str) -> LogStore:
        """Claims the log, which is the caller's from then on. Raises as `LogStore.claim`."""
        async with self._lock:
            if self._store is None:
                await in_thread(self._open)
            store = self._store
            assert store is not None
            await in_thread(store.claim, epoch, holder)
            if self._seen is not None and self._seen[0] == store.log_id and self._seen[1] <= store.ends().last:
                store.vouched_for = True
            self.log_id, self.replaced_log_ids = store.log_id, store.replaced_log_ids
            self._store, self._handed_over = None, True
            return store

    def resume(self) -> None:
        """What was handed over came to nothing: reads on."""
        self._handed_over = False

    async def close(self) -> None:
        """Gives the log up, where it is not somebody else's by now."""
        async with self._lock:
            store, self._store = self._store, None
            if store is not None:
                await in_thread(store.close)

    def _open(self) -> None:
        self._store = self._open_store()

    def _read_on(self, looks: bool = True) -> None:
        """`looks`: also at who may claim it."""
        if self._store is None:
            self._store = self._open_store()
            self.position = max(self._store.ends().first - 1, self._store.ends().last - 1)
            self._opened_at = self._store.ends().last
        store = self._store
        try:
            while (run := store.follow(self.position, _FOLLOWED_BYTES)) is not None:
                self.position = run.last_position
                if self._vouches(store):
                    self._seen = store.log_id, self.position
        except NotInLogError:  # trimmed under it, or put in the place of another one
            self.position = store.ends().last
        self.log_id, self.replaced_log_ids = store.log_id, store.replaced_log_ids
        if looks:
            self.elsewhere = store.fence().elsewhere
        self._note(self.elsewhere)

    def _vouches(self, store: LogStore) -> bool:
        if self.position <= self._opened_at:
            return False
        if self._seen is not None and self._seen[0] == store.log_id:
            return True
        update_id = store.update_id_at(self.position)
        return update_id != "" and not update_id.startswith(OWN_ID_PREFIX)

    def _newest_imports(self) -> list[types_pb2.ImportManifest]:
        if self._store is None:
            return []
        return [stored.status.manifest for stored in self._store.imports()][-_IMPORTS_LOOKED_AT:]

    def _note(self, problem: str) -> None:
        if problem and problem != self.problem:
            what = "nobody can be active here" if problem == self.elsewhere else "the log can't be read"
            logger.error("%s: %s", what, problem)
        self.problem = problem


class Standby:
    """What answers while this pusher stands by.

    Args:
        log: What it follows now.
        refusal: Why coordinators don't take this process for the pusher of its name; empty where they do.
        server: At the port that it shares with the active part.
        folder: Its state's.
    """

    def __init__(
        self,
        cluster: str,
        turn: PusherTurn,
        log: Callable[[], FollowedLog],
        refusal: Callable[[], str],
        server: GrpcServer,
        folder: Path,
    ) -> None:
        self._turn, self._log, self._refusal = turn, log, refusal
        #: This process ends.
        self.is_ending = False
        metrics = Metrics("pusher", "fasttree_pusher_", origin={"fasttree.cluster": cluster})
        metrics.gauge("active", "1 while this pusher, of several, takes pushes.", lambda: 0)
        metrics.gauge(
            "followed_position", "The end of the log, as far as this pusher has read.", lambda: log().position
        )
        metrics.gauge(
            "unfit",
            "1 while this pusher can't read the log, can't claim it, has another one than the cluster's, or a name "
            "that another process holds: an alarm",
            lambda: bool(self._problem),
        )
        metrics.calls([server.calls])
        metrics.connections([server.connections])
        metrics.callers([server.callers])
        metrics.process(folder)
        self.answering = Answering(_Servicer(self), _NoFiles(self), metrics, self._is_ready, refusal=self.refusal)

    @property
    def _problem(self) -> str:
        return self._refusal() or self._turn.problem or self._log().problem or self._turn.unfit

    @property
    def standing(self) -> str:
        """What it says of itself."""
        name, address = self._turn.active
        if self.is_ending:
            return "this pusher is stopping, and another one takes its place"
        if self._turn.epoch:
            return "this pusher was made active, and claims the log" + (
                f": {self._turn.problem}" if self._turn.problem else ""
            )
        if why := self._refusal() or self._log().elsewhere or self._turn.unfit:
            return f"this pusher stands by, and can't be active: {why}"
        active = "the coordinator has named no active one yet"
        if name:  # that one may have ended since
            active = f"{name} is active at {address}, as the coordinator said last"
        return f"this pusher stands by: {active}"

    def refusal(self) -> FailedPreconditionError:
        """To whoever would change something."""
        active = "" if self._turn.epoch or self.is_ending else self._turn.active[1]
        return FailedPreconditionError(self.standing, reason="STANDBY", retry_after_s=_RETRY_AFTER_S, active=active)

    def _is_ready(self) -> Verdict:
        return Verdict(not self._problem, self._problem or self.standing)


class _Servicer(pusher_pb2_grpc.PusherServiceServicer):
    """Sends everybody on. Whoever asks where a pusher stands means the active one: a standby's answer would be taken
    for that of a log without imports."""

    def __init__(self, standby: Standby) -> None:
        self._standby = standby

    async def _refuse(self, request: Any, context: Any) -> None:
        raise self._standby.refusal()

    GetPusher: Any = _refuse
    UploadImport: Any = _refuse
    RollbackImport: Any = _refuse
    GetImportProfile: Any = _refuse
    SkipUpdate: Any = _refuse
    EraseMember: Any = _refuse
    GetErasure: Any = _refuse
    ReadPersonal: Any = _refuse
    AdoptLog: Any = _refuse

    async def PushUpdates(self, request_iterator: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        """Only once the client has sent something: grpcio's loses the reason where it is about to send."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_MESSAGE_S_MAX):
                await anext(request_iterator, None)
        await self._refuse(request_iterator, context)
        yield

    async def WatchImport(self, request: Any, context: Any) -> AsyncIterator[Any]:
        await self._refuse(request, context)
        yield

    ReadLog: Any = WatchImport


class _NoFiles(import_source_pb2_grpc.ImportSourceServiceServicer):
    def __init__(self, standby: Standby) -> None:
        self._standby = standby

    async def DownloadImport(self, request: Any, context: Any) -> AsyncIterator[Any]:
        """A node tries another source, or again."""
        self._put_off()
        yield

    def _put_off(self) -> None:
        raise UnavailableError(self._standby.standing, reason="STANDBY")
