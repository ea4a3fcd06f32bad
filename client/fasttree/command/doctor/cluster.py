"""The cluster, as it says of itself: `fasttree status`, each node, the way through the VIP, the services' figures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from fasttree.client import CallError, Client, FastTreeClientError
from fasttree.client.calls.channels import Channels
from fasttree.client.calls.pages import PageError, Pages
from fasttree.client.status.problems import AS_IT_SAYS
from fasttree.command.doctor.alarms import ringing, versions_of
from fasttree.command.doctor.findings import Finding
from fasttree.command.doctor.machine import installed_versions
from fasttree.command.doctor.mends import MAY_NOT, mend_of
from fasttree.command.status.looking import REFUSED, Seen

_HEALTH_S = 3.0


async def standing(seen: Seen) -> AsyncIterator[Finding]:
    """All that `fasttree status` and the console tell."""
    for problem in seen.found:
        mend = problem.mend or (mend_of(problem.alert) if problem.alert else MAY_NOT)
        yield Finding(check="cluster", text=problem.text, mend=mend, alert=problem.alert, fault=problem.fault)
    stored = seen.content["stored_snapshots"]
    by_problem: dict[str, list[str]] = {}
    for each in stored["problems"] if stored is not None else ():
        by_problem.setdefault(each["problem"], []).append(each["node"])
    for wrong, names in by_problem.items():
        mend = "docs/operations.md, `Snapshots that outlive all nodes`: reports, updates and peers' snapshots go on"
        text = f"stored snapshots ({', '.join(names)}): {wrong}"
        yield Finding(check="cluster", text=text, mend=mend, fault=False)
    if seen.has_view and len(seen.content["nodes"]) == 1:
        text = "there is one node alone: nothing stands in for it"
        mend = "add another: `fasttree node add`, docs/operations.md, `Add a node`"
        yield Finding(check="cluster", text=text, mend=mend, alert="FastTreeOneNodeLeft", fault=False)


async def nodes(client: Client, seen: Seen) -> AsyncIterator[Finding]:
    """Each answers from here, on the port that the pusher uses, and takes what the pusher sends."""
    places = {node["node"]: node["instant"] for node in seen.content["nodes"] if node.get("instant")}
    places |= {node.name: node.instant for node in client.endpoints.nodes if node.instant}
    answers = await asyncio.gather(*map(client.get_node, places.values()), return_exceptions=True)
    for (name, address), answer in zip(places.items(), answers, strict=True):
        if isinstance(answer, REFUSED):
            text = f"{name} at {address} could not be looked at: {answer}"
            yield Finding(check="nodes", text=text, mend=MAY_NOT, fault=False)
        elif isinstance(answer, CallError):
            text = f"{name} at {address} does not answer from here: {answer}"
            yield Finding(check="nodes", text=text, mend=mend_of("FastTreeServiceDown"), alert="FastTreeServiceDown")
        elif isinstance(answer, BaseException):
            raise answer
        elif answer.refused_reason:
            text = f"{name} refuses the pusher, and serves on: {answer.refused_reason}"
            yield Finding(check="nodes", text=text, mend=AS_IT_SAYS, alert="FastTreeLogRefused")


async def vip(client: Client) -> AsyncIterator[Finding]:
    """Reads that come through it get to the primary."""
    address = client.endpoints.vip
    if not address:
        mend = "name it in the endpoints file, as vip"
        yield Finding(check="vip", text="the endpoints file names no VIP: reports can't be asked for", mend=mend)
        return
    channels = Channels(client.tls, client.token)
    try:
        stub = health_pb2_grpc.HealthStub(channels.to(address))
        answer = await stub.Check(health_pb2.HealthCheckRequest(service="primary"), timeout=_HEALTH_S)
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            text = f"the VIP at {address} leads to a node that is not the primary"
            mend = "`fasttree status` says whether there is one; else the VIP's own file lacks it"
            yield Finding(check="vip", text=text, mend=mend, fault=False)
    except (grpc.aio.AioRpcError, FastTreeClientError) as error:
        why = error.details() if isinstance(error, grpc.aio.AioRpcError) else error
        text = f"nothing comes through the VIP at {address}: {why}"
        yield Finding(check="vip", text=text, mend="its process and its log; the health ports of the nodes behind it")
    finally:
        await channels.close()


async def figures(client: Client, http_ports: dict[str, str]) -> AsyncIterator[Finding]:
    """No figure of a service is one that an alert is of; all run one version, this command too."""
    pages = Pages(client.tls, client.token)
    shown = await asyncio.gather(
        *(pages.get(address, "/metrics") for address in http_ports.values()), return_exceptions=True
    )
    versions = {"this command": installed_versions()["ha-fasttree"]}
    for (part, address), page in zip(http_ports.items(), shown, strict=True):
        if isinstance(page, PageError):
            mend = "open the port to this machine, and with certificates show one that may see it; else look there"
            yield Finding(check="figures", text=f"{part} could not be looked at: {page}", mend=mend, fault=False)
            continue
        if isinstance(page, BaseException):
            raise page
        try:
            for alarm, value in ringing(page):
                text = f"{part}: {alarm.told(value)}"
                mend = mend_of(alarm.alert)
                yield Finding(check="figures", text=text, mend=mend, alert=alarm.alert, fault=alarm.fault)
            versions |= dict.fromkeys([part], ", ".join(sorted(versions_of(page))) or "before 0.1.0")
        except ValueError:
            text = f"what {address} shows for {part} are no figures"
            yield Finding(check="figures", text=text, mend="another program's port: mend http in the endpoints file")
    if len(set(versions.values())) > 1:
        text = "versions differ: " + ", ".join(f"{part} {version}" for part, version in versions.items())
        yield Finding(check="versions", text=text, mend="end the upgrade: docs/upgrades.md", fault=False)


def http_ports(client: Client, seen: Seen) -> dict[str, str]:
    """Of each part whose HTTP port is known; the endpoints file's count first: by them it is reached from here."""
    found = {node["node"]: node["http"] for node in seen.content["nodes"] if node.get("http")}
    found |= {node.name: node.http for node in client.endpoints.nodes if node.http}
    parts = {part: at for part, at in client.endpoints.http.items() if part.startswith(("coordinator", "pusher"))}
    return found | parts
