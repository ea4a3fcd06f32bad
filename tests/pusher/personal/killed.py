"""One erasure, as a pusher's thread does it, in a process that is watched (`tests/shared/files/moments.py`)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from fasttree.v1 import types_pb2
from services.pusher.log.sqlite import SqliteLog
from services.pusher.personal.opening import PusherVault
from services.pusher.personal.sealing import ERASED_PREFIX, Sealing
from services.pusher.personal.settings import PersonalSettings
from services.shared.rules.rules import DeclaredColumn, Rules
from services.shared.wire.record import content_bytes
from tests.shared.files.moments import wait_to_be_watched

MEMBERS: Final = ("anna-1", "bert-2")


class Pusher:
    """What writes a log and its vault."""

    def __init__(self, folder: Path) -> None:
        self.store = SqliteLog(folder).claim_alone()
        self.vault = PusherVault(folder, PersonalSettings())
        rules = Rules(columns=(DeclaredColumn("phone", "text", personal=True),))
        self._append = Sealing(self.store, self.vault).over(rules, self.store.append)

    def put(self, update: types_pb2.Update) -> int:
        """Its position."""
        (position,) = self._append([update.update_id], [content_bytes(update)]).positions
        return position

    def erase(self, update_id: str, member_id: str) -> None:
        change = types_pb2.MemberErased(member_id=member_id)
        position = self.put(types_pb2.Update(update_id=update_id, member_erased=change))
        self.vault.opened().logged(update_id, position)

    def close(self) -> None:
        self.store.close()
        self.vault.close()


@contextmanager
def pusher(folder: Path) -> Iterator[Pusher]:
    started = Pusher(folder)
    try:
        yield started
    finally:
        started.close()


if __name__ == "__main__":
    with pusher(Path(sys.argv[1])) as ours:
        ours.vault.opened()
        wait_to_be_watched()
        ours.erase(f"{ERASED_PREFIX}1", MEMBERS[0])
