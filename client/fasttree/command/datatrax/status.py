"""`fasttree datatrax status`: what of CBLDATATRAX the running service goes by."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypedDict

import click

from fasttree.client import Endpoints
from fasttree.client.calls.pages import PageError, Pages
from fasttree.command.output import print_json, print_table
from fasttree.command.session import CommandError, Session, common_options, run
from fasttree.command.shapes import prints
from fasttree.command.terminal import on_one_line

#: Where the service has its HTTP port, where no endpoints file says so.
DEFAULT_HTTP = "127.0.0.1:50200"


class WaitingChangeJson(TypedDict):
    """A change of CBLDATATRAX that is not in force yet; line 0: no line says it any more."""

    line: int
    name: str
    before: str
    after: str
    when: str


class InForceJson(TypedDict, total=False):
    """What of CBLDATATRAX the running service goes by; nothing where it was started without one."""

    file: str
    environment: str
    takes_updates: bool
    why_not: str
    refused: list[str]
    waiting: list[WaitingChangeJson]
    values: dict[str, str]


@click.command()
@prints(InForceJson)
@click.option("--http", "address", metavar="HOST:PORT", help="The service's HTTP port, where endpoints don't say it.")
@common_options
def status(session: Session, address: str | None) -> None:
    """What of CBLDATATRAX is in force, what waits for a start, what is refused; exit code 1 where something is."""
    tls = cluster_of(session).tls
    pages = Pages(tls, None, session.timeout_s)
    try:
        found = run(pages.json(address or service_address(session), "/status")).get("cbldatatrax")
    except PageError as error:
        raise CommandError(str(error)) from None
    if session.json:
        print_json(found or {})
    elif found is None:
        click.echo("the service goes by its settings alone: no CBLDATATRAX was named at its start (--cbldatatrax)")
    else:
        _print(found)
    if found and found["refused"]:
        raise CommandError(f"{found['file']} is refused, and changes nothing until it is mended")


def service_address(session: Session) -> str:
    """Where the service's HTTP port is. Raises EndpointsError."""
    return cluster_of(session).http.get("datatrax", DEFAULT_HTTP)


def cluster_of(session: Session) -> Endpoints:
    """The cluster that is named, with the certificate that is shown there; nothing where none is: the service may be
    there all the same. Raises EndpointsError, TlsFilesError."""
    try:
        session.endpoints_file()
    except CommandError:
        endpoints = Endpoints()
    else:
        endpoints = session.endpoints()
    return replace(endpoints, tls=session.tls(endpoints))


def _print(found: dict[str, Any]) -> None:
    taken = "updates are taken" if found["takes_updates"] else f"nothing is taken: {found['why_not']}"
    click.echo(on_one_line(f"{found['file']}, {found['environment']}: {taken}"))
    for fault in found["refused"]:
        click.echo(on_one_line(f"refused: {fault}"))
    for change in found["waiting"]:
        was = change["before"] or "empty"
        click.echo(on_one_line(f"waiting: {change['name']}={change['after']} (in force: {was}) {change['when']}"))
    print_table(["key", "says"], [[name, value] for name, value in found["values"].items()])
