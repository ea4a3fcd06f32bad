"""State files: what was written is read, and nothing else ever is."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.treenode.state_file import StateDamagedError, read_label, read_state, write_state, write_state_to

LABEL = {"cluster": "dot", "position": 7}
META = {"periods": ["2026-11"], "held": "für später"}


def arrays() -> dict[str, Any]:
    return {
        "ids": np.array([b"A1", b"B22"], dtype="S8"),
        "volume": np.arange(12, dtype=np.int64).reshape(3, 4)[:, ::2],
        "empty": np.empty(0, dtype=np.int32),
        "flat": np.arange(1000, dtype=np.uint8),
    }


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
    with pytest.raises(StateDamagedError, match="were written"):
        read_state(path)


def test_nothing_is_allocated_that_the_file_does_not_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state"
    monkeypatch.setattr(np, "ascontiguousarray", _Boasting)
    write_state(path, LABEL, META, {"boast": np.zeros(8, dtype=np.int64)})
    monkeypatch.undo()
    with pytest.raises(StateDamagedError, match="were written"):
        read_state(path)


class _Boasting:
    """Eight numbers that say they are 2**40."""

    def __init__(self, array: Any) -> None:
        self._array = array
        self.dtype = array.dtype
        self.shape = (2**40,)
        self.nbytes = array.nbytes

    def reshape(self, *shape: int) -> Any:
        return self._array.reshape(*shape)


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state"
    write_state(path, LABEL, META, arrays())
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_state(path, {}, {}, arrays())
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["state"]
