"""The host file of a cluster: one node a line, `host report-port instant-port`, in order of preference."""

from __future__ import annotations

import re
from pathlib import Path

from services.shared.config.load import SettingsError
from services.shared.config.text_file import read_text_file
from services.shared.domain.addresses import HOSTS_MAX, PORT_MAX, PORT_PATTERN, Host, is_host
from services.shared.domain.sentences import quoted

#: The file is read each second.
LINES_MAX = HOSTS_MAX
_LINE_BYTES_MAX = 1_000
_PORT = re.compile(PORT_PATTERN)
_BLANKS = " \t\r"
#: What a line is.
FORM = f"expected `host report-port instant-port` with ports 1-{PORT_MAX}, such as `ftsp01.example.com 50100 50201`"


def read_hosts_file(path: Path) -> list[Host]:
    """Reads a host file.

    Blank lines and lines that begin with `#` are passed over. Blocks: it reads the disk.

    Raises:
        SettingsError: The file can't be read, or a line is malformed; names the line and what it should be.
    """
    return list(hosts_by_line(path, read_lines(path)).values())


def hosts_faults(path: Path) -> list[str]:
    """Everything that is wrong with a host file: a line each, that `read_hosts_file` would refuse it for."""
    try:
        lines = read_lines(path)
    except SettingsError as error:
        return [str(error)]
    return _judged(path, lines)[1]


def read_lines(path: Path) -> list[str]:
    """The lines of a host file, whatever they say. Raises SettingsError where it can't be read."""
    try:
        lines = read_text_file(path, LINES_MAX * _LINE_BYTES_MAX).split("\n")
    except OSError as error:
        raise SettingsError(f"{path}: can't read the host file: {error}") from error
    if len(lines) > LINES_MAX + 1:
        raise SettingsError(f"{path}: more than {LINES_MAX} lines: a host file has one for each node")
    return lines


def hosts_by_line(path: Path, lines: list[str]) -> dict[int, Host]:
    """The hosts by their line's number, from 1. Raises SettingsError, which names the line and what it should be."""
    hosts, faults = _judged(path, lines)
    if faults:
        raise SettingsError(faults[0])
    return hosts


def _judged(path: Path, lines: list[str]) -> tuple[dict[int, Host], list[str]]:
    """The hosts by their line's number, and what is wrong with the other lines."""
    hosts: dict[int, Host] = {}
    faults: list[str] = []
    taken: set[str] = set()
    for number, line in enumerate(lines, 1):
        if not line.strip(_BLANKS) or line.lstrip(_BLANKS).startswith("#"):
            continue
        host = _parse(line)
        if host is None:
            faults.append(f"{path}, line {number}: {FORM}; found {quoted(line.strip(_BLANKS))}")
            continue
        hosts[number] = host
        for address in (host.report_address, host.instant_address):
            if address in taken:
                faults.append(f"{path}, line {number}: {address} stands here twice; remove one")
            taken.add(address)
    return hosts, faults


def _parse(line: str) -> Host | None:
    fields = [field for field in re.split(r"[ \t\r]+", line) if field]
    ports = [int(field) for field in fields[1:] if _PORT.fullmatch(field)]
    if len(fields) != 3 or len(ports) != 2 or not is_host(fields[0]):
        return None
    return Host(fields[0], ports[0], ports[1])
