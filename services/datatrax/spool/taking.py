"""One file of the spool, from its first line to its last receipt.

Nothing is remembered between two tries: the ids are the same, so what was taken is taken once. The receipts are written
anew with each try, and are whole before the file leaves the folder.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import BinaryIO, NamedTuple

from fasttree.client import Client, PushOptions, UpdateFormatError
from fasttree.client.forms.receipt_json import receipt_json
from fasttree.v1 import pusher_pb2, types_pb2
from services.datatrax.instant.lines import answer_of, refusal
from services.datatrax.spool.forms import FileForm
from services.shared.domain.sentences import plain

_PIECE_BYTES_MAX = 1 << 20
#: Pieces that are read before others get a turn.
_TURN = 200
_BOM = b"\xef\xbb\xbf"
#: Of one file that are told by line; of the others, how many there are.
_REASONS_MAX = 10_000
#: Receipts that lie in memory before they are written.
_WRITTEN_AT_ONCE = 2_000


class Outcome(NamedTuple):
    """What became of a file."""

    updates: int
    #: Lines and their reasons, those beyond the first 10,000 left out.
    reasons: list[tuple[int, str]]
    refused: int


class _Waiting(NamedTuple):
    """A piece whose receipt is to be written in its turn."""

    number: int
    #: None: its update is on its way.
    receipt: pusher_pb2.Receipt | None


class Taking:
    """One try."""

    def __init__(self, file: BinaryIO, form: FileForm, receipts: BinaryIO) -> None:
        """`receipts`: is written from its beginning on."""
        self._file, self._form, self._receipts = file, form, receipts
        self._writing = asyncio.Lock()
        #: In the order of the file.
        self._waiting: deque[_Waiting] = deque()
        self._lines: list[bytes] = []
        self._reasons: list[tuple[int, str]] = []
        self._refused = self._updates = 0

    async def run(self, client: Client, options: PushOptions) -> Outcome:
        """Pushes all of it. Raises CallError where the pusher is away, OSError where the disk fails."""
        async for receipt in client.push(self._pushed(), options):
            self._tell_refused()
            self._tell(self._waiting.popleft().number, receipt)
            self._updates += 1
            if len(self._lines) >= _WRITTEN_AT_ONCE:
                await self._write()
        self._tell_refused()
        await self._write()
        return Outcome(self._updates, self._reasons, self._refused)

    async def _pushed(self) -> AsyncIterator[types_pb2.Update]:
        for count, update in enumerate(self._read()):
            if update is not None:
                yield update
            if count % _TURN == 0:
                self._tell_refused()
                if len(self._lines) >= _WRITTEN_AT_ONCE:
                    await self._write()
                await asyncio.sleep(0)

    def _read(self) -> Iterator[types_pb2.Update | None]:
        """The update of each piece; None where a piece is none."""
        pieces, begun = self._form.pieces, 1
        for number, piece in enumerate(self._pieces(), 1):
            if not pieces.is_open:
                begun = number
            try:
                if len(piece) > _PIECE_BYTES_MAX:
                    raise UpdateFormatError(f"longer than {_PIECE_BYTES_MAX:,} bytes; one update a line")
                update = pieces.update_of(piece)
            except (UpdateFormatError, UnicodeDecodeError) as error:
                is_text = isinstance(error, UpdateFormatError)
                reason = str(error) if is_text else "not UTF-8: save the file as UTF-8"
                self._waiting.append(_Waiting(begun, refusal(reason)))
                yield None
                if pieces.is_lost:
                    return
                continue
            if update is not None:
                self._waiting.append(_Waiting(begun, None))
            yield update
        try:
            pieces.end()
        except UpdateFormatError as error:
            self._waiting.append(_Waiting(begun, refusal(str(error))))

    def _pieces(self) -> Iterator[bytes]:
        size, is_first = self._form.pieces.record_bytes, True
        while piece := self._file.read(size) if size else self._file.readline(_PIECE_BYTES_MAX + 1):
            if is_first and not size:
                piece = piece.removeprefix(_BOM)
            is_first = False
            too_long = piece
            while not size and len(too_long) > _PIECE_BYTES_MAX and not too_long.endswith(b"\n"):
                too_long = self._file.readline(_PIECE_BYTES_MAX + 1) or b"\n"  # the rest of that line is none
            yield piece

    def _tell_refused(self) -> None:
        """Those that never went out, up to the next one that did."""
        while self._waiting and (receipt := self._waiting[0].receipt) is not None:
            self._tell(self._waiting.popleft().number, receipt)

    def _tell(self, number: int, receipt: pusher_pb2.Receipt) -> None:
        if self._form.is_records:
            self._lines.append(b"%9d " % number + answer_of(receipt, as_json=False))
        else:
            line = json.dumps({self._form.unit: number} | receipt_json(receipt), ensure_ascii=False)
            self._lines.append(line.encode(errors="replace") + b"\n")
        if receipt.code:
            self._refused += 1
            if len(self._reasons) < _REASONS_MAX:
                self._reasons.append((number, plain(receipt.message)))

    async def _write(self) -> None:
        """Those that are told so far."""
        async with self._writing:
            lines, self._lines = self._lines, []
            await asyncio.to_thread(self._receipts.write, b"".join(lines))


def reasons_text(outcome: Outcome, unit: str) -> bytes:
    """What stands beside a file of which something was refused."""
    lines = [f"{unit} {number}: {reason}" for number, reason in outcome.reasons]
    if outcome.refused > len(lines):
        lines.append(f"and {outcome.refused - len(lines)} more; the receipts have all of them")
    lines.append("Mend it and put the whole file here again under the same name: what was taken counts once.")
    return ("\n".join(lines) + "\n").encode(errors="replace")
