"""Erasures, and what nodes are given: the vault on the event loop, its file in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from fasttree.v1 import pusher_pb2, types_pb2
from services.pusher.log.errors import error_of
from services.pusher.log.group_commit import RulesInForce
from services.pusher.log.store import LogStoreError
from services.pusher.log.writer import LogWriter
from services.pusher.personal.place import NO_VAULT, has_vault
from services.pusher.personal.sealing import ERASED_PREFIX, Sealing
from services.pusher.settings import PusherSettings
from services.shared.domain.members import id_problem
from services.shared.domain.sentences import quoted
from services.shared.personal.moving import Tended
from services.shared.personal.tending import tend_vault
from services.shared.personal.vault import FILE_NAME, Change, Vault, VaultError
from services.shared.serving.errors import (
    FailedPreconditionError,
    FastTreeError,
    InvalidArgumentError,
    NotFoundError,
    OutOfRangeError,
    UnavailableError,
)
from services.shared.wire.record import content_bytes

T = TypeVar("T")

logger = logging.getLogger(__name__)


class PersonalValues:
    """What is asked of the vault in a pusher's folder."""

    def __init__(
        self,
        settings: PusherSettings,
        sealing: Sealing,
        writer: LogWriter,
        door: RulesInForce[bytes],
        nodes: Callable[[], Collection[str]],
        draining: asyncio.Event,
    ) -> None:
        """`door`: has the rules in force; `nodes`: names of the cluster's, or addresses where they are unknown."""
        self.vault = sealing.vault
        self._sealing, self._settings = sealing, settings.personal
        self._writer, self._door, self._nodes, self._draining = writer, door, nodes, draining
        self._has_place = has_vault(settings.log)
        self._thread: ThreadPoolExecutor | None = None
        #: What each node says that is in its copy, by its name: of those alone that the cluster names.
        self._told: dict[str, int] = {}
        self._under_way: set[asyncio.Future[tuple[int, int]]] = set()
        #: Set, and made anew, with each change that is made here; an import's process makes others.
        self._changed = asyncio.Event()
        loop = asyncio.get_running_loop()
        sealing.tell = lambda: loop.call_soon_threadsafe(self._tell)

    async def run(self) -> None:
        """Has the log hear of erasures that a crash kept from it; then what is sealed follows the keys."""
        await self._log_what_is_left()
        await tend_vault(self._tend)

    async def _log_what_is_left(self) -> None:
        while self.vault.is_there:
            try:
                for update_id, member_id in await self._with(Vault.not_logged):
                    await self._log(update_id, member_id)
            except FastTreeError as error:
                logger.warning("an erasure waits for the log: %s", error)
                await asyncio.sleep(self._settings.personal_log_again_s)
            else:
                return

    async def _tend(self) -> Tended | None:
        return await self._in_thread(Vault.tend) if self.vault.is_there else None

    async def erase(self, member_id: str) -> pusher_pb2.EraseMemberResponse:
        """The vault first, then the log: whoever has the answer knows that both have it. Raises as EraseMember."""
        if problem := id_problem(member_id):
            raise InvalidArgumentError(f"member_id: {problem}", reason="MEMBER_ID_INVALID", field="member_id")
        self._check_place()
        update_id = ERASED_PREFIX + uuid.uuid4().hex
        # Whoever asked may leave meanwhile: that the log has it is written down all the same.
        under_way = asyncio.ensure_future(self._log(update_id, member_id))
        self._under_way.add(under_way)
        under_way.add_done_callback(self._under_way.discard)
        position, values = await asyncio.shield(under_way)
        logger.info("position %d: personal columns of a member are erased, %d values", position, values)
        return pusher_pb2.EraseMemberResponse(position=position, values=values)

    async def erasure(self, member_id: str) -> pusher_pb2.GetErasureResponse:
        """Who has not erased a member yet. Raises NotFoundError."""
        if problem := id_problem(member_id):
            raise InvalidArgumentError(f"member_id: {problem}", reason="MEMBER_ID_INVALID", field="member_id")
        found = await self._with(lambda vault: vault.erasure(member_id)) if self.vault.is_there else None
        if found is None:
            raise NotFoundError(f"no erasure of {quoted(member_id)}: `fasttree erase ID` does it", field="member_id")
        nodes = [
            pusher_pb2.NodeErasure(node=name, done=self._told.get(name, 0) >= found.number) for name in self._nodes()
        ]
        since = await self._with(lambda vault: vault.values_of(member_id))
        # What has no id came with a copy, in the place of the vault that did it.
        done = bool(found.position or not found.update_id) and all(each.done for each in nodes)
        return pusher_pb2.GetErasureResponse(position=found.position, done=done, nodes=nodes, values_since=since)

    async def read(self, request: pusher_pb2.ReadPersonalRequest) -> pusher_pb2.ReadPersonalResponse:
        """Changes for a node's copy, once there are any. Raises as ReadPersonal."""
        left_s, look_s = self._settings.personal_follow_s, self._settings.personal_look_s
        while not self._door.rules.personal and not self.vault.is_there:
            if left_s <= 0 or self._draining.is_set():
                return pusher_pb2.ReadPersonalResponse(vault_id=request.vault_id, last=request.after)
            await self._wait(look_s, self._changed)
            left_s -= look_s
        vault_id = await self._with(lambda vault: vault.vault_id)
        if request.vault_id and request.vault_id != vault_id:
            raise FailedPreconditionError(
                f"the pusher has vault {vault_id}, the node a copy of {quoted(request.vault_id)}: where the pusher's "
                f"was lost, put the copy in its place ({FILE_NAME} in their state folders); else move the copy away",
                reason="OTHER_VAULT",
            )
        most = self._settings.personal_changes_max
        while True:
            changed = self._changed
            last, changes = await self._with(partial(_news, request.after, most))
            if request.after > last:
                raise OutOfRangeError(
                    f"the node's copy has change {request.after}, the pusher's vault {last}: put the copy in its place"
                )
            if request.vault_id and request.node in self._nodes():
                self._told[request.node] = request.after
            if changes or left_s <= 0 or self._draining.is_set():
                break
            await self._wait(look_s, changed)
            left_s -= look_s
        answer = pusher_pb2.ReadPersonalResponse(vault_id=vault_id, last=last)
        if len(changes) == most:
            answer.last = changes[-1].number
        answer.changes.extend(pusher_pb2.PersonalChange(**each._asdict()) for each in changes)
        return answer

    async def close(self) -> None:
        """Ends, once what is under way is done."""
        if self._thread is not None:
            await asyncio.to_thread(self._thread.shutdown)
        self.vault.close()

    def _check_place(self) -> None:
        """Raises FailedPreconditionError where there can be nothing personal."""
        if not self._door.rules.personal:
            raise FailedPreconditionError(
                "no column is personal: `fasttree column declare NAME text --personal` makes one so",
                reason="NOT_PERSONAL",
            )
        if not self._has_place:
            raise FailedPreconditionError(NO_VAULT, reason="NO_VAULT")

    async def _log(self, update_id: str, member_id: str) -> tuple[int, int]:
        """Position of the record, and how many values went."""
        update = types_pb2.Update(update_id=update_id, member_erased=types_pb2.MemberErased(member_id=member_id))
        try:
            appended = await self._writer.append_own(update_id, content_bytes(update))
        except LogStoreError as error:
            raise error_of(error, "the erasure can't be kept in the log: erase again") from error
        finally:
            values = self._sealing.erased.pop(update_id, 0)
        position = appended.positions[0]
        await self._with(lambda vault: vault.logged(update_id, position))
        return position, values

    async def _with(self, work: Callable[[Vault], T]) -> T:
        """Does something with the vault in its thread. Raises UnavailableError."""
        try:
            return await self._in_thread(work)
        except VaultError as error:
            logger.error("%s", error)
            raise UnavailableError(str(error)) from error

    async def _in_thread(self, work: Callable[[Vault], T]) -> T:
        """Raises VaultError."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="vault")
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: work(self.vault.opened()))

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    @staticmethod
    async def _wait(longest_s: float, changed: asyncio.Event) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(longest_s):
                await changed.wait()


def _news(after: int, most: int, vault: Vault) -> tuple[int, list[Change]]:
    """The newest change, and those after one, where there can be any."""
    last = vault.last
    return last, vault.changes(after, most) if after < last else []
