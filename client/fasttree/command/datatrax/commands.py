"""`fasttree datatrax`: what a company brings along from DataTrax."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TypedDict

import click

from fasttree.client.counts import counted
from fasttree.command.datatrax.bonus_export import bonus_export
from fasttree.command.datatrax.check import check as check_all
from fasttree.command.datatrax.jobs import run_job, transfer
from fasttree.command.datatrax.programs import distributor_change, enrol, leave, order, tree_change
from fasttree.command.datatrax.status import status
from fasttree.command.output import print_json, print_table
from fasttree.command.session import CommandError, Session, json_option
from fasttree.command.shapes import prints

_FILE = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
_HOSTS = click.option(
    "--hosts",
    "hosts_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The host file; /datatrax/fasttree/hosts.PORT where not given.",
)


class FoundAtJson(TypedDict):
    """A fault or a remark, and where it is."""

    place: str
    text: str


class ConfigurationCheckedJson(TypedDict):
    """What is to be said of CBLDATATRAX and its host file."""

    file: str
    hosts_file: str
    clusters: list[str]
    faults: list[FoundAtJson]
    remarks: list[FoundAtJson]


class ExplainedJson(TypedDict):
    """A key: what it comes to, where that is from, what it does here, and did in 2016."""

    name: str
    value: str
    source: str
    effect: str
    when: str
    meaning_2016: str


class FilesJson(TypedDict):
    """Files that were written."""

    files: list[str]


@click.group()
def datatrax() -> None:
    """For companies that come from DataTrax."""


datatrax.add_command(status)
datatrax.add_command(check_all)


@datatrax.group()
def config() -> None:
    """CBLDATATRAX: its section [FastTree], as DataTrax has it."""


@config.command()
@prints(ConfigurationCheckedJson)
@_FILE
@_HOSTS
@json_option
def check(session: Session, file: Path, hosts_file: Path | None) -> None:
    """Every fault of CBLDATATRAX and its host file, a line each with the mend; exit code 1 where there is one."""
    from fasttree.command.datatrax.reading import read, usual_hosts

    found = read(file, hosts_file)
    if session.json:
        print_json(
            ConfigurationCheckedJson(
                file=str(file),
                hosts_file=str(found.hosts_file or ""),
                clusters=[each.name for each in found.configuration.environments.values() if each.has_cluster],
                faults=[FoundAtJson(place=each.place, text=each.text) for each in found.faults],
                remarks=[FoundAtJson(place=each.place, text=each.text) for each in found.remarks],
            )
        )
    else:
        for each in found.faults:
            click.echo(f"{each.place}: {each.text}")
        for each in found.remarks:
            click.echo(f"remark: {each.place}: {each.text}")
    if found.faults:
        raise CommandError(f"{file}: {counted(len(found.faults), 'fault')}")
    if not session.json:
        beside = found.hosts_file or (
            f"no host file, so nodes and VIP are not held against each other: {usual_hosts(found.configuration)} is "
            "not there; name it by --hosts"
        )
        click.echo(f"{file}: good (beside {beside})")


@config.command()
@prints(list[ExplainedJson])
@_FILE
@click.option("--environment", default="", help="One alone, such as live, beside what all share.")
@click.option("--wide", is_flag=True, help="With when a change takes effect, and what each key did in 2016.")
@json_option
def explain(session: Session, file: Path, environment: str, wide: bool) -> None:
    """Every key: what it comes to, where that is from, and what it does here."""
    from fasttree.command.datatrax.reading import explained

    rows = explained(file, environment)
    if session.json:
        print_json([row._asdict() for row in rows])
        return
    columns = ["key", "value", "from", "what it does here"]
    cells = [[row.name, row.value, row.source, row.effect] for row in rows]
    if wide:
        columns += ["a change takes effect", "what it did in 2016"]
        for row, explained_row in zip(cells, rows, strict=True):
            row += [explained_row.when, explained_row.meaning_2016]
    print_table(columns, cells)


@config.command()
@prints(FilesJson)
@_FILE
@click.option("--environment", required=True, help="Whose cluster it is, such as live.")
@_HOSTS
@click.option("--datatrax-host", default="", help="This host, as nodes reach it; its own name where not given.")
@click.option("--to", "folder", type=click.Path(path_type=Path), required=True, help="Folder to write the files into.")
@json_option
def convert(
    session: Session, file: Path, environment: str, hosts_file: Path | None, datatrax_host: str, folder: Path
) -> None:
    """Writes cluster.toml, the host file and endpoints.json of that environment's cluster."""
    from fasttree.command.datatrax.reading import convert as write

    written = write(file, environment, hosts_file, datatrax_host or socket.getfqdn(), folder)
    if session.json:
        print_json(FilesJson(files=[str(path) for path in written]))
        return
    for path in written:
        click.echo(path)
    click.echo(f"Next: fasttree config check --config {written[0]}")


datatrax.add_command(transfer)
datatrax.add_command(run_job)
datatrax.add_command(bonus_export)
for program in (order, enrol, distributor_change, tree_change, leave):
    datatrax.add_command(program)
