"""Pages of HTTP ports, as a command asks for them: a short answer, within a time."""

from __future__ import annotations

import http.client
import json
from typing import Any, NamedTuple

from fasttree.client import TlsFiles
from fasttree.command.session import CommandError

#: A page that is longer is none of ours.
_BYTES_MAX = 1 << 20
_PORT_MAX = 65_535


class Page(NamedTuple):
    """An answer."""

    status: int
    body: bytes
    #: When the server said so by its own clock, as HTTP writes it; empty where it does not say.
    date: str


def page(address: str, path: str, timeout_s: float, tls: TlsFiles | None = None) -> Page:
    """What host:port answers. Blocks.

    Raises:
        CommandError: It does not, or says what is no answer.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) <= _PORT_MAX:
        raise CommandError(f"{address} is no host:port: write it as 127.0.0.1:50200")
    place = host.strip("[]"), int(port)
    connection = (
        http.client.HTTPConnection(*place, timeout=timeout_s)
        if tls is None
        else http.client.HTTPSConnection(*place, timeout=timeout_s, context=tls.context())
    )
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read(_BYTES_MAX + 1)
    except (OSError, http.client.HTTPException) as error:
        raise CommandError(
            f"http://{address}{path}: {getattr(error, 'strerror', None) or error or 'no answer'}"
        ) from None
    finally:
        connection.close()
    if len(body) > _BYTES_MAX:
        raise CommandError(f"http://{address}{path}: the answer is longer than {_BYTES_MAX:,} bytes")
    return Page(response.status, body, response.getheader("Date") or "")


def json_page(address: str, path: str, timeout_s: float, tls: TlsFiles | None = None) -> dict[str, Any]:
    """An object. Blocks. Raises CommandError."""
    found = page(address, path, timeout_s, tls)
    try:
        content = json.loads(found.body) if found.status == 200 else None
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise CommandError(
            f"http://{address}{path} answers {found.status}, and no JSON object: is it the service for DataTrax?"
        )
    return content
