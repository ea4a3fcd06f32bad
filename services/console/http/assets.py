"""The pages' own files, read once: nothing that a request names is looked for on a disk."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from aiohttp import web

FOLDER: Final = Path(__file__).parents[1] / "assets"
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}


class Asset(NamedTuple):
    """One file, as it is sent."""

    content_type: str
    packed: bytes
    etag: str


def read_assets(folder: Path = FOLDER) -> dict[str, Asset]:
    """By path from the folder, such as vendor/uPlot.iife.min.js."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if (kind := _TYPES.get(path.suffix)) is not None:
            data = path.read_bytes()
            etag = f'"{hashlib.sha256(data).hexdigest()[:24]}"'
            found[path.relative_to(folder).as_posix()] = Asset(kind, gzip.compress(data, 9, mtime=0), etag)
    return found


def asset_routes(assets: dict[str, Asset]) -> Iterator[web.RouteDef]:
    """One for each; the page itself also at /."""
    for name, asset in assets.items():
        yield web.get(f"/{name}", _sender(asset))
    yield web.get("/", _sender(assets["index.html"]))


def _sender(asset: Asset):  # type: ignore[no-untyped-def]  # aiohttp's own type of a handler is private
    async def send(request: web.Request) -> web.Response:
        headers = {"ETag": asset.etag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
        if request.headers.get("If-None-Match") == asset.etag:
            return web.Response(status=304, headers=headers)
        body = asset.packed
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            headers["Content-Encoding"] = "gzip"
        else:
            body = gzip.decompress(body)
        return web.Response(body=body, headers={**headers, "Content-Type": asset.content_type})

    return send
