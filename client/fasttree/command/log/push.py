"""`fasttree push`: updates from JSON lines, from rows of CSV, or from fixed-width records."""

from __future__ import annotations

import asyncio
import codecs
import fcntl
import os
import re
import stat
import sys
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path

import click

from fasttree.client import FastTreeClientError, PushOptions, UpdateFormatError
from fasttree.client.counts import counted
from fasttree.client.forms.csv_updates import CsvUpdates
from fasttree.client.forms.pieces import JsonLines, Pieces
from fasttree.client.forms.receipt_json import OUTCOMES, ReceiptJson, receipt_json
from fasttree.client.forms.update_json import CHANGES
from fasttree.command.output import Progress, print_json_line
from fasttree.command.session import CommandError, Session, common_options, run
from fasttree.command.shapes import prints
from fasttree.v1 import pusher_pb2, types_pb2

_LEVELS = {
    "durable": pusher_pb2.ACK_LEVEL_DURABLE,
    "one": pusher_pb2.ACK_LEVEL_ONE_NODE,
    "all": pusher_pb2.ACK_LEVEL_ALL_NODES,
}
_LINE_BYTES_MAX = 1 << 20
#: Refused updates of one kind that are told one by one, and kinds that are told apart.
_TOLD_OF_A_KIND = 10
_KINDS_MAX = 100
#: What differs from one refusal to the next of its kind: values in quotes, ids and numbers.
_VALUES = re.compile(r'"[^"]*"|\S*\d\S*')


@click.command()
@prints(lines=ReceiptJson)
@click.argument("source", metavar="FILE|-", type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--ack",
    type=click.Choice(list(_LEVELS)),
    default="durable",
    show_default=True,
    help="A receipt means: on the pusher's disk, on one node, on every healthy node.",
)
@click.option("--csv", "as_csv", is_flag=True, help="FILE is CSV: a header of fields, an update in each row.")
@click.option(
    "--change",
    type=click.Choice(CHANGES),
    help="With --csv: what each row is; volume_posted, an order, where not given.",
)
@click.option("--separator", type=click.Choice([",", ";", "tab"]), help="With --csv: a comma where not given.")
@click.option(
    "--layout",
    type=click.Path(path_type=Path, dir_okay=False),
    help="FILE has fixed-width records of a COBOL program, as this layout says (TOML).",
)
@common_options
def push(
    session: Session,
    source: Path,
    ack: str,
    as_csv: bool,
    change: str | None,
    separator: str | None,
    layout: Path | None,
) -> None:
    """Pushes updates from JSON lines, one a line, with --csv from rows, one a row, with --layout from records.

    \b
    {"update_id": "order-1", "volume_posted": {"member_id": "7", "amount": "12.50"}}

    \b
    update_id,member_id,amount
    order-1,7,12.50

    Pushing the same file again is safe: an update_id is taken once. --json prints a receipt for each update.
    """
    if not as_csv and (change or separator):
        raise click.UsageError("--change and --separator go with --csv: a JSON line says itself what it is.")
    if as_csv and layout:
        raise click.UsageError("--csv and --layout are two forms of a file: leave one of them out.")
    if _is_standard_input(source) and not hasattr(sys.stdin, "buffer"):  # the command's start put nothing in its place
        raise click.UsageError("standard input is closed: redirect a file to it, or name the file in place of -.")
    pieces: Pieces = JsonLines()
    if as_csv:
        pieces = CsvUpdates(change or "volume_posted", "\t" if separator == "tab" else separator or ",")
    elif layout:
        from fasttree.command.log.record_updates import record_updates

        pieces = record_updates(layout, source)
    lines, count = Lines(source, pieces), Count()
    try:
        run(_push(session, lines, count, PushOptions(ack_level=_LEVELS[ack])))
    except KeyboardInterrupt:
        click.echo(
            f"interrupted; {count.text()}; what has no receipt may be pushed again, nothing counts twice", err=True
        )
        raise
    except FastTreeClientError:  # it says what has no receipt
        if count.all:
            _tell(session, count)
        raise
    _tell(session, count)
    if lines.problem:
        before = " (the lines before it are pushed: mend it and push the file again, nothing counts twice)"
        raise CommandError(lines.problem + before * (count.all > 0))
    if problems := count.problems():
        what = " or ".join(problems)
        raise CommandError(
            f"{sum(problems.values())} of {counted(count.all, 'update')} {what}; the reasons stand above"
        )


def _is_standard_input(source: Path) -> bool:
    return str(source) == "-"


def _tell(session: Session, count: Count) -> None:
    """What became of those that have a receipt; with --json, each receipt says it."""
    if not session.json:
        click.echo(count.text())
        for outcome in count.where_to_look():
            click.echo(outcome, err=True)


class Count:
    """What became of the updates, each of which is new, known already, not confirmed or refused."""

    def __init__(self) -> None:
        self.all = 0
        self.duplicates = 0
        self.refused = 0
        #: In the log, where no node said in time that it has it.
        self.not_confirmed = 0
        #: Of new ones. Of those that were known the pusher tells it as far as it still knows: no number of anything.
        self.outcomes: dict[str, int] = {}
        self._to_look_at: set[str] = set()
        self.first = 0
        self.last = 0

    def add(self, receipt: pusher_pb2.Receipt) -> None:
        self.all += 1
        if receipt.position:
            self.first = min(self.first or receipt.position, receipt.position)
            self.last = max(self.last, receipt.position)
        outcome = OUTCOMES.get(receipt.outcome, "")
        self._to_look_at.add(outcome)
        if receipt.code:
            self.not_confirmed += receipt.position > 0
            self.refused += receipt.position == 0
        elif receipt.duplicate:
            self.duplicates += 1
        elif outcome:
            self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1

    def where_to_look(self) -> list[str]:
        """What tells more of updates that are in the log and have no effect (yet)."""
        said = {
            "rejected": "`fasttree rejected` says why an update is rejected; it will never have an effect",
            "held": "`fasttree held` lists whom a held update waits for",
        }
        return [text for outcome, text in said.items() if outcome in self._to_look_at]

    def problems(self) -> dict[str, int]:
        """How many are not as they should be, by what they are; none where all are."""
        counts = {"refused": self.refused, "not confirmed": self.not_confirmed}
        return {what: number for what, number in counts.items() if number}

    def text(self) -> str:
        text = f"pushed {counted(self.all, 'update')}"
        new = f"{self.all - self.duplicates - self.not_confirmed - self.refused} new"
        outcomes = ", ".join(f"{number} {outcome}" for outcome, number in sorted(self.outcomes.items()))
        parts = [f"{new} ({outcomes})" if outcomes else new]
        parts += [f"{self.duplicates} known already"] if self.duplicates else []
        parts += [f"{number} {what}" for what, number in self.problems().items()]
        where = f"; position {self.first}" if self.first == self.last else f"; positions {self.first} to {self.last}"
        return f"{text}: {', '.join(parts)}{where if self.last else ''}"


class Refusals:
    """Tells why updates are refused: the first few of each kind line by line, of the others how many there are."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        #: By what is left of a reason without its values: how often it came, and the first one.
        self._kinds: dict[str, tuple[int, str]] = {}

    def tell(self, where: str, reason: str) -> None:
        """One refused update."""
        kind = _VALUES.sub("", reason)
        if kind not in self._kinds and len(self._kinds) == _KINDS_MAX:
            kind = ""
        number, first = self._kinds.get(kind, (0, reason))
        self._kinds[kind] = number + 1, first
        if number < _TOLD_OF_A_KIND:
            self._progress.line(f"error: {where}: {reason}")

    def end(self) -> None:
        """Says of which kinds there were more."""
        for number, first in self._kinds.values():
            if number > _TOLD_OF_A_KIND:
                more = counted(number - _TOLD_OF_A_KIND, "more update")
                self._progress.line(f"error: {more} refused for a reason such as: {first}; --json tells each")


async def _push(session: Session, lines: Lines, count: Count, options: PushOptions) -> None:
    progress = Progress(quiet=session.json)
    refusals = Refusals(progress)
    try:
        async with session.client() as client:
            async for receipt in client.push(lines.updates(), options):
                line = lines.numbers.popleft()
                count.add(receipt)
                if session.json:
                    print_json_line(receipt_json(receipt))
                elif receipt.code:
                    refusals.tell(f"{lines.name}, {lines.unit} {line} ({receipt.update_id})", receipt.message)
                if count.all % 1_000 == 0:
                    progress.count("pushed", count.all, "updates")
    finally:
        refusals.end()
        progress.clear()


class Lines:
    """Updates from a file or standard input. Reading ends at the first malformed line, which `problem` names."""

    def __init__(self, source: Path, pieces: Pieces) -> None:
        self._source, self._pieces = source, pieces
        self.name = "standard input" if _is_standard_input(source) else str(source)
        self.unit = "record" if pieces.record_bytes else "line"
        #: The line of each update that has no receipt yet, in order.
        self.numbers: deque[int] = deque()
        self.problem = ""

    async def updates(self) -> AsyncIterator[types_pb2.Update]:
        """One for each line that is not blank."""
        number, begun = 0, 1
        try:
            async for line in self._lines():
                number += 1
                if number == 1 and not self._pieces.record_bytes:
                    line = line.removeprefix(codecs.BOM_UTF8)  # some editors of Windows write it
                if not self._pieces.is_open:
                    begun = number
                update = self._pieces.update_of(line)
                if update is not None:
                    self.numbers.append(begun)
                    yield update
            self._pieces.end()
        except UpdateFormatError as error:
            self.problem = f"{self.name}, {self.unit} {begun}: {error}"
        except UnicodeDecodeError:
            self.problem = f"{self.name}, line {number}: not UTF-8: save the file as UTF-8"
        except ValueError:
            self.problem = f"{self.name}, line {number + 1}: longer than {_LINE_BYTES_MAX} bytes; one update a line"
        except OSError as error:
            self.problem = f"{self.name} can't be read: {error.strerror or error}"

    async def _lines(self) -> AsyncIterator[bytes]:
        file = sys.stdin.buffer if _is_standard_input(self._source) else self._source.open("rb")
        if not _comes_as_written(file.fileno()):
            record_bytes = self._pieces.record_bytes
            with file:
                while line := file.read(record_bytes) if record_bytes else file.readline(_LINE_BYTES_MAX + 1):
                    if len(line) > _LINE_BYTES_MAX:
                        raise ValueError(len(line))
                    yield line
            return
        # Read as its lines come, so that each is pushed at once. The transport closes the file, when it has let go of
        # it: closed here, its number would be another file's by then.
        reader = asyncio.StreamReader(limit=_LINE_BYTES_MAX)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), file
        )
        try:
            while line := await self._piece(reader):
                yield line
        finally:
            transport.close()

    async def _piece(self, reader: asyncio.StreamReader) -> bytes:
        """The next one; empty at the end."""
        if not self._pieces.record_bytes:
            return await reader.readline()
        try:
            return await reader.readexactly(self._pieces.record_bytes)
        except asyncio.IncompleteReadError as error:
            return error.partial


def _comes_as_written(descriptor: int) -> bool:
    """Whether it is a pipe, a socket or a terminal, open for reading. The event loop can wait for these: for a file,
    /dev/null or another device it would end the process, and for what is only written to it would wait for ever."""
    if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY:
        return False
    mode = os.fstat(descriptor).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(descriptor)
