"""The pusher's vault at work: on the event loop, its file in a thread of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from fasttree.v1 import pusher_pb2, types_pb2
from services.pusher.log.errors import error_of
from services.pusher.log.store import LogStoreError
from services.pusher.log.writer import LogWriter
from services.pusher.personal.cells import personal_cells, put_tokens
from services.pusher.settings import PusherSettings
from services.shared.domain.members import id_problem
from services.shared.domain.updates import OWN_ID_PREFIX
from services.shared.personal.vault import FILE_NAME, Vault, VaultError
from services.shared.rules import Rules
from services.shared.serving.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    OutOfRangeError,
    UnavailableError,
)
from services.shared.wire.record import content_bytes

T = TypeVar("T")
#: Changes in one answer.
CHANGES_MAX = 5_000
#: A node that has everything waits so long for more, in seconds; an import's process it hears of within the other.
WAIT_S = 10.0
LOOK_S = 0.5

logger = logging.getLogger(__name__)


class PersonalValues:
    """The vault in a pusher's folder. The file is opened when it is first needed: without personal columns, never."""

    def __init__(
        self,
        settings: PusherSettings,
        writer: LogWriter,
        rules: Callable[[], Rules],
        nodes: Callable[[], list[pusher_pb2.NodeProgress]],
        draining: asyncio.Event,
    ) -> None:
        """`rules`: those in force; `nodes`: all that the cluster names."""
        self.path = settings.state_path / FILE_NAME
        self._writer, self._rules, self._nodes, self._draining = writer, rules, nodes, draining
        self._has_place = _has_place(settings)
        self._thread: ThreadPoolExecutor | None = None
        self._vault: Vault | None = None
        #: What each node says that is in its copy, by its name.
        self._told: dict[str, int] = {}
        #: Set, and made anew, with each change.
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Has the log hear of erasures that a crash kept from it."""
        if self.path.exists():
            for number, member_id in await self._with(Vault.not_logged):
                await self._log(number, member_id)

    async def seal(self, updates: Iterable[types_pb2.Update]) -> None:
        """Puts tokens in the place of the updates' personal values, which are on disk when this returns.

        Raises UnavailableError, FailedPreconditionError.
        """
        cells = personal_cells(updates, self._rules().personal)
        if cells:
            self._check_place()
            put_tokens(cells, await self._with(lambda vault: vault.put([cell for _, cell in cells])))
            self._tell()

    async def erase(self, member_id: str) -> pusher_pb2.EraseMemberResponse:
        """The vault first, then the log: whoever has the answer knows that both have it. Raises as EraseMember."""
        if problem := id_problem(member_id):
            raise InvalidArgumentError(f"member_id: {problem}", reason="MEMBER_ID_INVALID", field="member_id")
        self._check_place()
        number, values = await self._with(lambda vault: vault.erase(member_id))
        self._tell()
        position = await self._log(number, member_id)
        logger.info("position %d: personal columns of a member are erased, %d values", position, values)
        return pusher_pb2.EraseMemberResponse(position=position, values=values)

    async def erasure(self, member_id: str) -> pusher_pb2.GetErasureResponse:
        """Who has not erased a member yet. Raises NotFoundError."""
        found = await self._with(lambda vault: vault.erasure(member_id)) if self.path.exists() else None
        if found is None:
            raise NotFoundError(f"no erasure of {member_id[:40]!r}: `fasttree erase ID` does it", field="member_id")
        number, position = found
        names = [each.node for each in self._nodes()]
        nodes = [pusher_pb2.NodeErasure(node=name, done=self._told.get(name, 0) >= number) for name in names]
        since = await self._with(lambda vault: vault.values_of(member_id))
        done = bool(position) and all(each.done for each in nodes)
        return pusher_pb2.GetErasureResponse(position=position, done=done, nodes=nodes, values_since=since)

    async def read(self, request: pusher_pb2.ReadPersonalRequest) -> pusher_pb2.ReadPersonalResponse:
        """Changes for a node's copy, once there are any. Raises as ReadPersonal."""
        if not self._rules().personal and not self.path.exists():
            await self._wait(WAIT_S)
            return pusher_pb2.ReadPersonalResponse(vault_id=request.vault_id, last=request.after)
        vault_id = await self._with(lambda vault: vault.vault_id)
        if request.vault_id and request.vault_id != vault_id:
            raise FailedPreconditionError(
                f"the pusher has vault {vault_id}, the node a copy of {request.vault_id}: where the pusher's was lost, "
                f"put the copy in its place ({FILE_NAME} in their state folders); else move the copy away",
                reason="OTHER_VAULT",
            )
        left_s = WAIT_S
        while True:
            changed = self._changed
            last, changes = await self._with(lambda vault: (vault.last, vault.changes(request.after, CHANGES_MAX)))
            if request.after > last:
                raise OutOfRangeError(
                    f"the node's copy has change {request.after}, the pusher's vault {last}: put the copy in its place"
                )
            # What the copy has said that it has counts only now: it is of this vault.
            self._told[request.node] = request.after
            if changes or left_s <= 0 or self._draining.is_set():
                break
            await self._wait(LOOK_S, changed)
            left_s -= LOOK_S
        answer = pusher_pb2.ReadPersonalResponse(vault_id=vault_id, last=last)
        if len(changes) == CHANGES_MAX:
            answer.last = changes[-1].number
        answer.changes.extend(pusher_pb2.PersonalChange(**each._asdict()) for each in changes)
        return answer

    async def close(self) -> None:
        """Ends, once what is under way is done."""
        if self._thread is not None:
            await asyncio.to_thread(self._thread.shutdown)
        if self._vault is not None:
            self._vault.close()

    def _check_place(self) -> None:
        """Raises FailedPreconditionError where there can be nothing personal."""
        if not self._rules().personal:
            raise FailedPreconditionError(
                "no column is personal: `fasttree column declare NAME text --personal` makes one so",
                reason="NOT_PERSONAL",
            )
        if not self._has_place:
            raise FailedPreconditionError("a log of this kind has no vault: keep it in SQLite", reason="NOT_PERSONAL")

    async def _log(self, number: int, member_id: str) -> int:
        vault_id = await self._with(lambda vault: vault.vault_id)
        update_id = f"{OWN_ID_PREFIX}erased-{vault_id[:12]}-{number}"
        update = types_pb2.Update(update_id=update_id, member_erased=types_pb2.MemberErased(member_id=member_id))
        try:
            appended = await self._writer.append_own(update_id, content_bytes(update))
        except LogStoreError as error:
            raise error_of(
                error, "the erasure can't be kept in the log, though the values are gone: erase again"
            ) from error
        await self._with(lambda vault: vault.logged(number, appended.positions[0]))
        return appended.positions[0]

    async def _with(self, work: Callable[[Vault], T]) -> T:
        """Does something with the vault in its thread. Raises UnavailableError."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="vault")

        def do() -> T:
            if self._vault is None:
                self._vault = Vault(self.path)
            return work(self._vault)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, do)
        except VaultError as error:
            logger.error("%s", error)
            raise UnavailableError(str(error)) from error

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _wait(self, longest_s: float, changed: asyncio.Event | None = None) -> None:
        try:
            async with asyncio.timeout(longest_s):
                await (changed or self._changed).wait()
        except TimeoutError:
            pass


def vault_asked(
    settings: PusherSettings, untimely: Callable[[types_pb2.Update], str | None]
) -> Callable[[types_pb2.Update], str | None]:
    """Why the door does not take a change of the rules: as `untimely` says, and where a log without a vault would get
    personal columns."""

    def asked(update: types_pb2.Update) -> str | None:
        if update.column_declared.personal and not _has_place(settings):
            return "personal columns need a log in SQLite (pusher.log_store): those of other logs have no vault yet"
        return untimely(update)

    return asked


def _has_place(settings: PusherSettings) -> bool:
    return settings.log.log_store == "sqlite"
