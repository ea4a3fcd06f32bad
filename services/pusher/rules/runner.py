"""Writes the pusher's own records of rules."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from fasttree.v1 import types_pb2
from services.pusher.fanout.events import FileRules, VersionKnown
from services.pusher.fanout.members import MembersChanged
from services.pusher.log.group_commit import RulesInForce
from services.pusher.log.store import Appended, LogStoreError
from services.pusher.log.writer import LogWriter
from services.pusher.rules.opening import no_room, openings
from services.pusher.rules.raising import KnownVersions
from services.pusher.rules.sealing import seals, untimely
from services.shared.clock import SettledWallClock
from services.shared.rules import RULE_VERSION, Rules
from services.shared.serving.background import Background
from services.shared.wire.record import content_bytes

logger = logging.getLogger(__name__)

_AGAIN_S = 1.0
#: So often the clocks are looked at: a step that is taken back within it is not seen.
_LOOK_S = 5.0


class Calendar:
    """What the days that have passed make due. The log writer's own: it asks before each write."""

    def __init__(self, wall: Callable[[], float] = time.time, clock: SettledWallClock | None = None) -> None:
        """`wall`: seconds since 1970, as the machine has them; `clock`: what of them is believed."""
        self._wall, self._clock = wall, clock or SettledWallClock()

    def due(self, rules: Rules) -> dict[str, bytes]:
        """Records by their ids."""
        believed_s = self._clock.note(self._wall(), time.monotonic())
        if believed_s is None or not rules.late_periods:
            return {}
        return {update.update_id: content_bytes(update) for update in seals(rules, believed_s)}

    def untimely(self, update: types_pb2.Update) -> str | None:
        """Why an update can't be taken any more, with the mend; None where it can.

        A refusal changes nothing. So where no time is believed yet, it goes by what the machine says.
        """
        wall_s = self._wall()
        believed_s = self._clock.note(wall_s, time.monotonic())
        return untimely(update, wall_s if believed_s is None else believed_s)


class RuleRecords:
    """On the event loop. One record at a time."""

    def __init__(self, door: RulesInForce[bytes], writer: LogWriter, background: Background) -> None:
        self._door, self._writer, self._background = door, writer, background
        self._writing = asyncio.Lock()
        self._versions = KnownVersions(RULE_VERSION)
        #: Told last.
        self._waits_for: list[str] = []
        self._without_room: tuple[int, str] | None = None

    async def run(self) -> None:
        """Has the calendar looked at, for as long as the pusher runs, though nobody pushes."""
        while True:
            await self._writer.look()
            await asyncio.sleep(_LOOK_S)

    def brought(self, news: FileRules) -> None:
        """A node serves from a file that has more than the rules have: orders may go there from now on."""
        if problem := no_room(self._door.rules, news):
            if self._without_room != (news.import_id, problem):
                logger.warning("what import %d brought takes no orders, and is only read: %s", news.import_id, problem)
            self._without_room = news.import_id, problem
            return
        if openings(self._door.rules, news):
            self._background.start(
                self._append(lambda: openings(self._door.rules, news)), f"opens what import {news.import_id} brought"
            )

    def members_changed(self, news: MembersChanged) -> None:
        """Nodes came or went."""
        self._versions.are_known(news.now.addresses)
        self._raise()

    def heard(self, news: VersionKnown) -> None:
        """A node says which version it knows."""
        self._versions.says(news.node, news.version)
        self._raise()

    @property
    def waits_for(self) -> list[str]:
        """Addresses of the nodes that keep this build's version of the rules from being in force."""
        return self._versions.waits_for(self._door.rules.version)

    def _raise(self) -> None:
        waits_for = self.waits_for
        if waits_for != self._waits_for:
            self._waits_for = waits_for
            if waits_for:
                logger.info("version %d of the rules waits for %s", self._versions.own, ", ".join(waits_for))
        if self._versions.raised(self._door.rules.version):
            self._background.start(
                self._append(lambda: self._versions.raised(self._door.rules.version)), "raises the version of the rules"
            )

    async def _append(self, wanted: Callable[[], Sequence[types_pb2.Update]]) -> None:
        """Appends what is wanted once it is its turn."""
        async with self._writing:
            for update in wanted():
                appended = await self._append_one(update)
                if update.HasField("rule_version_raised") and not appended.refusals:
                    logger.info("updates have the meaning of version %d now", update.rule_version_raised.version)
                for reason in appended.refusals.values():
                    logger.warning("%s is refused: %s", update.update_id, reason)

    async def _append_one(self, update: types_pb2.Update) -> Appended:
        while True:
            try:
                return await self._writer.append_own(update.update_id, content_bytes(update))
            except LogStoreError as error:
                logger.error("%s can't be recorded: %s; tries again", update.update_id, error)
                await asyncio.sleep(_AGAIN_S)
