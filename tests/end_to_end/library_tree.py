"""A genealogy that every machine has: the running Python's own library folder, files sponsored by their folders."""

from __future__ import annotations

import csv
import io
import os
import random
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

SIZE_MAX_HUNDREDTHS = 10_000_00


class Entry(NamedTuple):
    """A file or folder as a member."""

    member_id: str
    sponsor_id: str
    status: str
    rank: int
    pv_hundredths: int
    path: Path


class Totals(NamedTuple):
    """What a report must say of a member."""

    level: int
    downline_count: int
    gv_hundredths: int


@dataclass
class LibraryTree:
    """The folder as members, and its totals summed by a plain walk."""

    entries: list[Entry] = field(default_factory=list)
    totals: dict[str, Totals] = field(default_factory=dict)

    @property
    def member_ids(self) -> list[str]:
        """Of every file and folder."""
        return [entry.member_id for entry in self.entries]

    def csv_text(self, seed: int = 3) -> str:
        """The import file, rows in a random order."""
        rows = list(self.entries)
        random.Random(seed).shuffle(rows)
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(["member_id", "sponsor_id", "status", "rank", "joined_on", "pv", "suffix"])
        for row in rows:
            volume = f"{row.pv_hundredths // 100}.{row.pv_hundredths % 100:02}"
            writer.writerow(
                [row.member_id, row.sponsor_id, row.status, row.rank, "2026-11-22", volume, row.path.suffix]
            )
        return text.getvalue()


def read_library() -> LibraryTree:
    """Walks the library folder; each folder's total is what its entries' totals add up to."""
    tree = LibraryTree()
    _add(tree, Path(sysconfig.get_path("stdlib")), sponsor_id="", level=0)
    return tree


def _add(tree: LibraryTree, path: Path, sponsor_id: str, level: int) -> Totals:
    member_id = f"f{len(tree.entries)}"
    is_folder = path.is_dir() and not path.is_symlink()
    own = 0 if is_folder else path.lstat().st_size % SIZE_MAX_HUNDREDTHS
    tree.entries.append(Entry(member_id, sponsor_id, "A" if is_folder else "C", min(level, 9), own, path))
    count, volume = 0, own
    if is_folder:
        # Installed packages and compiled files change while tests run; the rest of the library stands still.
        names = sorted(name for name in os.listdir(path) if name not in ("site-packages", "__pycache__"))
        for name in names:
            below = _add(tree, path / name, member_id, level + 1)
            count += 1 + below.downline_count
            volume += below.gv_hundredths
    totals = Totals(level, count, volume)
    tree.totals[member_id] = totals
    return totals
