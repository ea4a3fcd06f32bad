"""`fasttree datatrax status`: what of CBLDATATRAX the running service goes by."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from fasttree.client import Endpoints
from fasttree.command.datatrax.pages import json_page
from fasttree.command.output import print_json, print_table
from fasttree.command.session import CommandError, Session, common_options
from fasttree.command.terminal import on_one_line

#: Where the service has its HTTP port, where no endpoints file says so.
DEFAULT_HTTP = "127.0.0.1:50200"


@click.command()
@click.option("--http", "address", metavar="HOST:PORT", help="The service's HTTP port, where endpoints don't say it.")
@common_options
def status(session: Session, address: str | None) -> None:
    """What of CBLDATATRAX is in force, what waits for a start, what is refused; exit code 1 where something is."""
    tls = cluster_of(session).tls
    found = json_page(address or service_address(session), "/status", session.timeout_s, tls).get("cbldatatrax")
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
