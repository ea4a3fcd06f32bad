"""Changes of the host file that coordinator, pusher and nodes follow.

A change is for good and in one step: whoever reads the file has the old one or the new one, whole. All other lines stay
as they are, comments among them, and so do the file's rights and its owner. What could not be read is never written.
"""

from __future__ import annotations

from pathlib import Path

from fasttree.command.session import CommandError
from services.shared.config.hosts_file import FORM, hosts_by_line, read_lines
from services.shared.config.load import SettingsError
from services.shared.domain.addresses import Host
from services.shared.files.durable import changing, replace_content


def add_host(path: Path, line: str) -> Host:
    """Writes one more line. Raises CommandError where the file is bad, or would be with it: it is as it was then."""
    path = path.resolve()
    try:
        with changing(path):
            lines = read_lines(path)
            if lines and not lines[-1]:
                lines.pop()
            lines.append(line)
            found = hosts_by_line(path, lines)
            if len(lines) not in found:
                raise CommandError(f"{line!r} is no line of a host file: {FORM}")
            _write(path, lines)
    except (SettingsError, OSError) as error:
        raise CommandError(f"{error}; nothing was changed") from None
    return found[len(lines)]


def remove_host(path: Path, report_address: str) -> Host:
    """Takes the line of that report address out. Raises CommandError as `add_host`, and where there is no such line, or
    no other one."""
    path = path.resolve()
    try:
        with changing(path):
            lines = read_lines(path)
            found = hosts_by_line(path, lines)
            number = next((line for line, host in found.items() if host.report_address == report_address), 0)
            if not number:
                there = ", ".join(host.report_address for host in found.values()) or "none"
                raise CommandError(f"{path}: no line has the report address {report_address}; there are: {there}")
            if len(found) == 1:
                raise CommandError(f"{path}: {report_address} is the only node: nobody would answer reports without it")
            del lines[number - 1]
            _write(path, lines)
    except (SettingsError, OSError) as error:
        raise CommandError(f"{error}; nothing was changed") from None
    return found[number]


def _write(path: Path, lines: list[str]) -> None:
    replace_content(path, ("\n".join(lines).rstrip("\n") + "\n").encode())
