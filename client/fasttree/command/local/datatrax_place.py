"""Where a company's programs find what they know: as /datatrax/fasttree was in 2016, with CBLDATATRAX beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click

from fasttree.command.local.cluster_folder import HOSTS_HEADER
from fasttree.command.session import CommandError
from services.shared.files.durable import write_durably

CBLDATATRAX = "CBLDATATRAX"
#: Where CBLDATATRAX says nothing else, or is not there.
VIP_PORT = 50100
INSTANT_PORT = 50201
#: Where 2016 had the logs in a browser.
PAGES_PORT = 50200


class Configured(NamedTuple):
    """What CBLDATATRAX says of a cluster on this machine."""

    file: Path
    environment: str
    #: Stands for / in its paths; empty: / itself.
    root: str
    #: The cluster's.
    name: str
    #: Settings of [cluster] by which a new log begins with what the file says of customers.
    customers: tuple[str, ...]
    vip_port: int
    instant_port: int
    #: The folder of what each process keeps.
    kept: Path
    #: The folder that is watched for import files; None: the file names none.
    upload: Path | None


class DataTraxPlace(NamedTuple):
    """The folder, the local instant port, and what the file there says."""

    folder: Path
    port: int
    configured: Configured | None = None

    @property
    def spool(self) -> Path:
        return self.folder / f"FT{self.port}"

    @property
    def hosts(self) -> Path:
        return self.folder / f"hosts.{self.port}"

    def write_hosts(self, lines: Sequence[str]) -> None:
        """Writes the host file. One that is the company's own is kept beside it: it may want to go back."""
        content = self.hosts.read_bytes() if self.hosts.exists() else b""
        kept = sorted(self.folder.glob(f"{self.hosts.name}.before*"))
        is_theirs = bool(content) and not content.startswith(HOSTS_HEADER.encode())
        if is_theirs and not any(path.read_bytes() == content for path in kept):
            number = f"-{len(kept) + 1}" if kept else ""
            write_durably(self.hosts.with_name(f"{self.hosts.name}.before{number}"), content)
        write_durably(self.hosts, (HOSTS_HEADER + "".join(f"{line}\n" for line in lines)).encode())

    @property
    def channels(self) -> Path:
        """Where messages to downlines go."""
        return self.folder / "channels.toml"

    @property
    def opt_outs(self) -> Path:
        """Who wants none."""
        return self.folder / "opt-outs"

    @property
    def has_channels(self) -> bool:
        return self.channels.exists()


def place_of(
    folder: Path | None, port: int | None, file: Path | None, environment: str, root: Path | None
) -> DataTraxPlace | None:
    """The place; None where no folder is given. `file`: CBLDATATRAX in the folder, where not given and there.

    Raises:
        CommandError: The file has a fault, or no cluster of that environment.
        click.UsageError: Something of a place is given, and no folder.
    """
    if folder is None:
        given = {"--cbldatatrax": file, "--environment": environment, "--root": root, "--datatrax-port": port}
        if named := [option for option, value in given.items() if value]:
            raise click.UsageError(f"{' and '.join(named)} means nothing without --datatrax DIR.")
        return None
    folder = folder.absolute()
    usual = folder / CBLDATATRAX
    found = file or (usual if usual.exists() else None)
    if found is None:
        if environment or root:
            raise CommandError(f"{usual} does not exist, and --environment and --root speak of it: put it there")
        return DataTraxPlace(folder, port or INSTANT_PORT)
    configured = _configured(found.absolute(), environment, str(root.absolute()) if root else "")
    return DataTraxPlace(folder, port or configured.instant_port, configured)


def _configured(file: Path, environment: str, root: str) -> Configured:
    from services.datatrax.cbldatatrax.conversion import cluster_name, cluster_of, customer_assignments
    from services.datatrax.in_force.places import below, chosen_environment
    from services.datatrax.in_force.watching import look, sound
    from services.shared.config.load import SettingsError

    try:
        configuration = sound(look(file, None), file)
    except SettingsError as error:
        raise CommandError(str(error)) from None
    try:
        chosen = cluster_of(configuration, chosen_environment(configuration, environment))
    except SettingsError as error:
        raise CommandError(f"{file}: {error}") from None
    upload = chosen.text("upload")
    return Configured(
        file=file,
        environment=chosen.name,
        root=root,
        name=cluster_name(chosen),
        customers=customer_assignments(configuration),
        vip_port=chosen.port,
        instant_port=configuration.instant_port,
        kept=Path(below(root, chosen.text("dir"))),
        upload=Path(below(root, upload)) if upload else None,
    )
