"""Values leave updates at the log's end, on the thread that writes it: just before a commit, in the order of commits.

The rules
---------
1. What is appended has tokens in the place of values, by the rules at its own position. Their values are in the vault
   by then: a receipt vouches for both. A crash, or a full log, between the two leaves a value that no token leads to,
   and that its member's erasure finds.
2. An erasure empties the vault just before its record is appended, on the same thread. So the vault is in the log's
   order: of a member it has what updates behind his newest erasure brought, and nothing from before, whatever was
   under way at the time.
3. A repeat of what the log has keeps nothing: an update that is sent again long after does not bring back what was
   erased. It is a repeat still, though its token can't be made any more: by all else, and by what the vault knows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from fasttree.v1 import pusher_pb2, types_pb2
from services.pusher.log.group_commit import Append
from services.pusher.log.store import Appended, LogStore, LogStoreError, StoreFullError
from services.pusher.personal.cells import has_personal_name, personal_cells, put_tokens, without_cells
from services.pusher.personal.opening import PusherVault
from services.shared.domain.updates import OWN_ID_PREFIX
from services.shared.personal.tokens import NO_TOKEN, is_token
from services.shared.personal.vault import Vault, VaultError
from services.shared.rules import Rules
from services.shared.wire.record import TracedContent, content_bytes, traced_content

#: What the ids of erasures begin with.
ERASED_PREFIX: Final = f"{OWN_ID_PREFIX}erased-"


class Sealing:
    """What stands between the writer and its store. For the writer's thread."""

    def __init__(self, store: LogStore, vault: PusherVault) -> None:
        self._store, self.vault = store, vault
        #: How many values went by erasures, by their ids; whoever asked for one takes it out.
        self.erased: dict[str, int] = {}
        #: Called once the vault may have changed.
        self.tell: Callable[[], object] = lambda: None

    def over(self, rules: Rules, append: Append) -> Append:
        """The append of updates that come under these rules."""
        return partial(self._append, append, rules.personal) if rules.personal else append

    def _append(
        self,
        append: Append,
        personal: Collection[str],
        update_ids: Sequence[str],
        contents: Sequence[bytes],
        rules: Sequence[int] = (),
    ) -> Appended:
        """As `LogStore.append`."""
        has_name = has_personal_name(personal)
        updates: dict[int, types_pb2.Update] = {}
        for index, content in enumerate(contents):
            if update_ids[index].startswith(ERASED_PREFIX) or has_name(content):
                updates[index] = types_pb2.Update.FromString(content)
        if not updates:
            return append(update_ids, contents, rules)
        known = self._store.find([update_ids[index] for index in updates])
        try:
            vault = self.vault.opened()
            self._seal(vault, updates, personal, set(known))
        except VaultError as error:
            raise StoreFullError(str(error)) from error
        sealed = list(contents)
        for index, update in updates.items():
            sealed[index] = _like(contents[index], content_bytes(update))
        self.tell()
        appended = append(update_ids, sealed, rules)
        of_ours = {index: position for index, position in appended.conflicts.items() if index in updates}
        repeats = {
            index: position
            for index, position in of_ours.items()
            if self._is_repeat(vault, types_pb2.Update.FromString(contents[index]), position, personal)
        }
        return _with_repeats(appended, repeats) if repeats else appended

    def _seal(
        self, vault: Vault, updates: dict[int, types_pb2.Update], personal: Collection[str], known: set[str]
    ) -> None:
        """Puts tokens into updates, and does erasures. `known`: ids that the log has."""
        new, again = [], []
        for update in updates.values():
            if update.update_id in known:
                again.append(update)
            else:
                new.append(update)
                known.add(update.update_id)
        cells = personal_cells(new, personal)
        put_tokens(cells, vault.put([cell for _, cell in cells]) if cells else [])
        repeated = personal_cells(again, personal)
        tokens = vault.tokens([cell for _, cell in repeated]) if repeated else []
        put_tokens(
            repeated,
            [token or (NO_TOKEN if cell.value else "") for token, (_, cell) in zip(tokens, repeated, strict=True)],
        )
        for update in new:
            if update.HasField("member_erased"):
                _, self.erased[update.update_id] = vault.erase(update.member_erased.member_id, update.update_id)

    def _is_repeat(self, vault: Vault, pushed: types_pb2.Update, position: int, personal: Collection[str]) -> bool:
        """Whether the record there is what was pushed, so far as anybody can tell."""
        try:
            run = self._store.read(position, position, 1)
        except LogStoreError:
            return False
        stored = types_pb2.Update.FromString(pusher_pb2.ReadLogResponse.FromString(run.data).records[0].update)
        was = {cell.column: cell.value for _, cell in personal_cells([stored], personal)}
        now = {cell.column: cell.value for _, cell in personal_cells([pushed], personal)}
        if was.keys() != now.keys() or without_cells(stored, personal) != without_cells(pushed, personal):
            return False
        values = vault.values([text for text in was.values() if is_token(text)])
        return all(
            text == now[column] or (is_token(text) and bool(now[column]) and values.get(text) in (None, now[column]))
            for column, text in was.items()
        )


def _like(content: bytes, sealed: bytes) -> bytes:
    """What was traced stays so."""
    return traced_content(sealed, content.trace) if isinstance(content, TracedContent) else sealed


def _with_repeats(appended: Appended, repeats: dict[int, int]) -> Appended:
    """With some of the conflicts as duplicates."""
    return replace(
        appended,
        positions=[repeats.get(index, position) for index, position in enumerate(appended.positions)],
        duplicates=appended.duplicates | repeats.keys(),
        conflicts={index: position for index, position in appended.conflicts.items() if index not in repeats},
    )
