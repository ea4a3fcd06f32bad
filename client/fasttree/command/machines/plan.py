"""Which machines there are, where each is, and what its parts are set by."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from fasttree.command.ranges import WholeRange

#: Of one machine: more is what no bench needs, and each has an address of its own.
MACHINES_MIN, MACHINES_MAX = 2, 9
_NUMBER = re.compile(r"\d+\Z")


@dataclass(frozen=True, kw_only=True)
class Machines:
    """So many machines over one PostgreSQL server.

    Attributes:
        url, password_file: The server, as `coordinator.postgresql_url` and `pusher.log_url` have it.
        imports: The folder of import files, which all of them see, as they would a mount.
    """

    count: int
    url: str
    password_file: str = ""
    imports: Path

    @property
    def names(self) -> list[str]:
        """M1, M2, …"""
        return [f"M{number}" for number in range(1, self.count + 1)]

    @property
    def hosts(self) -> list[str]:
        """Their addresses, in this order: the whole of 127.0.0.0/8 is this machine's own."""
        return [f"127.0.0.{number + 1}" for number in range(1, self.count + 1)]

    def host_of(self, part: str) -> str:
        """Where a coordinator, node or pusher is: all that have the same number are on one machine."""
        found = _NUMBER.search(part)
        return self.hosts[int(found[0]) - 1 if found else 0]

    def coordinator_settings(self) -> tuple[str, ...]:
        """What one has beside its name and ports."""
        return (
            "coordinator.store=postgresql",
            f"coordinator.postgresql_url={self.url}",
            f"coordinator.postgresql_password_file={self.password_file}",
        )

    def pusher_settings(self) -> tuple[str, ...]:
        """The same of a pusher."""
        return (
            "pusher.log_store=postgresql",
            f"pusher.log_url={self.url}",
            f"pusher.log_password_file={self.password_file}",
            f"pusher.import_folder={self.imports}",
        )


def parts_of(machine: str, everything: list[str]) -> list[str]:
    """Those of the parts that are on that machine, such as M2."""

    def number_of(name: str) -> int:
        found = _NUMBER.search(name)
        return int(found[0]) if found else 1

    return [name for name in everything if number_of(name) == number_of(machine)]


def machines_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of `fasttree up` that are about them."""
    for option in (
        click.option("--postgresql-password-file", default="", help="With --machines: the server's password, a line."),
        click.option(
            "--postgresql",
            default="",
            metavar="URL",
            help="With --machines: the server that has the log and the coordinators' record.",
        ),
        click.option(
            "--machines",
            "machine_count",
            type=WholeRange(MACHINES_MIN, MACHINES_MAX),
            help="Machines, each an address of loopback with a coordinator, a node and a pusher.",
        ),
    ):
        command = option(command)
    return command


def machines_of(count: int | None, url: str, password_file: str, imports: Path) -> Machines | None:
    """What the options say. Raises click.UsageError."""
    if count is None:
        if url or password_file:
            raise click.UsageError("--postgresql means something with --machines alone; else set pusher.log_url")
        return None
    if not url:
        raise click.UsageError("--machines needs --postgresql URL: what no machine may lose is kept outside of them")
    return Machines(count=count, url=url, password_file=password_file, imports=imports)
