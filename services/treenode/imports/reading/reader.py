"""From a file to a checked table, or to a refusal that names every wrong row.

First each row by itself, block after block, in threads; then what rows say of each other: ids, links, legs. A wrong row
is told once, with all that is wrong in it by itself. Everything is read and checked before the first fault is raised,
except where reading on makes no sense (a damaged file, a header that lacks a column, a limit).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from services.shared.domain.columns import FurtherKind
from services.shared.domain.limits import NO_DAY
from services.shared.mapping.faults import LINES_OF_A_KIND, RejectedRow, by_row
from services.treenode.imports.limits import ImportLimits
from services.treenode.imports.reading import faults
from services.treenode.imports.reading.assembly import Assembly
from services.treenode.imports.reading.batch import BatchReader
from services.treenode.imports.reading.csv_reader import CsvFile
from services.treenode.imports.reading.header import Column, Role, plan_columns
from services.treenode.imports.reading.refusal import refuse_file, refuse_rows
from services.treenode.imports.reading.source import FileFormat, Progress, find_format
from services.treenode.imports.reading.structure.structure import Members, WrongLink, wrong_ids, wrong_legs, wrong_links
from services.treenode.imports.reading.table_memory import TableMemory
from services.treenode.tree.kernels.kernel import AnyArray
from services.treenode.tree.store import DISTRIBUTOR
from services.treenode.tree.table import FurtherColumn, ImportTable

if TYPE_CHECKING:
    from services.treenode.imports.reading.parquet_reader import ParquetFile

#: Share of the time that reading takes; the rest is checking the trees.
_READING_SHARE = 0.8
#: What a member has in a column that the file lacks, and the column's type.
_DEFAULTS: tuple[tuple[Role, type[np.generic], int], ...] = (
    (Role.PLACEMENT_LEG, np.int32, 0),
    (Role.KIND, np.uint8, DISTRIBUTOR),
    (Role.STATUS, np.int16, 0),
    (Role.RANK, np.int16, 0),
    (Role.JOINED_ON, np.int32, NO_DAY),
)


def read_import(
    path: Path,
    file_format: FileFormat = FileFormat.DETECT,
    volume_types: Sequence[str] = ("PV",),
    periods: Sequence[str] = ("2026-11",),
    limits: ImportLimits | None = None,
    progress: Progress = lambda share: None,
    memory: TableMemory | None = None,
    declared: Mapping[str, FurtherKind] | None = None,
    sealed_periods: Collection[str] = (),
) -> ImportTable:
    """Reads and checks an import file.

    `volume_types`, `periods`: the cluster's, the default first; the file may open more. `progress` is told 0.0 to 1.0,
    in this thread; what it raises ends the reading. `memory`: where the table's columns go. `declared`: the types of
    columns that the log declares, by name. `sealed_periods`: those of the cluster that are closed for good. Blocks for
    seconds on large files: call it in a thread.
    Raises ImportRefusedError for a file that is not wholly right, OSError where it can't be read at all.
    """
    limits = limits or ImportLimits()
    found = find_format(path, file_format, limits)
    file = _open(path, found, limits, lambda share: progress(share * _READING_SHARE))
    columns = plan_columns(file.names, volume_types, periods, limits, file.kinds, declared, sealed_periods)
    places = {column.role: place for place, column in enumerate(columns)}
    assembly = Assembly(limits, memory or TableMemory.private())
    for part in file.parts(BatchReader(columns, limits, assembly, is_csv=found is not FileFormat.PARQUET)):
        assembly.add(part, places.get(Role.STATUS, -1))
    if assembly.row_count == 0:
        raise refuse_file("it holds a header and no members: a tree needs one at least")
    if assembly.is_hopeless:
        remark = "what rows say of each other was not checked"
        raise refuse_rows(assembly.rejected, assembly.wrong_count, assembly.tally, assembly.row_count, remark)
    progress(_READING_SHARE)
    table = _Checked(columns, places, assembly, limits).table()
    progress(1.0)
    return table


def _open(path: Path, file_format: FileFormat, limits: ImportLimits, progress: Progress) -> CsvFile | ParquetFile:
    if file_format is not FileFormat.PARQUET:
        return CsvFile(path, file_format, limits, progress)
    # Loaded where it is needed: Arrow takes longer to load than a million members to read.
    from services.treenode.imports.reading.parquet_reader import ParquetFile

    return ParquetFile(path, limits, progress)


class _Checked:
    """Makes the table of an assembly, or refuses it."""

    def __init__(
        self, columns: Sequence[Column], places: dict[Role, int], assembly: Assembly, limits: ImportLimits
    ) -> None:
        self._columns = columns
        self._places = places
        self._assembly = assembly
        self._limits = limits
        self._lines = assembly.lines()

    def table(self) -> ImportTable:
        """Raises ImportRefusedError."""
        with ThreadPoolExecutor(self._limits.threads_used, thread_name_prefix="import") as pool:
            members = Members(self._assembly.ids(self._places[Role.MEMBER_ID]), pool, self._limits.threads_used)
            sponsor_ids = self._assembly.ids(self._places[Role.SPONSOR_ID])
            sponsor = members.find(sponsor_ids)
            columns = pool.submit(self._columns_by_role)
            wrong = [*wrong_ids(members, self._lines), *wrong_links(members, sponsor_ids, sponsor, Role.SPONSOR_ID)]
            if Role.PLACEMENT_ID in self._places:
                placement_ids = self._assembly.ids(self._places[Role.PLACEMENT_ID])
                placement = members.find(placement_ids)
                wrong += wrong_links(members, placement_ids, placement, Role.PLACEMENT_ID)
                wrong += wrong_legs(placement, placement_ids, columns.result()[Role.PLACEMENT_LEG], self._lines)
            else:
                placement = self._assembly.filled(np.int32, -1)
        self._refuse_wrong(wrong, members)
        by_role = columns.result()
        volumes, further = {}, {}
        for place, column in enumerate(self._columns):
            if column.role is Role.VOLUME:
                if self._assembly.overflows(place):
                    raise refuse_file("the sum of its volumes is out of range: correct them", column=column.name)
                volumes[column.volume] = self._assembly.values(place)
            elif column.role is Role.FURTHER:
                values = self._assembly.values(place)
                further[column.name] = FurtherColumn(column.kind, values, self._assembly.texts(place))
        return ImportTable(
            member_ids=members.ids,
            sponsor=sponsor,
            placement=placement,
            placement_leg=by_role[Role.PLACEMENT_LEG],
            kind=by_role[Role.KIND],
            status=by_role[Role.STATUS],
            status_names=self._assembly.status_names,
            rank=by_role[Role.RANK],
            joined_on=by_role[Role.JOINED_ON],
            volumes=volumes,
            further=further,
        )

    def _columns_by_role(self) -> dict[Role, AnyArray]:
        """The columns that a file has once at most, each with its default where the file has none."""
        return {
            role: self._assembly.values(self._places[role])
            if role in self._places
            else self._assembly.filled(dtype, default)
            for role, dtype, default in _DEFAULTS
        }

    def _refuse_wrong(self, wrong: Sequence[WrongLink], members: Members) -> None:
        rows = self._assembly.wrong_rows()
        if not wrong and not len(rows):
            return
        is_wrong = np.zeros(len(members.ids), np.bool_)
        is_wrong[rows] = True
        rejected, tally = list(self._assembly.rejected), self._assembly.tally
        for link in wrong:
            # In a row that is wrong already a link may lack only what could not be read, but for one to nobody.
            told = link.rows if link.code in faults.TO_NOBODY else link.rows[~is_wrong[link.rows]]
            is_wrong[told] = True
            rejected += self._told(link, told[: self._limits.reported_rows].tolist())
            if len(told):
                tally.add((link.role, link.code), len(told), self._told(link, told[:LINES_OF_A_KIND].tolist()))
        remark = "unknown sponsors and placements are looked for once every id can be read"
        first = by_row(rejected)[: self._limits.reported_rows]
        raise refuse_rows(first, int(is_wrong.sum()), tally, len(is_wrong), remark if members.incomplete else "")

    def _told(self, link: WrongLink, rows: Sequence[int]) -> Iterator[RejectedRow]:
        name = self._columns[self._places[link.role]].name
        for row in rows:
            reason = faults.reason(link.code, value=link.value(row), detail=link.detail(row))
            yield RejectedRow(self._lines.of(row), name, reason)
