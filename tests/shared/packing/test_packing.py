"""What a packed file holds, read in pieces; what can't be opened says why, whatever piece it is read in."""

from __future__ import annotations

import gzip
import io
import random
import tracemalloc
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest

from services.shared.packing import Packing, PackingError, is_bomb, opened, packing_of
from tests.shared.packing.archives import Unopenable, unopenable, zipped, zstd

TEXT = "".join(f"{number},{random.Random(number).random()}\n" for number in range(4_000)).encode()
UNOPENABLE = [*unopenable(TEXT), Unopenable("gzip: cut", gzip.compress(TEXT)[:-9], "gzip stream is damaged")]


def whole(content: bytes, piece: int = 1 << 16) -> bytes:
    stream = opened(io.BytesIO(content))
    parts = []
    while part := stream.read(piece):
        assert len(part) <= piece
        parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize("piece", [1, 700, 1 << 16, 8 << 20])
def test_what_is_packed_comes_out_in_pieces_of_any_size(piece: int) -> None:
    text = TEXT if piece > 1 else TEXT[:500]
    packs = {
        Packing.NONE: text,
        Packing.GZIP: gzip.compress(text),
        Packing.ZIP: zipped(("members.csv", text)),
        Packing.ZSTD: zstd(text),
    }
    for packing, content in packs.items():
        assert packing_of(content) is packing
        assert whole(content, piece) == text
    assert whole(zipped(("members.csv", text), method=zipfile.ZIP_STORED), piece) == text
    assert whole(zstd(text[:200]) + zstd(text[200:]), piece) == text


def test_what_a_mac_adds_and_folders_are_no_files() -> None:
    archive = zipped(("members/", b""), ("members/members.csv", TEXT), ("__MACOSX/members/._members.csv", b"x"))
    assert whole(archive) == TEXT


def test_a_name_that_leads_elsewhere_leads_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("../../etc/passwd", "/etc/passwd", "a\\..\\b", "x" * 5_000):
        assert whole(zipped((name, TEXT))) == TEXT
    nameless = zipped(("members.csv", TEXT)).replace(b"members.csv", b"\0embers.csv")
    assert zipfile.ZipFile(io.BytesIO(nameless)).namelist() == [""]
    assert whole(nameless) == TEXT
    assert list(tmp_path.iterdir()) == []


def test_nothing_in_it_is_nothing() -> None:
    assert [whole(each) for each in (b"", gzip.compress(b""), zipped(("a.csv", b"")), zstd(b""))] == [b""] * 4


@pytest.mark.parametrize("bad", UNOPENABLE, ids=lambda bad: bad.name)
@pytest.mark.parametrize("piece", [500, 1 << 20])
def test_what_can_not_be_opened_says_why(bad: Unopenable, piece: int) -> None:
    with pytest.raises(PackingError) as refused:
        whole(bad.content, piece)
    reason = str(refused.value)
    assert bad.words in reason
    assert ": " in reason, "the mend is behind it"
    assert "\n" not in reason


def test_there_are_many_ways_to_be_wrong() -> None:
    assert len(UNOPENABLE) >= 20
    assert len({bad.content for bad in UNOPENABLE}) == len(UNOPENABLE)


@pytest.mark.parametrize("seed", range(300))
def test_a_byte_that_is_another_one_is_seen_or_harmless(seed: int) -> None:
    dice = random.Random(seed)
    content = bytearray(dice.choice([zipped(("a.csv", TEXT)), gzip.compress(TEXT)]))
    content[dice.randrange(4, len(content))] ^= dice.randrange(1, 256)
    try:
        found = whole(bytes(content))
    except PackingError:
        return
    assert found == TEXT


@pytest.mark.parametrize("pack", [gzip.compress, zstd, lambda text: zipped(("a", text))])
def test_a_bomb_costs_no_memory_until_somebody_counts(pack: object) -> None:
    content = pack(bytes(64 << 20))  # type: ignore[operator]
    assert is_bomb(64 << 20, len(content), 200, 1 << 20)
    tracemalloc.start()
    stream, read = opened(io.BytesIO(content)), 0
    while not is_bomb(read, len(content), 200, 1 << 20):
        read += len(stream.read(1 << 16))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20
    assert not is_bomb(1 << 20, 1, 200, 1 << 20)
    assert not is_bomb(20_000, 1_000, 200, 0)


def test_zstd_of_a_program_that_did_not_know_how_much_would_come(tmp_path: Path) -> None:
    with pa.OSFile(str(tmp_path / "a.zst"), "wb") as file, pa.CompressedOutputStream(file, "zstd") as writing:
        for at in range(0, len(TEXT), 1_000):
            writing.write(TEXT[at : at + 1_000])
    assert whole((tmp_path / "a.zst").read_bytes()) == TEXT


def test_zip_to_a_pipe_is_opened(tmp_path: Path) -> None:
    """Sizes stand behind the file then, as where a program packs what another one writes."""

    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.parts: list[bytes] = []

        def writable(self) -> bool:
            return True

        def write(self, data: object) -> int:
            self.parts.append(bytes(data))  # type: ignore[call-overload]
            return len(self.parts[-1])

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("-", "w") as writing:  # type: ignore[arg-type]
        writing.write(TEXT)
    assert whole(b"".join(pipe.parts)) == TEXT
