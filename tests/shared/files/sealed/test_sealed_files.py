"""What was sealed comes back, or is refused: by whoever has the key and knows what file it is, and unchanged."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.shared.files.sealed.errors import SealDamagedError, SealKeyError
from services.shared.files.sealed.form import HEADER_BYTES, OVERHEAD_BYTES, content_bytes
from services.shared.files.sealed.names import SealedAs
from services.shared.files.sealed.own import keys_for_now
from services.shared.files.sealed.reading import ContentFile, content_of
from services.shared.files.sealed.writing import SealedWriter, go_on
from tests.shared.files.sealed.own_keys import NAMED, content, keys, sealed_file

CHUNK = 64
STRIDE = CHUNK + OVERHEAD_BYTES
SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK - 1, 3 * CHUNK, 3 * CHUNK + 1]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sealed") / "file"


@settings(max_examples=100, deadline=None)
@given(
    pieces=st.lists(st.binary(max_size=3 * CHUNK), max_size=6), first_last=st.booleans(), begin=st.binary(max_size=9)
)
def test_what_was_written_in_any_pieces_comes_back_from_any_place(
    path: Path, pieces: list[bytes], first_last: bool, begin: bytes
) -> None:
    whole = b"".join(pieces)
    beginning = begin if first_last and len(begin) <= len(whole) else b""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        with keys_for_now(keys()):
            writer = SealedWriter.new(descriptor, keys().first, NAMED, first_last=first_last, chunk_bytes=CHUNK)
            for piece in pieces:
                writer.write(piece)
            size_bytes = writer.finish(beginning)
            whole = beginning + whole[len(beginning) :]
            assert size_bytes == path.stat().st_size
            assert content_bytes(size_bytes, CHUNK) == len(whole)
            found = content_of(descriptor, NAMED, "it")
            for offset in range(0, len(whole), 37):
                part = bytearray(min(90, len(whole) - offset))
                assert found.read_into(memoryview(part), offset)
                assert part == whole[offset : offset + len(part)]
            assert not found.read_into(memoryview(bytearray(1)), len(whole))
            with ContentFile(path, NAMED) as file:
                assert (file.read(40), file.read(1 << 20), file.read(1)) == (whole[:40], whole[40:], b"")
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("size_bytes", SIZES)
def test_nothing_of_the_content_and_the_keys_is_in_the_file(path: Path, size_bytes: int) -> None:
    text = (b"member-10420 " * 40)[:size_bytes]
    sealed_file(path, text, keys(), CHUNK)
    data = path.read_bytes()
    assert b"member" not in data
    assert b"sone" not in data
    assert b"one" in data  # the key's id, which tells nobody anything


@pytest.mark.parametrize("size_bytes", [0, CHUNK, 2 * CHUNK + 1])
def test_every_flipped_bit_is_found(path: Path, size_bytes: int) -> None:
    sealed_file(path, os.urandom(size_bytes), keys(), CHUNK)
    good = path.read_bytes()
    for place in range(len(good)):
        changed = bytearray(good)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        with keys_for_now(keys()):
            if place < 8:  # it does not say that it is sealed, and is none of the readers' forms either
                assert content(path) == changed
                continue
            with pytest.raises(SealDamagedError, match=r"^file"):
                content(path)


@pytest.mark.parametrize("size_bytes", SIZES)
def test_every_cut_and_everything_behind_the_end_is_found_when_it_is_opened(path: Path, size_bytes: int) -> None:
    sealed_file(path, os.urandom(size_bytes), keys(), CHUNK)
    good = path.read_bytes()
    ends = [good[:end] for end in range(8, len(good), 3)] + [good + bytes(more) for more in (1, 28, CHUNK, STRIDE)]
    ends += [good + good[HEADER_BYTES:][:more] for more in (STRIDE, 2 * STRIDE)]
    for data in ends:
        path.write_bytes(data)
        if data == good:
            continue
        with keys_for_now(keys()), path.open("rb", buffering=0) as file, pytest.raises(SealDamagedError):
            content_of(file.fileno(), NAMED, "it")


@settings(max_examples=60, deadline=None)
@given(order=st.permutations(range(4)), twice=st.booleans())
def test_chunks_in_another_order_are_found(path: Path, order: list[int], twice: bool) -> None:
    sealed_file(path, bytes(range(4)) * CHUNK, keys(), CHUNK)
    good = path.read_bytes()
    chunks = [good[HEADER_BYTES + number * STRIDE :][:STRIDE] for number in range(4)]
    if twice:
        order[0] = order[1]
    path.write_bytes(good[:HEADER_BYTES] + b"".join(chunks[number] for number in order))
    with keys_for_now(keys()):
        if order == [0, 1, 2, 3]:
            assert content(path) == bytes(range(4)) * CHUNK
        else:
            with pytest.raises(SealDamagedError, match=r"chunk \d of 4 is not what was sealed there"):
                content(path)


def test_a_chunk_of_another_file_and_a_file_of_another_name_are_found(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    sealed_file(path, bytes(3 * CHUNK), keys(), CHUNK)
    sealed_file(other, bytes(3 * CHUNK), keys(), CHUNK)
    mine, its = path.read_bytes(), other.read_bytes()
    with keys_for_now(keys()):
        for named in (
            SealedAs("state", "1-3.snapshot"),
            SealedAs("import", NAMED.name),
            SealedAs("", "state1-2.snapshot"),
        ):
            with pytest.raises(SealDamagedError):
                content(other, named)
        for number in range(3):
            begin = HEADER_BYTES + number * STRIDE
            path.write_bytes(mine[:begin] + its[begin : begin + STRIDE] + mine[begin + STRIDE :])
            with pytest.raises(SealDamagedError):
                content(path)
        path.write_bytes(its[:HEADER_BYTES] + mine[HEADER_BYTES:])
        with pytest.raises(SealDamagedError):
            content(path)


def test_no_two_files_and_no_two_chunks_are_sealed_alike(tmp_path: Path) -> None:
    for name in ("a", "b"):
        sealed_file(tmp_path / name, bytes(4 * CHUNK), keys(), CHUNK)
    chunks = {
        (tmp_path / name).read_bytes()[HEADER_BYTES + number * STRIDE :][:STRIDE]
        for name in ("a", "b")
        for number in range(4)
    }
    assert len(chunks) == 8


def test_a_missing_key_and_another_one_of_its_id_are_no_damage(path: Path) -> None:
    sealed_file(path, b"members", keys("one"))
    before = path.read_bytes()
    with keys_for_now(None), pytest.raises(SealKeyError, match=r"sealed by key one.*set sealing\.key_file"):
        content(path)
    with (
        keys_for_now(keys("two")),
        pytest.raises(
            SealKeyError, match=r"sealed by key one, which is not in sealing\.key_file = state\.keys \(two\)"
        ),
    ):
        content(path)
    with (
        keys_for_now(keys("one", secret=b"t")),
        pytest.raises(SealKeyError, match=r"another key one than the one in sealing\.key_file"),
    ):
        content(path)
    with keys_for_now(keys("two", "one")):
        assert content(path) == b"members"
    assert path.read_bytes() == before


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=300), cut=st.integers(0, 500), change=st.booleans())
def test_what_was_not_finished_goes_on_behind_what_is_sound_of_it(
    path: Path, data: bytes, cut: int, change: bool
) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        with keys_for_now(keys()):
            writer = SealedWriter.new(descriptor, keys().first, NAMED, chunk_bytes=CHUNK)
            writer.write(data)
            os.ftruncate(descriptor, min(cut, os.fstat(descriptor).st_size))
            if change and os.fstat(descriptor).st_size > HEADER_BYTES + 5:
                os.pwrite(descriptor, b"\xff\xff\xff\xff", HEADER_BYTES + 1)
            again = go_on(descriptor, keys().first, NAMED)
            assert again.offset <= len(data)
            again.write(data[again.offset :])
            again.finish()
            if change and again.offset:
                return  # a chunk before the last sound one is found by whoever reads it
            assert content(path) == data
    finally:
        os.close(descriptor)
