"""The host file of a cluster: one node a line, `host report-port instant-port`, in order of preference."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from services.shared.config.load import SettingsError

PORT_MAX = 65535
_PORT = re.compile(r"[1-9][0-9]{0,4}")


class Host(NamedTuple):
    """One line of a host file."""

    host: str
    report_port: int
    instant_port: int

    @property
    def report_address(self) -> str:
        """host:port of the report port."""
        return f"{self.host}:{self.report_port}"

    @property
    def instant_address(self) -> str:
        """host:port of the instant port."""
        return f"{self.host}:{self.instant_port}"


def read_hosts_file(path: Path) -> list[Host]:
    """Reads a host file.

    Blank lines and lines that begin with `#` are passed over.

    Raises:
        SettingsError: The file can't be read, or a line is malformed; names the line and what it should be.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: can't read the host file: {error}") from error
    hosts: list[Host] = []
    taken: set[str] = set()
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        host = _parse(path, number, line)
        for address in (host.report_address, host.instant_address):
            if address in taken:
                raise SettingsError(f"{path}, line {number}: {address} stands here twice; remove one")
            taken.add(address)
        hosts.append(host)
    return hosts


def _parse(path: Path, number: int, line: str) -> Host:
    fields = line.split()
    ports = [int(field) for field in fields[1:] if _PORT.fullmatch(field) and int(field) <= PORT_MAX]
    if len(fields) != 3 or len(ports) != 2:
        raise SettingsError(
            f"{path}, line {number}: expected `host report-port instant-port` with ports 1-{PORT_MAX}, "
            f"such as `ftsp01.example.com 50100 50201`; found {line.strip()[:80]!r}"
        )
    return Host(fields[0], ports[0], ports[1])
