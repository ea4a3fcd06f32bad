"""Headers for the collector, such as an API key's: out of a file that nobody else may read."""

from __future__ import annotations

import re
import stat
from pathlib import Path

from services.shared.telemetry.settings import TelemetryError

_LINE = re.compile(r"\A([a-z0-9_.-]{1,100}):[ \t]*([ -~]{0,4096})\Z")
_HEADERS_MAX = 32
_BYTES_MAX = 64 << 10
#: Not these: they are gRPC's own.
_OWN = ("grpc-", ":")


def read_headers(path: str) -> dict[str, str]:
    """By their names; none where there is no path. No error has a value in it.

    Raises:
        OSError: It can't be read.
        TelemetryError: Others may read it, or a line is none.
    """
    if not path:
        return {}
    with Path(path).open("rb") as file:
        if stat.S_IMODE(Path(path).stat().st_mode) & 0o077:
            raise TelemetryError(f"telemetry.headers_file: others may read {path}: chmod 600 {path}")
        content = file.read(_BYTES_MAX + 1)
    if len(content) > _BYTES_MAX:
        raise TelemetryError(f"telemetry.headers_file: {path} is larger than {_BYTES_MAX} bytes")
    found: dict[str, str] = {}
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        parsed = _LINE.match(text)
        if parsed is None or parsed[1].startswith(_OWN) or len(found) == _HEADERS_MAX:
            raise TelemetryError(
                f"telemetry.headers_file: {path}, line {number} is no header: a line is `name: value`, the name in "
                f"small letters, {_HEADERS_MAX} at most"
            )
        found[parsed[1]] = parsed[2]
    return found
