"""State files: what was written is read, and nothing else ever is."""

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.treenode.snapshots import state_file
from services.treenode.snapshots.state_file import (
    StateDamagedError,
    StateLayout,
    check_state,
    map_state,
    read_label,
    read_state,
    write_state_to,
)

LABEL = {"cluster": "dot", "position": 7}
META = {"periods": ["2026-11"], "held": "für später"}


def arrays() -> dict[str, Any]:
    return {
        "ids": np.array([b"A1", b"B22"], dtype="S8"),
        "volume": np.arange(12, dtype=np.int64).reshape(3, 4)[:, ::2],
        "empty": np.empty(0, dtype=np.int32),
        "flat": np.arange(1000, dtype=np.uint8),
    }


def write_state(path: Path, label: dict[str, Any], meta: dict[str, Any], content: dict[str, Any]) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        return write_state_to(descriptor, label, meta, content)
    finally:
        os.close(descriptor)


def test_a_state_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "state"
    size_bytes = write_state(path, LABEL, META, arrays())
    assert path.stat().st_size == size_bytes
    assert [entry.name for entry in tmp_path.iterdir()] == ["state"]
    found = read_state(path)
    assert (found.label, found.meta) == (LABEL, META)
    assert found.arrays.keys() == arrays().keys()
    for name, array in arrays().items():
        np.testing.assert_array_equal(found.arrays[name], array)
        assert found.arrays[name].dtype == array.dtype
        assert found.arrays[name].flags.writeable
    assert read_label(path) == LABEL


def test_a_state_goes_through_unnamed_memory() -> None:
    descriptor = os.memfd_create("test")
    try:
        write_state_to(descriptor, LABEL, META, arrays())
        found = read_state(Path(f"/proc/self/fd/{descriptor}"))
    finally:
        os.close(descriptor)
    np.testing.assert_array_equal(found.arrays["volume"], arrays()["volume"])


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_flipped_byte_is_found(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.getbasetemp() / "flipped"
    write_state(path, LABEL, META, arrays())
    good = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(good) - 1))
    good[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(good)
    try:
        found = read_state(path)
    except StateDamagedError:
        return
    # Only the padding between arrays is not covered by a checksum.
    for name, array in arrays().items():
        np.testing.assert_array_equal(found.arrays[name], array)


@pytest.mark.parametrize("kept", [0, 5, 19, 20, 40, 500, -1])
def test_a_torn_file_is_found(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "state"
    write_state(path, LABEL, META, arrays())
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(StateDamagedError):
        read_state(path)


def test_bytes_behind_the_end_are_found(tmp_path: Path) -> None:
    path = tmp_path / "state"
    write_state(path, LABEL, META, arrays())
    with path.open("ab") as file:
        file.write(b"more")
    with pytest.raises(StateDamagedError, match="should end at"):
        read_state(path)


def test_a_file_that_was_not_finished_is_found(tmp_path: Path) -> None:
    path = tmp_path / "state"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    StateLayout(arrays()).write_arrays(descriptor)
    os.close(descriptor)
    with pytest.raises(StateDamagedError, match="not finished"):
        read_state(path)


def test_arrays_that_were_not_written_are_not_finished(tmp_path: Path) -> None:
    path = tmp_path / "state"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    with pytest.raises(OSError, match="was not written whole"):
        StateLayout(arrays()).finish(descriptor, LABEL, META, durable=True)
    os.close(descriptor)


def test_a_header_that_nobody_would_read_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state"
    write_state(path, LABEL, META, arrays())
    length = len(path.read_bytes()) - struct.unpack("<Q", path.read_bytes()[8:16])[0]
    monkeypatch.setattr(state_file, "HEADER_BYTES_MAX", length)
    write_state(path, LABEL, META, arrays())
    assert read_state(path).meta == META
    monkeypatch.setattr(state_file, "HEADER_BYTES_MAX", length - 1)
    with pytest.raises(OSError, match="is too long"):
        write_state(path, LABEL, META, arrays())
    with pytest.raises(StateDamagedError, match="not finished"):
        read_state(path)


def written_with_another_header(path: Path, said: bytes, instead: bytes) -> None:
    """A file whose header says something else, with a checksum of its own that is right."""
    write_state(path, LABEL, META, {"few": np.arange(8)})
    good = path.read_bytes()
    header_offset = int.from_bytes(good[8:16], "little")
    header = good[header_offset:].replace(said, instead)
    assert header != good[header_offset:]
    prefix = struct.pack("<8sQQI", good[:8], header_offset, len(header), zlib.crc32(header))
    path.write_bytes(prefix + good[len(prefix) : header_offset] + header)


def test_nothing_is_allocated_that_the_file_does_not_hold(tmp_path: Path) -> None:
    path = tmp_path / "state"
    written_with_another_header(path, b'"shape": [8]', b'"shape": [1000000000000]')
    with pytest.raises(StateDamagedError, match="its header names them"):
        read_state(path)


@pytest.mark.parametrize("kind", ["<u5", "<S8", "|i8", "<b1", "<f3", "|O8", "<i2,<i4", ""])
@pytest.mark.parametrize("read", [read_state, check_state, map_state])
def test_a_type_that_no_array_has_is_refused(tmp_path: Path, kind: str, read: Callable[[Path], object]) -> None:
    path = tmp_path / "state"
    written_with_another_header(path, b'"dtype": "<i8"', f'"dtype": "{kind}"'.encode())
    with pytest.raises(StateDamagedError, match="the header is none"):
        read(path)


def written_with_capacity(path: Path, capacity: int) -> dict[str, Any]:
    """A file whose arrays by row want that capacity."""
    rows: dict[str, Any] = {
        "by_row": np.arange(7, dtype=np.int32),
        "by_slot": np.arange(14, dtype=np.int64).reshape(2, 7),
        "words": np.arange(21, dtype=np.uint32).reshape(7, 3),
        "fixed": np.arange(7, dtype=np.int32),
    }
    meta = {"growing": {"by_row": 0, "by_slot": 1, "words": 0}, "room": capacity}
    with path.open("w+b") as file:
        write_state_to(file.fileno(), LABEL, meta, rows)
    return rows


def test_arrays_that_grow_are_read_into_the_capacity_that_they_want(tmp_path: Path) -> None:
    rows = written_with_capacity(tmp_path / "state", 9)
    found = read_state(tmp_path / "state").arrays
    assert {name: array.shape for name, array in found.items()} == {
        "by_row": (9,), "by_slot": (2, 9), "words": (9, 3), "fixed": (7,),
    }  # fmt: skip
    for name, array in rows.items():
        assert (found[name][tuple(slice(length) for length in array.shape)] == array).all()


@pytest.mark.parametrize("capacity", [6, 10**12])
def test_capacity_that_the_file_does_not_account_for_is_refused(tmp_path: Path, capacity: int) -> None:
    written_with_capacity(tmp_path / "state", capacity)
    with pytest.raises(StateDamagedError, match="wants room"):
        read_state(tmp_path / "state")
