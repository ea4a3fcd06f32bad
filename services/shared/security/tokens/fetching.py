"""Keys of an address: asked for with bounds on time and size, and without going where an answer sends us."""

from __future__ import annotations

import asyncio
import ssl

import aiohttp

from services.shared.domain.sentences import plain
from services.shared.security.settings import TlsError
from services.shared.security.tokens.keys import BYTES_MAX, Keys, read_keys
from services.shared.security.tokens.settings import TokenSettings


class KeysError(Exception):
    """Why there are no keys from there now: one line."""


async def fetch(settings: TokenSettings) -> Keys:
    """The keys that the address has now. Raises KeysError."""
    url = settings.keys
    try:
        context = await asyncio.to_thread(ssl.create_default_context, cafile=settings.keys_ca or None)
        timeout = aiohttp.ClientTimeout(total=settings.keys_timeout_s)
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
            session.get(url, allow_redirects=False, ssl=context, headers={"Accept": "application/json"}) as answer,
        ):
            if answer.status != 200:
                raise KeysError(f"{url} answers {answer.status} in place of keys")
            content = bytearray()
            async for piece in answer.content.iter_chunked(16 << 10):
                content += piece
                if len(content) > BYTES_MAX:
                    raise KeysError(f"{url} sends more than {BYTES_MAX:,} bytes in place of keys")
        return read_keys(content.decode(), url)
    except TimeoutError:
        raise KeysError(f"{url} does not answer within {settings.keys_timeout_s:g} s") from None
    except UnicodeDecodeError:
        raise KeysError(f"{url} sends no UTF-8") from None
    except (aiohttp.ClientError, OSError) as error:
        raise KeysError(f"{url} can't be asked: {plain(str(error) or type(error).__name__)}") from None
    except TlsError as error:
        raise KeysError(str(error)) from None
