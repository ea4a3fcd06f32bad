"""An audit log's files, read and judged by the services' own code: nobody should learn their form from a copy."""

from __future__ import annotations

import datetime
import heapq
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from fasttree.command.session import CommandError
from services.shared.security.audit.files import CHAINS, file_of, lines_of, numbers_in
from services.shared.security.audit.reading import audit_folders
from services.shared.security.audit.records import FORM, Line
from services.shared.security.audit.verifying import Verified, verify

_AGES = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def folders_of(named: Sequence[Path], homes: Sequence[Path]) -> list[Path]:
    """The folders of audit logs: those named, or in them, or of the clusters in `homes`. Raises CommandError."""
    places = list(named) or [home for home in homes if home.is_dir()]
    found = sorted({folder for place in places for folder in audit_folders(place)})
    if not found:
        where = " or ".join(map(str, places)) or "this folder"
        raise CommandError(
            f"no audit log in {where}: name a service's state folder, or its audit.folder, by --dir; folders of this "
            "machine alone are read: for another one, run this there, or look at /audit of the part's HTTP port"
        )
    return found


def since_of(text: str) -> str:
    """A time as records have it, of such a time or of an age as 90m. Raises CommandError."""
    now = datetime.datetime.now(datetime.UTC)
    try:
        if age := re.fullmatch(r"(\d{1,6})([smhd])", text):
            when = now - datetime.timedelta(**{_AGES[age[2]]: int(age[1])})
        else:
            when = datetime.datetime.fromisoformat(text).astimezone(datetime.UTC)
    except (ValueError, OverflowError):
        raise CommandError(f"--since {text!r}: write an age, as 90m or 2d, or a time, as 2026-11-27T08:00Z") from None
    return when.isoformat(timespec="microseconds").replace("+00:00", "Z")


class Records:
    """The records of some folders, the oldest first; what came since, at each further look."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._chains = [(folder, chain) for folder in folders for chain in CHAINS]
        #: By chain: the file that was read last, and how many of its lines.
        self._read: dict[tuple[Path, str], tuple[int, int]] = {}

    def new(self) -> Iterator[Line]:
        """Raises OSError."""
        yield from heapq.merge(
            *(self._new_of(folder, chain) for folder, chain in self._chains),
            key=lambda line: line.grpc_audit_log.timestamp,
        )

    def _new_of(self, folder: Path, chain: str) -> Iterator[Line]:
        last, lines = self._read.get((folder, chain), (0, 0))
        for number in numbers_in(folder, chain):
            if number < last:
                continue
            skipped = lines if number == last else 0
            for index, (line, whole) in enumerate(lines_of(file_of(folder, chain, number)), 1):
                if index <= skipped or not whole:
                    continue
                self._read[folder, chain] = (number, index)
                try:
                    yield FORM.of_json(line)
                except (msgspec.DecodeError, UnicodeError):
                    continue  # what a crash left; `verify` judges it


def json_of(line: Line) -> Any:
    """As it stands in its file."""
    return msgspec.to_builtins(line)


def verified(folder: Path, newest: str) -> list[Verified]:
    """Every chain of a folder. Raises CommandError."""
    try:
        return verify(folder, newest)
    except OSError as error:
        raise CommandError(f"{error.filename or folder} can't be read: {error.strerror}") from None
