"""Downloads: resumed where they stopped, from one source after another, not believed before the whole is right."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from fasttree.v1 import types_pb2
from services.shared.files.chunks import make_chunk
from services.shared.files.downloads import DownloadFailedError, OpenSource, Wanted, fetch, serve_chunks
from services.shared.serving.errors import DataLossError, NotFoundError, OutOfRangeError

CONTENT = bytes(range(256)) * 8_000  # several chunks
WANTED = Wanted(len(CONTENT), hashlib.sha256(CONTENT).digest())


async def served(path: Path, offset: int, size_bytes: int) -> bytes:
    data = b""
    async for chunk in serve_chunks(path, offset, size_bytes):
        assert chunk.offset == offset + len(data)
        data += chunk.data
    return data


@pytest.mark.parametrize("offset", [0, 1, 777_777, len(CONTENT) - 1, len(CONTENT)])
async def test_a_file_is_served_from_any_offset(tmp_path: Path, offset: int) -> None:
    (tmp_path / "file").write_bytes(CONTENT)
    assert await served(tmp_path / "file", offset, len(CONTENT)) == CONTENT[offset:]


async def test_a_file_that_is_not_there_or_not_whole_is_not_served(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with pytest.raises(NotFoundError, match="removed"):
        await served(path, 0, 10)
    path.write_bytes(CONTENT)
    with pytest.raises(OutOfRangeError) as caught:
        await served(path, len(CONTENT) + 1, len(CONTENT))
    assert caught.value.field == "offset"
    with pytest.raises(DataLossError, match=f"ends at byte {len(CONTENT)}"):
        await served(path, len(CONTENT) - 5, len(CONTENT) + 1)
    with pytest.raises(DataLossError, match="can't be read"):
        await served(tmp_path, 0, 10)


async def test_a_file_that_is_removed_meanwhile_is_served_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    data = b""
    async for chunk in serve_chunks(path, 0, len(CONTENT)):
        path.unlink(missing_ok=True)
        data += chunk.data
    assert data == CONTENT


class Sources:
    """Sources by name: each gives a content, `cuts` after so many bytes once, or falls silent."""

    def __init__(self, **contents: bytes) -> None:
        self.contents = contents
        self.cuts: dict[str, int] = {}
        self.silent: set[str] = set()
        #: Those that send a byte at a time, and how long they wait before each.
        self.trickles: dict[str, float] = {}
        self.asked: list[tuple[str, int]] = []
        self.sent_bytes = 0

    def open(self) -> OpenSource:
        async def chunks(source: str, offset: int) -> AsyncGenerator[types_pb2.Chunk, None]:
            self.asked.append((source, offset))
            if source in self.silent:
                await asyncio.Event().wait()
            for start in range(offset, len(self.contents[source]) if source in self.trickles else 0):
                await asyncio.sleep(self.trickles[source])
                yield make_chunk(start, self.contents[source][start : start + 1])
            end = self.cuts.pop(source, len(self.contents[source]))
            for start in range(offset, end, 100_000):
                data = self.contents[source][start : min(start + 100_000, end)]
                self.sent_bytes += len(data)
                yield make_chunk(start, data)

        return chunks


async def fetched(sources: Sources, part: Path, *names: str) -> bytes:
    await fetch(WANTED, part, names, sources.open(), 0.2, lambda share: None)
    return part.read_bytes()


async def test_a_download_goes_on_where_it_was_cut(tmp_path: Path) -> None:
    sources = Sources(first=CONTENT, second=CONTENT)
    sources.cuts["first"] = 500_000
    assert await fetched(sources, tmp_path / "a.part", "first", "second") == CONTENT
    assert sources.asked == [("first", 0), ("second", 500_000)]
    assert sources.sent_bytes == len(CONTENT)


async def test_one_that_was_given_up_goes_on_at_the_next_try(tmp_path: Path) -> None:
    sources = Sources(only=CONTENT[:300_000])
    with pytest.raises(DownloadFailedError, match="ended at byte 300000"):
        await fetched(sources, tmp_path / "a.part", "only")
    sources = Sources(only=CONTENT)
    assert await fetched(sources, tmp_path / "a.part", "only") == CONTENT
    assert sources.asked == [("only", 300_000)]


async def test_another_beginning_is_thrown_away_and_asked_for_again(tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(b"x" * 300_000)
    sources = Sources(only=CONTENT)
    assert await fetched(sources, tmp_path / "a.part", "only") == CONTENT
    assert sources.asked == [("only", 300_000), ("only", 0)]


async def test_a_silent_source_is_given_up(tmp_path: Path) -> None:
    sources = Sources(quiet=CONTENT, other=CONTENT)
    sources.silent.add("quiet")
    assert await fetched(sources, tmp_path / "a.part", "quiet", "other") == CONTENT
    with pytest.raises(DownloadFailedError, match=r"quiet: silent, or nearly so, for 0.2 s"):
        await fetched(sources, tmp_path / "b.part", "quiet")


async def test_a_source_that_trickles_is_given_up_and_what_it_brought_is_kept(tmp_path: Path) -> None:
    sources = Sources(slow=CONTENT, other=CONTENT)
    sources.trickles["slow"] = 0.01
    assert await fetched(sources, tmp_path / "a.part", "slow", "other") == CONTENT
    assert sources.asked[0] == ("slow", 0)
    assert sources.asked[1][0] == "other"
    assert 0 < sources.asked[1][1] < 1_000


async def test_a_wrong_file_is_never_kept(tmp_path: Path) -> None:
    sources = Sources(liar=CONTENT[:-1] + b"x")
    with pytest.raises(DownloadFailedError, match="SHA-256"):
        await fetched(sources, tmp_path / "a.part", "liar")
    assert not (tmp_path / "a.part").exists()
    with pytest.raises(DownloadFailedError, match="no source"):
        await fetched(sources, tmp_path / "a.part")
