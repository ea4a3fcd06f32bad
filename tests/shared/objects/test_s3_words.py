"""A store that does not do what it is asked is told with what was to be done, and with the mend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from services.pusher.import_store.settings import ImportStoreSettings
from services.shared.objects.objects import StoreAwayError
from services.shared.objects.s3 import S3Objects

DENIED = "access is denied (AccessDenied) where objects are to be {}: look after its keys"
ELSEWHERE = "in another region, or at another address: set pusher.import_region and pusher.import_endpoint"
#: Each page says that there is more, and is the one before.
SAME_PAGE = (
    "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken><Contents>"
    "<Key>company/a-1/0</Key><LastModified>2026-11-28T21:00:00.000Z</LastModified><ETag>x</ETag><Size>1</Size>"
    "</Contents></ListBucketResult>"
)


@asynccontextmanager
async def store(status: str, body: str, folder: Path) -> AsyncIterator[S3Objects]:
    """Objects in a store that answers every request so."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write((head + body).encode())
        await writer.drain()
        writer.close()

    keys = folder / "credentials"
    keys.write_text("[default]\naws_access_key_id = fasttree\naws_secret_access_key = secret\n")
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        settings = ImportStoreSettings(
            import_store="s3",
            import_url="s3://bucket",
            import_endpoint=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}",
            import_credentials_file=str(keys),
            import_retries=0,
        )
        yield S3Objects(settings.place, "company")


def error(code: str) -> str:
    """As a store says it."""
    return f"<Error><Code>{code}</Code><Message>no</Message></Error>"


@pytest.mark.parametrize(
    ("ask", "done"),
    [
        (lambda objects: objects.sizes(""), "listed"),
        (lambda objects: objects.get("a-1/0", 10), "read"),
        (lambda objects: objects.put_new("a-1/0", b"x"), "written"),
        (lambda objects: objects.remove(["a-1/0"]), "deleted"),
    ],
)
async def test_which_right_is_lacking_is_told(
    ask: Callable[[S3Objects], Awaitable[object]], done: str, tmp_path: Path
) -> None:
    async with store("403 Forbidden", error("AccessDenied"), tmp_path) as objects:
        with pytest.raises(StoreAwayError) as caught:
            await ask(objects)
    assert DENIED.format(done) in str(caught.value)


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        ("403 Forbidden", error("RequestTimeTooSkewed"), "its clock and this machine's are far apart"),
        ("301 Moved Permanently", error("PermanentRedirect"), ELSEWHERE),
        ("301 Moved Permanently", "", ELSEWHERE),
        ("400 Bad Request", error("AuthorizationHeaderMalformed"), ELSEWHERE),
        ("507 Insufficient Storage", error("XMinioStorageFull"), "it is full: make room there"),
        ("507 Insufficient Storage", "", "it is full: make room there"),
        ("503 Service Unavailable", error("SlowDown"), "it answers 503 Service Unavailable (SlowDown): look after it"),
        ("200 OK", "", "no S3-compatible store's: look after its address (pusher.import_endpoint)"),
        ("200 OK", SAME_PAGE, "it lists the same objects again and again"),
    ],
)
async def test_what_a_store_answers_is_told_with_its_mend(status: str, body: str, words: str, tmp_path: Path) -> None:
    async with store(status, body, tmp_path) as objects:
        with pytest.raises(StoreAwayError) as caught:
            await asyncio.wait_for(objects.sizes(""), 60)
    assert words in str(caught.value)
