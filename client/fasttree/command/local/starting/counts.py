"""How many coordinators and pushers `fasttree up` starts: as many as it is told, else as at its last start there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import click

from fasttree.command.local.cluster_folder import SEVERAL_MAX, ClusterFolder
from fasttree.command.local.parts import COORDINATOR, PUSHER
from fasttree.command.machines.plan import Machines
from fasttree.command.ranges import WholeRange


class Counts(NamedTuple):
    """Of each, how many."""

    coordinators: int
    pushers: int

    @classmethod
    def of(cls, machines: Machines) -> Counts:
        """One of everything on each."""
        return cls(machines.count, machines.count)


def counts_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of `fasttree up` that say so."""
    for option in (
        click.option(
            "--coordinators",
            type=WholeRange(1, SEVERAL_MAX),
            help="Coordinators over one record in PostgreSQL or etcd (coordinator.store), of which one is active; "
            "as many as at the last start, 1 at first.",
        ),
        click.option(
            "--pushers",
            type=WholeRange(1, SEVERAL_MAX),
            help="Pushers over one log, of which one is active; as many as at the last start, 1 at first.",
        ),
    ):
        command = option(command)
    return command


def counts_of(
    home: ClusterFolder, coordinators: int | None, pushers: int | None, assignments: tuple[str, ...]
) -> Counts:
    """What is given, else what was at the last start. Raises CommandError."""
    counts = Counts(coordinators or home.read_count(COORDINATOR), pushers or home.read_count(PUSHER))
    if counts.coordinators > 1:
        from fasttree.command.settings.reading import check_shared_record  # it loads the settings of every service

        check_shared_record(counts.coordinators, home.settings if home.settings.exists() else None, assignments)
    return counts


def keep_counts(home: ClusterFolder, counts: Counts) -> None:
    """The next start has as many."""
    home.write_count(COORDINATOR, counts.coordinators)
    home.write_count(PUSHER, counts.pushers)
