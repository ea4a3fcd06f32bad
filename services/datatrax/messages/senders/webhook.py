"""Letters to a gateway over HTTP: one POST each, signed.

    POST /messages HTTP/1.1
    Content-Type: application/json
    Idempotency-Key: autumn-2026/10420
    X-FastTree-Timestamp: 1764260000
    X-FastTree-Signature: v1=8f0c…   HMAC-SHA256, in hexadecimal, of the timestamp, a point and the body, by the key

    {"key": "autumn-2026/10420", "message_id": "autumn-2026", "member_id": "10420", "channel": "sms", "text": "…",
     "columns": {"phone": "…"}}

The receiver answers 2xx for a letter that it has, also where it had it before. 400, 410, 413 and 422 refuse the letter
for good. Anything else, and no answer, means that it is handed over again, with the same key.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import re
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Final

import aiohttp
import msgspec

from services.datatrax.messages.events import Word
from services.datatrax.messages.senders.sender import Answer, Letter
from services.shared.config.bounds import OptionalPath, Seconds
from services.shared.domain.sentences import plain

KEY_BYTES_MIN, KEY_BYTES_MAX = 16, 4_096
_REFUSED: Final = frozenset({400, 410, 413, 422})
_ANSWER_BYTES_MAX: Final = 16 << 10
_SAID_MAX: Final = 200
_URL: Final = r"\Ahttps?://[A-Za-z0-9_.\[\]:-]{1,300}(?:/[!-~]{0,2000})?\Z"
_SECONDS = re.compile(r"[0-9]{1,100}")


class WebhookOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a channel with this sender is set by."""

    #: Where letters are posted.
    url: Annotated[str, msgspec.Meta(pattern=_URL)]
    #: A file with the key that they are signed with: at least 16 bytes; blanks and line ends around them do not count.
    key_file: Annotated[OptionalPath, msgspec.Meta(min_length=1)]
    #: How long an answer may take, in seconds.
    timeout_s: Seconds = 10.0

    def problem(self) -> str | None:
        """What can't be, though each value is within its bounds; blocks. Never shows the key."""
        try:
            key = _key_of(Path(self.key_file))
        except OSError as error:
            return f"key_file: {self.key_file}: {error.strerror or error}"
        if not KEY_BYTES_MIN <= len(key) <= KEY_BYTES_MAX:
            return (
                f"key_file: {self.key_file} has a key of {len(key)} bytes: write {KEY_BYTES_MIN} to {KEY_BYTES_MAX:,} "
                "random ones, as `openssl rand -hex 32` does"
            )
        return None


class WebhookSender:
    """See Sender. `window`: letters at a time."""

    def __init__(self, options: WebhookOptions, window: int, wall_s: Callable[[], float] = time.time) -> None:
        self._options, self._window, self._wall_s = options, window, wall_s
        self._key = _key_of(Path(options.key_file))
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._window),
            timeout=aiohttp.ClientTimeout(total=self._options.timeout_s),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    def has(self, message_id: str) -> Iterator[str]:
        """Nobody can be asked: the receiver knows letters by their keys."""
        return iter(())

    async def hand_over(self, letter: Letter) -> Answer:
        assert self._session is not None, "it was not started"
        body = json.dumps(
            {"key": letter.key, **letter._asdict(), "columns": dict(letter.columns)}, ensure_ascii=False
        ).encode(errors="replace")
        at = str(int(self._wall_s()))
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": letter.key,
            "X-FastTree-Timestamp": at,
            "X-FastTree-Signature": signature(self._key, at, body),
        }
        try:
            async with self._session.post(
                self._options.url, data=body, headers=headers, allow_redirects=False
            ) as response:
                said = await response.content.read(_ANSWER_BYTES_MAX)
                return _answer(response, said)
        except TimeoutError:
            return Answer(Word.AGAIN, f"no answer within {self._options.timeout_s:g} s")
        except (aiohttp.ClientError, ssl.SSLError, OSError, ValueError) as error:
            return Answer(Word.AGAIN, plain(f"{type(error).__name__}: {error}")[:_SAID_MAX])

    async def finish(self, message_id: str) -> None:
        """Nothing: each letter was a request of its own."""

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.close()
            await asyncio.sleep(0)  # connections are closed in the loop's next turn


def signature(key: bytes, at: str, body: bytes) -> str:
    """What stands in X-FastTree-Signature; `at`: the text of X-FastTree-Timestamp."""
    return "v1=" + hmac.new(key, at.encode() + b"." + body, hashlib.sha256).hexdigest()


def _answer(response: aiohttp.ClientResponse, said: bytes) -> Answer:
    if 200 <= response.status < 300:
        return Answer(Word.TAKEN, str(response.status))
    text = plain(said[:_SAID_MAX].decode(errors="replace")).strip()
    reason = f"{response.status} {plain(response.reason or '')}".strip()[:_SAID_MAX]
    if response.status in _REFUSED:
        return Answer(Word.REFUSED, reason, detail=text)
    after = response.headers.get("Retry-After", "")
    return Answer(Word.AGAIN, reason, float(after) if _SECONDS.fullmatch(after) else 0.0, text)


def _key_of(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(KEY_BYTES_MAX + 100).strip()
