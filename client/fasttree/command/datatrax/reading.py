"""CBLDATATRAX and the host file beside it, read by the code that knows them: no key is known here."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from fasttree.command.session import CommandError
from services.datatrax.cbldatatrax.checks import faults_of, remarks_of
from services.datatrax.cbldatatrax.configuration import Configuration
from services.datatrax.cbldatatrax.conversion import cluster_of, converted
from services.datatrax.cbldatatrax.explanation import Explained, explain
from services.datatrax.cbldatatrax.file import read_configuration
from services.shared.config.hosts_file import hosts_by_line, hosts_faults, read_lines
from services.shared.config.load import SettingsError
from services.shared.domain.addresses import Host
from services.shared.files.durable import make_folder, write_durably

#: Where the DataTrax host has its host files.
HOSTS_FOLDER = Path("/datatrax/fasttree")


class FoundAt(NamedTuple):
    """One fault or remark, and where it is."""

    place: str
    text: str


class Read(NamedTuple):
    """A configuration, and all that is to be said of it."""

    configuration: Configuration
    #: None where there is none.
    hosts_file: Path | None
    hosts: dict[int, Host]
    faults: list[FoundAt]
    remarks: list[FoundAt]


def read(file: Path, hosts_file: Path | None) -> Read:
    """Reads both. `hosts_file`: where not given, that of the DataTrax host, if it is there.

    Raises:
        CommandError: The file can't be read.
    """
    try:
        configuration = read_configuration(file)
    except SettingsError as error:
        raise CommandError(str(error)) from None
    if hosts_file is None:
        usual = usual_hosts(configuration)
        hosts_file = usual if usual.exists() else None
    hosts: dict[int, Host] = {}
    faults: list[FoundAt] = []
    if hosts_file is not None:
        faults = [_placed(text) for text in hosts_faults(hosts_file)]
        if not faults:
            hosts = hosts_by_line(hosts_file, read_lines(hosts_file))
            if not hosts:
                faults = [FoundAt(str(hosts_file), "has no node: write a line for each, host report-port instant-port")]
    own = [_at(file, *fault) for fault in faults_of(configuration, hosts_file, hosts)]
    return Read(
        configuration, hosts_file, hosts, own + faults, [_at(file, *each) for each in remarks_of(configuration)]
    )


def usual_hosts(configuration: Configuration) -> Path:
    """Where the host file is on the DataTrax host."""
    return HOSTS_FOLDER / f"hosts.{configuration.instant_port}"


def explained(file: Path, environment: str) -> list[Explained]:
    """What every key comes to. Raises CommandError where there is no such environment, or the file has a fault."""
    found = sound(file, None, with_hosts=False)
    names = found.configuration.environments
    if environment and environment not in names:
        raise CommandError(f"{file}: no environment {environment}; there are: {', '.join(names) or 'none'}")
    return list(explain(found.configuration, environment))


def sound(file: Path, hosts_file: Path | None, *, with_hosts: bool = True) -> Read:
    """Both, where nothing is wrong with them. Raises CommandError with the first fault and the number of the others."""
    found = read(file, hosts_file)
    if not with_hosts:
        found = found._replace(faults=[each for each in found.faults if each.place.startswith(str(file))])
    if found.faults:
        first, more = found.faults[0], len(found.faults) - 1
        others = f", and {more} more" if more else ""
        raise CommandError(f"{first.place}: {first.text}{others}; `fasttree datatrax config check` lists every fault")
    return found


def convert(file: Path, environment: str, hosts_file: Path | None, datatrax_host: str, folder: Path) -> list[Path]:
    """Writes the files of a cluster; returns them. Raises CommandError: nothing is written then."""
    found = sound(file, hosts_file)
    try:
        cluster_of(found.configuration, environment)
        if found.hosts_file is None:
            raise CommandError(f"{usual_hosts(found.configuration)} is not there: name the host file by --hosts")
        folder = folder.absolute()
        files = converted(found.configuration, environment, list(found.hosts.values()), datatrax_host, folder)
        there = [str(folder / name) for name in files if (folder / name).exists()]
        if there:
            raise CommandError(f"{there[0]} is there already: name another folder with --to, or remove it")
        make_folder(folder)
        for name, content in files.items():
            write_durably(folder / name, content)
    except SettingsError as error:
        raise CommandError(f"{file}: {error}") from None
    except OSError as error:
        raise CommandError(f"{folder}: can't write: {error.strerror or error}") from None
    return [folder / name for name in files]


def _at(file: Path, line: int, text: str) -> FoundAt:
    return FoundAt(f"{file}, line {line}" if line else str(file), text)


def _placed(text: str) -> FoundAt:
    place, _, rest = text.partition(": ")
    return FoundAt(place, rest)
