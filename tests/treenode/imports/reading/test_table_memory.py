"""A table goes through shared memory unchanged, and what is no table is refused."""

from __future__ import annotations

import gzip
import os
import struct
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from services.shared.rules import rules_of
from services.treenode.imports.reading import ImportLimits, TableBrokenError, TableMemory, read_import, read_table
from services.treenode.imports.sample_imports import MEMBERS, long_csv
from services.treenode.tree import ImportTable, Tree
from services.treenode.tree.kernels.kernel import AnyArray
from tests.treenode.tree.reads import texts_of

CONFIG = rules_of(("PV", "CV"), ("2026-11", "2026-10"))


@pytest.fixture
def descriptor() -> Iterator[int]:
    """An empty file that is memory only."""
    opened = os.memfd_create("test")
    yield opened
    os.close(opened)


def read_sample(folder: Path, descriptor: int) -> ImportTable:
    """A table with every column there is, in the file's memory."""
    path = folder / "long.csv.gz"
    path.write_bytes(gzip.compress(long_csv().encode()))
    memory = TableMemory(descriptor)
    table = read_import(
        path, volume_types=CONFIG.volume_types, periods=CONFIG.periods, limits=ImportLimits(), memory=memory
    )
    memory.write(table)
    return table


def test_a_table_is_the_same_on_the_other_side(tmp_path: Path, descriptor: int) -> None:
    """Every column, every name, and so the same digest."""
    written = read_sample(tmp_path, descriptor)
    found = read_table(descriptor)
    for name in ("member_ids", "sponsor", "placement", "placement_leg", "kind", "status", "rank", "joined_on"):
        np.testing.assert_array_equal(getattr(found, name), getattr(written, name))
        assert getattr(found, name).dtype == getattr(written, name).dtype
    assert found.status_names == written.status_names
    assert list(found.volumes) == list(written.volumes)
    for key, amounts in written.volumes.items():
        np.testing.assert_array_equal(found.volumes[key], amounts)
    assert list(found.further) == list(written.further)
    for name, column in written.further.items():
        assert found.further[name].kind == column.kind
        np.testing.assert_array_equal(found.further[name].values, column.values)
        assert [piece.tobytes() for piece in found.further[name].texts] == [piece.tobytes() for piece in column.texts]
    assert texts_of(found.further["country"]) == ["US"] * len(found)
    trees = [Tree.from_table(table, CONFIG, import_id=1, position=0) for table in (written, found)]
    assert trees[0].digest == trees[1].digest
    trees[1].validate()


def test_a_table_outlives_its_descriptor(tmp_path: Path) -> None:
    """The columns keep the memory."""
    opened = os.memfd_create("test")
    read_sample(tmp_path, opened)
    found = read_table(opened)
    os.close(opened)
    assert len(found) == MEMBERS - 1
    assert bytes(found.member_ids[0]) == b"m1"


def test_memory_that_is_not_written_takes_no_memory(descriptor: int) -> None:
    """Columns are as long as a file may have rows."""
    column = TableMemory(descriptor).empty((100_000_000, 32), np.uint8)
    column[:1000] = 1
    assert os.fstat(descriptor).st_blocks * 512 < 1_000_000


def test_threads_get_memory_of_their_own(descriptor: int) -> None:
    """No two columns share memory, whoever asks when."""
    memory = TableMemory(descriptor)
    together = threading.Barrier(8)

    def fill(number: int) -> list[AnyArray]:
        together.wait(30)
        columns = [memory.empty((1000,), np.int32) for _ in range(50)]
        for column in columns:
            column[:] = number
        return columns

    with ThreadPoolExecutor(8) as pool:
        filled = list(pool.map(fill, range(8)))
    for number, columns in enumerate(filled):
        assert all((column == number).all() for column in columns)
    assert os.fstat(descriptor).st_size >= 8 * 50 * 4000


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "ends before it begins"),
        (bytes(16), "its header ends at"),
        (struct.pack("<QQ", 16, 100) + b"{}", "its header ends at"),
        (struct.pack("<QQ", 16, 2) + b"{}", "can't be read"),
        (
            struct.pack("<QQ", 16, 75) + b'{"columns":[["<i4",1000,4096]],"status_names":[],"volumes":[],"further":[]}',
            "outside its file",
        ),
    ],
)
def test_what_is_no_table_is_refused(descriptor: int, content: bytes, reason: str) -> None:
    """With the reason, before anything of it is mapped."""
    os.pwrite(descriptor, content, 0)
    with pytest.raises(TableBrokenError, match=reason):
        read_table(descriptor)
