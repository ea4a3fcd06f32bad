"""Random histories of a log and its vault: pushes, repeats, erasures, imports, full disks, crashes, trimmed records
and a copy that follows by pieces. What must hold is checked after every step; bugs that are planted are found.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from fasttree.v1 import pusher_pb2, types_pb2
from services.pusher.log.group_commit import NOBODY, NotStored, Push, RulesInForce, WriteQueue
from services.pusher.log.sqlite import SqliteLog
from services.pusher.log.store import Appended, StoreFullError
from services.pusher.personal.opening import PusherVault
from services.pusher.personal.sealing import ERASED_PREFIX, Sealing
from services.pusher.personal.settings import PersonalSettings
from services.pusher.rules.founding import founded
from services.shared.config.sections import ClusterSettings
from services.shared.personal.tokens import is_token
from services.shared.personal.vault import Cell, Vault
from services.shared.wire.record import content_bytes
from tests.pusher.personal.test_personal_values import declared

MEMBERS, STEPS = ("a", "b"), 45


class History:
    """A log, its vault and a copy of that, and what is known of both from outside."""

    def __init__(self, folder: Path, chance: random.Random, sealing: type[Sealing]) -> None:
        self.folder, self.chance, self._sealing = folder, chance, sealing
        self.full = False
        #: By update_id: what was pushed, and its position once it has one.
        self.pushed: dict[str, types_pb2.Update] = {}
        self.positions: dict[str, int] = {}
        #: Of each member, the last position whose values are gone.
        self.erased_at: dict[str, int] = {}
        self.erasures = 0
        #: Values that may be in the vault though no record leads to them: the log failed, or a file brought them.
        self.loose: dict[str, set[str]] = {each: set() for each in MEMBERS}
        self.ever: set[str] = set()
        self._numbers = iter(range(1, 1_000_000))
        self.copy: Vault | None = None
        self.open()
        self._commit(declared("phone"), to_judge=True)

    def open(self) -> None:
        """The pusher's start."""
        self.store = SqliteLog(self.folder).claim_alone()
        self.vault = PusherVault(self.folder, PersonalSettings())
        seal = self._sealing(self.store, self.vault)
        history = founded(self.store, ClusterSettings())
        self._door = RulesInForce(history, self.store.find, types_pb2.Update.FromString, seal=seal.over)
        self._queue: WriteQueue[bytes, None] = WriteQueue(1_000, self._door)

    def close(self) -> None:
        self.store.close()
        self.vault.close()

    def end(self) -> None:
        self.close()
        if self.copy is not None:
            self.copy.close()

    def _append(self, *given: Any) -> Appended:
        if self.full:
            raise StoreFullError("full")
        return self.store.append(*given)

    def _commit(self, *updates: types_pb2.Update, to_judge: bool = False) -> list[Appended | NotStored]:
        """Each in a push of its own, in one group where they may be."""
        for number, update in enumerate(updates, start=NOBODY + 1):
            push = Push(number, [update.update_id], [content_bytes(update)], self._door.rules, to_judge)
            self._queue.put(push)
        results: list[Appended | NotStored] = []
        while self._queue:
            group = self._queue.next()
            assert group is not None
            results += [result for _, result in self._queue.commit(group, self._append)[1]]
        return results

    # -- steps

    def push(self) -> None:
        updates = []
        for _ in range(self.chance.randint(1, 3)):
            number = next(self._numbers)
            member_id, value = self.chance.choice(MEMBERS), f"value-{number}-"
            change = types_pb2.MemberChanged(member_id=member_id, columns={"phone": value, "shirt": "XL"})
            updates.append(types_pb2.Update(update_id=f"u-{number}", member_changed=change))
            self.ever.add(value)
        self._send(updates)

    def repeat(self) -> None:
        if self.pushed:
            ids = self.chance.choices(sorted(self.pushed), k=self.chance.randint(1, 3))
            self._send([self.pushed[each] for each in dict.fromkeys(ids)])

    def _send(self, updates: Sequence[types_pb2.Update]) -> None:
        first = self.store.ends().first
        for update, result in zip(updates, self._commit(*updates), strict=True):
            before, change = self.positions.get(update.update_id), update.member_changed
            self.pushed[update.update_id] = update
            if isinstance(result, NotStored):
                if before is None:
                    self.loose[change.member_id].add(change.columns["phone"])
            elif before is None:
                assert not result.duplicates
                self.positions[update.update_id] = result.positions[0]
            elif before >= first or before > self.erased_at.get(change.member_id, 0):
                assert ([*result.duplicates], result.positions[0]) == ([0], before)
            else:  # nothing is left to compare with
                assert result.conflicts or result.duplicates

    def conflict(self) -> None:
        """Another update under an id that the log has."""
        if self.positions:
            update = types_pb2.Update()
            update.CopyFrom(self.pushed[self.chance.choice(sorted(self.positions))])
            value = f"value-{next(self._numbers)}-"
            self.ever.add(value)
            update.member_changed.columns.update({"phone": value, "shirt": "S"})
            (result,) = self._commit(update)
            assert isinstance(result, NotStored) or list(result.conflicts) == [0]

    def erase(self) -> None:
        member_id = self.chance.choice(MEMBERS)
        self._erase(f"{ERASED_PREFIX}{next(self._numbers)}", member_id)

    def _erase(self, update_id: str, member_id: str) -> None:
        change = types_pb2.MemberErased(member_id=member_id)
        (result,) = self._commit(types_pb2.Update(update_id=update_id, member_erased=change), to_judge=True)
        self.loose[member_id].clear()
        if isinstance(result, NotStored):  # what a restart makes good
            found = self.vault.opened().erasure(member_id)
            assert found is not None
            assert (found.update_id, found.position) == (update_id, 0)
            self.erased_at[member_id] = self.store.ends().last
            return
        self.erasures += not result.duplicates
        self.erased_at[member_id] = max(self.erased_at.get(member_id, 0), result.positions[0])
        self.vault.opened().logged(update_id, result.positions[0])

    def restart(self) -> None:
        """Between any two writes; erasures that the log lacks come into it."""
        self.close()
        self.full = False
        self.open()
        for update_id, member_id in self.vault.opened().not_logged():
            self._erase(update_id, member_id)

    def fill(self) -> None:
        self.full = not self.full

    def bring_in(self) -> None:
        """An import's process."""
        with closing(Vault(self.vault.path)) as vault:
            cells = []
            for member_id in MEMBERS:
                value = self.chance.choice(sorted(self.ever)) if self.ever and self.chance.random() < 0.7 else ""
                value = value or f"value-{next(self._numbers)}-"
                self.ever.add(value)
                cells.append(Cell(member_id, "phone", value))
                if vault.erasure(member_id) is None:
                    self.loose[member_id].add(value)
            vault.put(cells, of_a_file=True)

    def trim(self) -> None:
        first, last = self.store.ends()
        self.store.trim(self.chance.randint(first, last), 1_000)

    def follow(self) -> None:
        """The copy takes a piece."""
        vault = self.vault.opened()
        if self.copy is None:
            self.copy = Vault(self.folder.parent / "copy.db", vault.vault_id)
        most = self.chance.choice((1, 2, 50))
        changes = vault.changes(self.copy.last, most)
        self.copy.take(changes, changes[-1].number if len(changes) == most else vault.last)

    # -- what must hold

    def _given(self, member_id: str) -> set[str]:
        """Values of updates behind the newest erasure."""
        return {
            update.member_changed.columns["phone"]
            for update_id, update in self.pushed.items()
            if update.member_changed.member_id == member_id
            and self.positions.get(update_id, 0) > self.erased_at.get(member_id, 0)
        }

    def check(self) -> None:
        vault = self.vault.opened()
        for member_id in MEMBERS:
            kept = {each.value for each in vault.changes(0, 10_000) if each.member_id == member_id and each.token}
            given = self._given(member_id)
            assert given <= kept, f"{member_id} lacks what updates gave"
            assert kept <= given | self.loose[member_id], f"{member_id} has what was erased"
        in_files = b"".join(each.read_bytes() for each in self.folder.rglob("*") if each.is_file())
        values = {each.value for each in vault.changes(0, 10_000) if each.token}
        assert {value for value in self.ever if value.encode() in in_files} == values
        self._check_log(vault)
        if self.copy is not None:
            has_all = self.copy.last == vault.last
            assert not has_all or self.copy.changes(0, 10_000) == vault.changes(0, 10_000), "a copy is one"

    def _check_log(self, vault: Vault) -> None:
        erasures = 0
        for position, update in records(self.store):
            if update.HasField("member_erased"):
                erasures += 1
            elif update.HasField("member_changed"):
                change = update.member_changed
                assert is_token(change.columns["phone"])
                shown = vault.revealed([change.columns["phone"]])[0]
                if position <= self.erased_at.get(change.member_id, 0):
                    assert shown == "", "a record from before an erasure leads to nothing"
                else:
                    assert shown == self.pushed[update.update_id].member_changed.columns["phone"]
        if self.store.ends().first == 1:
            assert erasures == self.erasures, "each erasure is one record"


def records(store: SqliteLog) -> Iterator[tuple[int, types_pb2.Update]]:
    position, last = store.ends()
    while position <= last:
        run = store.read(position, last, 1 << 20)
        for record in pusher_pb2.ReadLogResponse.FromString(run.data).records:
            yield record.position, types_pb2.Update.FromString(record.update)
        position = run.last_position + 1


def live(folder: Path, seed: int, sealing: type[Sealing] = Sealing) -> None:
    """One history. Raises AssertionError where something does not hold."""
    chance = random.Random(seed)
    state = folder / f"{seed}" / "state"
    state.mkdir(parents=True)
    history = History(state, chance, sealing)
    steps: list[tuple[Callable[[], None], int]] = [
        (history.push, 6),
        (history.repeat, 4),
        (history.conflict, 2),
        (history.erase, 4),
        (history.bring_in, 3),
        (history.follow, 4),
        (history.restart, 1),
        (history.fill, 1),
        (history.trim, 1),
    ]
    try:
        for step in chance.choices([step for step, _ in steps], [weight for _, weight in steps], k=STEPS):
            step()
            history.check()
        while history.copy is None or history.copy.last < history.vault.opened().last:
            history.follow()
        history.check()
    finally:
        history.end()


@pytest.mark.parametrize("seed", range(6))
def test_what_is_there_of_a_member_is_what_came_behind_his_erasure(tmp_path: Path, seed: int) -> None:
    live(tmp_path, seed)


class KeepsRepeats(Sealing):
    """What is sent again is kept again."""

    def _seal(self, vault: Any, updates: Any, personal: Collection[str], known: set[str]) -> None:
        super()._seal(vault, updates, personal, set())


class ErasesAfterwards(Sealing):
    """The record first, then the vault: what fails between them is not made good."""

    def _seal(self, vault: Any, updates: dict[int, Any], personal: Collection[str], known: set[str]) -> None:
        ours = {index: each for index, each in updates.items() if not each.HasField("member_erased")}
        super()._seal(vault, ours, personal, known)


class RefusesRepeats(Sealing):
    """What was erased is compared with what is sent again."""

    def _is_repeat(self, *given: Any) -> bool:
        return False


class SealsNothing(Sealing):
    """Values go into the log."""

    def over(self, rules: Any, append: Any) -> Any:
        return append


@pytest.mark.parametrize("bug", [KeepsRepeats, ErasesAfterwards, RefusesRepeats, SealsNothing])
def test_a_bug_is_found(tmp_path: Path, bug: type[Sealing]) -> None:
    for seed in range(10):
        with suppress(AssertionError):
            live(tmp_path, seed, bug)
            continue
        return
    raise AssertionError(f"{bug.__name__} was not found")
