"""`fasttree doctor`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TypedDict

import click

from fasttree.client import EndpointsError, FastTreeClientError
from fasttree.client.counts import counted
from fasttree.command.doctor import cluster, folder, machine, network
from fasttree.command.doctor.findings import Finding
from fasttree.command.local.datatrax_place import VIP_PORT
from fasttree.command.local.free_ports import is_free
from fasttree.command.output import print_json
from fasttree.command.screen.styled import Line, Style, Text, print_lines
from fasttree.command.session import DEFAULT_PLACES, CommandError, Session, common_options, run
from fasttree.command.shapes import prints
from fasttree.command.status.looking import look, status_client


class FindingsJson(TypedDict):
    """All that is wrong or worth a look, faults first."""

    faults: int
    findings: list[Finding]


@click.command()
@prints(FindingsJson)
@common_options
def doctor(session: Session) -> None:
    """Finds what is wrong on this machine and in the cluster: a line each, with the mend.

    Packages, kernels, settings, folders, disks, names, ports, certificates, clocks, coordinator, pusher, nodes, VIP,
    and the figures that alerts are of. Nothing is changed. Exit code 1 where there is a fault; 0 where there is none,
    or what is only worth a look.
    """
    findings = run(examine(session))
    faults = sum(finding.fault for finding in findings)
    if session.json:
        print_json({"faults": faults, "findings": [finding.json for finding in findings]})
    else:
        print_lines([_line(finding) for finding in findings])
    if faults:
        raise CommandError(f"{counted(faults, 'fault')}; each with its mend above")
    if not session.json:
        looks = f", {counted(len(findings), 'thing')} worth a look" if findings else ""
        click.echo(f"no fault found{looks}")


async def examine(session: Session) -> list[Finding]:
    """All that is wrong, faults first."""
    checks: list[AsyncIterator[Finding]] = [machine.packages(), machine.kernels()]
    checks += _on_disk(session)
    found = await asyncio.gather(*(_all_of(check) for check in checks), _of_cluster(session))
    told: dict[tuple[str, str], Finding] = {}
    for finding in (each for part in found for each in part):
        told.setdefault((finding.check, finding.text), finding)
    return sorted(told.values(), key=lambda finding: not finding.fault)


def _on_disk(session: Session) -> list[AsyncIterator[Finding]]:
    """The settings and the folder of a cluster that is kept here."""
    homes = [place.parent for place in DEFAULT_PLACES]
    with contextlib.suppress(CommandError):
        homes.insert(0, session.endpoints_file().parent)
    home = next((home for home in homes if (home / "cluster.toml").exists()), None)
    checks = [folder.settings(home / "cluster.toml" if home is not None else None)]
    return checks if home is None else [*checks, folder.state_folder(home)]


async def _of_cluster(session: Session) -> list[Finding]:
    try:
        endpoints = session.endpoints()
    except EndpointsError as error:
        return [Finding(check="endpoints", text=str(error), mend="as it says")]
    except CommandError as error:
        return [
            Finding(
                check="endpoints", text=f"this machine alone was looked at: {error}", mend="as it says", fault=False
            ),
            *_vip_port(),
        ]
    try:
        endpoints = replace(endpoints, tls=session.tls(endpoints))  # what is shown, whoever names it
    except FastTreeClientError as error:
        return [Finding(check="certificates", text=str(error), mend="name files that are there, or issue them anew")]
    ways = [network.names(endpoints), network.ports(endpoints), network.own_certificate(endpoints)]
    found = [each for part in await asyncio.gather(*map(_all_of, ways)) for each in part]
    try:
        async with status_client(session) as client:
            seen = await look(session, client)
            ports = cluster.http_ports(client, seen)
            checks = [
                cluster.standing(seen),
                cluster.nodes(client, seen),
                cluster.vip(client),
                cluster.figures(client, ports),
                network.clocks(client, ports),
            ]
            return [*found, *(each for part in await asyncio.gather(*map(_all_of, checks)) for each in part)]
    except FastTreeClientError as error:  # a certificate or a token that can't be used
        return [*found, Finding(check="endpoints", text=str(error), mend="name files that can be used")]


def _vip_port() -> list[Finding]:
    """Where no cluster runs here, `fasttree up` would take it."""
    if is_free("127.0.0.1", VIP_PORT):
        return []
    text = f"port {VIP_PORT} is in use by another program: `fasttree up` could not listen there"
    return [
        Finding(check="ports", text=text, mend="end that program, or give another port with --vip-port", fault=False)
    ]


async def _all_of(check: AsyncIterator[Finding]) -> list[Finding]:
    return [finding async for finding in check]


def _line(finding: Finding) -> Line:
    word, style = ("fault", Style.BAD) if finding.fault else ("look", Style.LOOK)
    alert = f" [{finding.alert}]" if finding.alert else ""
    return [Text(f"{word:5}  ", style), Text(f"{finding.check}: {finding.text}{alert}; mend: {finding.mend}")]
