"""Reads an import file and builds its tree in a process of its own: the node's reports and updates never wait for it.

    python -m services.treenode.import_process FD < request

The request is one JSON object on standard input. Standard output tells a JSON object a line: progress, then `built`
with the tree's state in the file FD, or `refused` with the rejected rows.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

import msgspec

from services.treenode.importing import FileFormat, ImportLimits, ImportRefused, read_import
from services.treenode.state_file import write_state_to
from services.treenode.tree import Tree, TreeConfig

_PR_SET_PDEATHSIG = 1
#: Behind the node itself, whenever both want the processor.
_NICE = 5


class BuildRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Which file, and what its tree will be."""

    path: str
    #: Number of `fasttree.v1.ImportFormat`.
    file_format: int
    import_id: int
    position: int
    volume_types: list[str]
    periods: list[str]
    limits: ImportLimits


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A rejected row."""

    line: int
    column: str
    reason: str


class Checking(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The file is being read; share from 0.0 to 1.0."""

    share: float


class Building(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The file is good; the tree is being built."""

    rows: int


class Built(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The tree's state is in the file."""

    rows: int


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The file is bad."""

    reason: str
    rejected_count: int
    rejected_rows: list[Row]


BuildMessage = Checking | Building | Built | Refused


def build(request: BuildRequest, descriptor: int) -> Built | Refused:
    """Reads the file, builds the tree and writes its state to the descriptor."""
    told = 0.0

    def progress(share: float) -> None:
        nonlocal told
        if share - told >= 0.01:
            told = share
            tell(Checking(share=share))

    try:
        table = read_import(
            Path(request.path),
            FileFormat(request.file_format),
            request.volume_types,
            request.periods,
            request.limits,
            progress,
        )
        tell(Building(rows=len(table.member_ids)))
        config = TreeConfig(tuple(request.volume_types), tuple(request.periods))
        tree = Tree.from_table(table, config, request.import_id, request.position)
    except ImportRefused as refused:
        rows = [Row(line=row.line, column=row.column, reason=row.reason) for row in refused.rejected_rows]
        return Refused(reason=refused.reason, rejected_count=refused.rejected_count, rejected_rows=rows)
    except OverflowError as error:
        reason = f"import refused: the file: a total does not fit 64 bits: {error}"
        return Refused(reason=reason, rejected_count=1, rejected_rows=[Row(line=0, column="", reason=str(error))])
    rows_read = len(table.member_ids)
    del table
    meta, arrays = tree.state()
    write_state_to(descriptor, {}, meta, arrays)
    return Built(rows=rows_read)


def tell(message: BuildMessage) -> None:
    """One line on standard output."""
    sys.stdout.buffer.write(msgspec.json.encode(message) + b"\n")
    sys.stdout.buffer.flush()


def main() -> None:
    """The process; see above."""
    # The node may be killed: nothing of it may go on then.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # A Ctrl-C is for the node, which ends this process itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(_NICE)
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=BuildRequest)
    tell(build(request, int(sys.argv[1])))


if __name__ == "__main__":
    main()
