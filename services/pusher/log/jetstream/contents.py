"""What a log is, by the messages of its stream: the same for everybody who reads them, whatever wrote them.

1. A message is stored in its place or nowhere: JetStream compares the sequence that it follows
   (`Nats-Expected-Last-Sequence`). A claim is a message too, so whoever was deposed follows one that is not the last.
2. A message counts under the newest claim alone. The messages of a group are sent together, so the second one of a
   deposed writer's may find the new claim just where it believed its own first one to be: it is stored, and means
   nothing. Its writer knows by the first one, which was refused.
3. A group counts with its last message. Another one that begins before that ends it: nobody was told that it counts.
4. Records follow each other without gaps, but where they were trimmed: purged from the stream once a `TRIM` counts.
5. Ids that are not seen in records (those were purged) come with the `IDS` of the trim.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Any, Final, TypeVar

import msgspec
import numpy as np
from google.protobuf.message import DecodeError

from fasttree.v1 import types_pb2
from services.pusher.log.fencing.fence import Fence
from services.pusher.log.ids.runs import Entries
from services.pusher.log.jetstream.index import IdIndex
from services.pusher.log.jetstream.messages import Adoption, Claim, Founding, Kind, Message, Moved, Word, head_of
from services.pusher.log.jetstream.places import RecordPlaces
from services.pusher.log.store import REPLACED_MAX, LogDamagedError, LogEnds, StoredImport, read_imports
from services.shared.domain.updates import OWN_ID_PREFIX
from services.shared.forms import Form

#: How often a mark is made of how old positions are, in seconds of the running time.
TIME_MARK_S: Final = 30.0

_ENTRY: Final = np.dtype([("high", "<u8"), ("low", "<u4"), ("content", "<u8"), ("position", "<u8")])

Body = TypeVar("Body")
_FOUNDING: Final = Form[Founding](Founding)
_CLAIM: Final = Form[Claim](Claim)
_ADOPTION: Final = Form[Adoption](Adoption)
_WORD: Final = Form[Word](Word)
_MOVED: Final = Form[Moved](Moved)


def entries_bytes(entries: Entries) -> bytes:
    """Ids as the body of `IDS`."""
    rows = np.empty(len(entries.high), dtype=_ENTRY)
    rows["high"], rows["low"], rows["content"], rows["position"] = entries
    return rows.tobytes()


class LogContents:
    """Everything but the records themselves. Whoever adds messages has it alone meanwhile."""

    def __init__(self, ids: IdIndex) -> None:
        self.ids = ids
        #: The message that was added last.
        self.sequence = 0
        #: Messages of state so far.
        self.number = 0
        self.founding: Founding | None = None
        self.fence = Fence(0, "", 0)
        self.ends = LogEnds(1, 0)
        self.places = RecordPlaces()
        self.log_id = ""
        self.replaced_log_ids: tuple[str, ...] = ()
        self.adopted_reason = ""
        #: Of each update that changed the rules.
        self.rules: dict[int, bytes] = {}
        self.imports: dict[int, tuple[bytes, bool]] = {}
        #: How far the log's running time is, and by when which positions had been there: ascending.
        self.running_s = 0.0
        self._marked_s: list[float] = []
        self._marked_positions: list[int] = []
        #: Of a copying that is under way.
        self.words: dict[str, str] = {}
        #: The pusher's own records that are kept, by their ids.
        self.own: dict[str, int] = {}
        #: Positions that were not seen as records, from and to; their ids come otherwise.
        self.gaps: list[tuple[int, int]] = []
        self._pending: list[tuple[int, Message, int]] = []
        self._group = -1

    # -- adding

    def add(self, sequence: int, message: Message, size_bytes: int) -> None:
        """The next message that is there. Raises LogDamagedError, and has not changed then."""
        kind = message.draft.kind
        claims = self.fence.claims + (kind is Kind.CLAIM)
        if message.claims > claims:
            raise LogDamagedError(f"message {sequence} of the stream was written under a claim that is missing")
        if message.claims < claims:
            self.sequence = sequence
            return
        is_state = kind not in (Kind.RECORDS, Kind.SPARE)
        if message.number != self.number + is_state:
            raise LogDamagedError(
                f"the stream lacks messages of state before message {sequence}: it has {self.number + is_state} of "
                f"{message.number}"
            )
        self.number = message.number
        self.sequence = sequence
        self.running_s = max(self.running_s, message.running_s)
        if message.group != self._group:
            self._pending, self._group = [], message.group
        self._pending.append((sequence, message, size_bytes))
        if message.closes:
            group, self._pending, self._group = self._pending, [], -1
            self._count(group)

    def _count(self, group: list[tuple[int, Message, int]]) -> None:
        """A group is complete."""
        body = b""
        for sequence, message, size_bytes in group:
            draft = message.draft
            body += draft.body if draft.kind is not Kind.RECORDS else b""
            if draft.continues:
                continue
            if draft.kind is Kind.RECORDS:
                self._add_records(sequence, message, size_bytes)
            else:
                _TAKES[draft.kind](self, message, body)
            body = b""

    def _add_records(self, sequence: int, message: Message, size_bytes: int) -> None:
        draft = message.draft
        last = draft.position + draft.count - 1
        if draft.position <= self.ends.last:
            raise LogDamagedError(f"message {sequence} of the stream has log record {draft.position} once more")
        if draft.position != self.ends.last + 1:
            self.gaps.append((self.ends.last + 1, draft.position - 1))
        update_ids, hashes, _ = head_of(draft)
        self.ids.add(draft.position, update_ids, hashes)
        self.own.update(
            (update_id, position)
            for position, update_id in enumerate(update_ids, draft.position)
            if update_id.startswith(OWN_ID_PREFIX)
        )
        self.places.add(sequence, draft.position, draft.count, size_bytes)
        self.ends = self.ends._replace(last=last)
        if not self._marked_s or message.running_s - self._marked_s[-1] >= TIME_MARK_S:
            self._marked_s.append(message.running_s)
            self._marked_positions.append(last)

    def _found(self, message: Message, body: bytes) -> None:
        self.founding = _said(_FOUNDING, body)
        self.log_id = self.founding.log_id

    def _claim(self, message: Message, body: bytes) -> None:
        claim = _said(_CLAIM, body)
        self.fence = Fence(claim.epoch, claim.holder, message.claims)

    def _add_rule(self, message: Message, body: bytes) -> None:
        self.rules[message.draft.position] = body

    def _add_ids(self, message: Message, body: bytes) -> None:
        rows = np.frombuffer(body, dtype=_ENTRY)
        unseen = np.zeros(len(rows), dtype=bool)
        for first, last in self.gaps:
            unseen |= (rows["position"] >= first) & (rows["position"] <= last)
        unseen |= rows["position"] > self.ends.last  # of a log that is being moved here
        if unseen.any():
            rows = rows[unseen]
            self.ids.add_entries(Entries(rows["high"], rows["low"], rows["content"], rows["position"]))

    def _trim(self, message: Message, body: bytes) -> None:
        first = message.draft.position
        if self.ends.last < first - 1:  # a log that is moved here begins there
            self.gaps.append((self.ends.last + 1, first - 1))
            self.ends = LogEnds(first, first - 1)
        self.ends = self.ends._replace(first=first)
        self.places.drop(first)
        gone = bisect_right(self._marked_positions, first - 1)
        del self._marked_positions[:gone], self._marked_s[:gone]
        self.own = {update_id: position for update_id, position in self.own.items() if position >= first}

    def _save_import(self, message: Message, body: bytes) -> None:
        self.imports[message.draft.position] = (body, bool(message.draft.count))

    def _adopt(self, message: Message, body: bytes) -> None:
        adoption = _said(_ADOPTION, body)
        self.replaced_log_ids = (*self.replaced_log_ids, *adoption.replaced_log_ids)[-REPLACED_MAX:]
        self.log_id, self.adopted_reason = adoption.log_id, adoption.reason

    def _keep_word(self, message: Message, body: bytes) -> None:
        word = _said(_WORD, body)
        self.words[word.name] = word.value

    def _become(self, message: Message, body: bytes) -> None:
        moved = _said(_MOVED, body)
        self.log_id = moved.log_id
        self.replaced_log_ids = tuple(log_id for log_id, _ in moved.replaced)[-REPLACED_MAX:]
        self.adopted_reason = moved.replaced[-1][1] if moved.replaced else ""
        self.running_s = max(self.running_s, moved.running_s)
        self._marked_positions = [position for position, _ in moved.marks]
        self._marked_s = [stored_at for _, stored_at in moved.marks]
        self.fence = self.fence._replace(epoch=moved.epoch, holder=moved.holder)
        self.words.clear()

    def _spare(self, message: Message, body: bytes) -> None:
        """Its running time is all of it."""

    # -- looking

    def missing(self) -> tuple[int, int] | None:
        """Positions that should be in the log, and are not: the first such gap."""
        return next(((max(first, self.ends.first), last) for first, last in self.gaps if last >= self.ends.first), None)

    def position_marked_until(self, running_s: float) -> int:
        """The newest position that was marked by that running time; 0 if none was."""
        index = bisect_right(self._marked_s, running_s)
        return self._marked_positions[index - 1] if index else 0

    def stored_imports(self, place: str) -> list[StoredImport]:
        """As `LogStore.imports`. `place`: where they are, in words."""
        return read_imports(
            ((number, taken, status) for number, (status, taken) in sorted(self.imports.items())), place
        )

    def rule_records(self) -> list[tuple[int, types_pb2.Update]]:
        """As `LogStore.rule_records`."""
        try:
            return [
                (position, types_pb2.Update.FromString(content)) for position, content in sorted(self.rules.items())
            ]
        except DecodeError as error:
            raise LogDamagedError(f"the record of a rule is damaged: {error}") from error


def _said(form: Form[Body], body: bytes) -> Body:
    try:
        return form.of_json(body)
    except msgspec.DecodeError as error:
        raise LogDamagedError(f"a message of the stream says what this program does not know: {error}") from error


_TAKES: Final[dict[Kind, Any]] = {
    Kind.FOUNDING: LogContents._found,
    Kind.CLAIM: LogContents._claim,
    Kind.RULE: LogContents._add_rule,
    Kind.IDS: LogContents._add_ids,
    Kind.TRIM: LogContents._trim,
    Kind.IMPORT: LogContents._save_import,
    Kind.ADOPTION: LogContents._adopt,
    Kind.SPARE: LogContents._spare,
    Kind.WORD: LogContents._keep_word,
    Kind.MOVED: LogContents._become,
}
