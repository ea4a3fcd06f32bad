"""What `fasttree datatrax check` looks at, a line for each thing: names, ports, clocks, versions, folders, files.

Nothing is changed, and nothing is waited for longer than `Patience.answer_s`. What can't be looked at is wrong, too.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from fasttree.client import Client, Endpoints, FastTreeClientError, Retries, TlsFiles
from fasttree.client.calls.channels import Channels
from fasttree.client.calls.pages import PageError, Pages
from fasttree.command.datatrax.clocks import clock_difference_s
from fasttree.command.datatrax.places import Check, Place
from fasttree.v1 import coordinator_pb2, pusher_pb2


class Patience(NamedTuple):
    """What a check bears."""

    #: How long a server may take, in seconds.
    answer_s: float
    #: How far a clock may be from this machine's, in seconds.
    clock_s: float


async def checks(place: Place, endpoints: Endpoints, service_http: str, patience: Patience) -> AsyncIterator[Check]:
    """Every line, in the order of the ways: files here, names, nodes, VIP, servers, clocks, versions, the service."""
    for check in place.checks:
        yield check
    addresses = await _resolved([*(host.host for host in place.hosts), *([place.vip_place[0]] if place.vip else [])])
    for host, found in addresses.items():
        yield found if isinstance(found, Check) else Check(f"name {host}", True, f"is {', '.join(sorted(found))}")
    channels = Channels(endpoints.tls)
    client = Client(endpoints, retries=Retries(timeout_s=patience.answer_s, patience_s=patience.answer_s))
    try:
        ports = [(f"report port {host.report_address}", host.report_address, "") for host in place.hosts]
        ports += [(f"instant port {host.instant_address}", host.instant_address, "") for host in place.hosts]
        ports += [(f"VIP {place.vip}", place.vip, "primary")] if place.vip else []
        for check in await asyncio.gather(*(_serves(channels, *port, patience.answer_s) for port in ports)):
            yield check
        yield _vip_is_no_node(place, addresses)
        cluster, pusher = await asyncio.gather(_cluster(client), _pusher(client))
        for said in (_coordinator_checks(place, endpoints, cluster), _pusher_checks(place, endpoints, pusher)):
            for check in said:
                yield check
        async for check in _clocks(endpoints, cluster, service_http, patience):
            yield check
        for check in _versions(cluster, pusher):
            yield check
        for check in await _service(place, service_http, patience.answer_s, endpoints.tls):
            yield check
    finally:
        await channels.close()
        await client.close()


async def _resolved(names: Sequence[str]) -> dict[str, set[str] | Check]:
    """The addresses of each name, or what is wrong with it."""
    loop = asyncio.get_running_loop()

    async def look(name: str) -> set[str] | Check:
        try:
            infos = await loop.getaddrinfo(name.strip("[]"), None, type=socket.SOCK_STREAM)
        except OSError as error:
            mend = "put it into DNS or /etc/hosts, or correct its line"
            return Check(f"name {name}", False, f"does not resolve ({error.strerror}): {mend}")
        return {str(info[4][0]) for info in infos}

    unique = list(dict.fromkeys(names))
    return dict(zip(unique, await asyncio.gather(*map(look, unique)), strict=True))


async def _serves(channels: Channels, what: str, address: str, service: str, answer_s: float) -> Check:
    """Whether the health service there says so."""
    stub = health_pb2_grpc.HealthStub(channels.to(address))
    try:
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=answer_s)
    except grpc.aio.AioRpcError as error:
        mend = "is the server started, and does the firewall let this machine through?"
        return Check(what, False, f"does not answer ({error.code().name.lower()}): {mend}")
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        mend = "`fasttree status` says what it waits for"
        return Check(what, False, f"answers, and serves no {service or 'calls'}: {mend}")
    return Check(what, True, "answers")


def _vip_is_no_node(place: Place, addresses: dict[str, set[str] | Check]) -> Check:
    """By addresses: a name may be another one's alias."""
    what = f"VIP {place.vip or 'address'}"
    if not place.vip:
        return Check(what, False, "is not known: name CBLDATATRAX with --cbldatatrax, or endpoints with --endpoints")
    name, port = place.vip_place
    vip = addresses[name]
    if isinstance(vip, Check):
        return Check(what, False, "may be a node or not: its name does not resolve")
    for host in place.hosts:
        node = addresses[host.host]
        if not isinstance(node, Check) and host.report_port == port and vip & node:
            mend = "name the load balancer, which follows the primary"
            return Check(what, False, f"is the node {host.report_address} itself: {mend}")
    return Check(what, True, "is no node")


async def _cluster(client: Client) -> coordinator_pb2.Cluster | str:
    """What the coordinator says, or why it says nothing."""
    try:
        return await client.get_cluster()
    except FastTreeClientError as error:
        return str(error)


async def _pusher(client: Client) -> pusher_pb2.GetPusherResponse | str:
    try:
        return await client.get_pusher()
    except FastTreeClientError as error:
        return str(error)


def _coordinator_checks(place: Place, endpoints: Endpoints, cluster: coordinator_pb2.Cluster | str) -> list[Check]:
    what = f"coordinator {endpoints.coordinator or 'address'}"
    if isinstance(cluster, str):
        return [Check(what, False, cluster)]
    primary = f"primary is {cluster.primary}" if cluster.primary else f"there is no primary: {cluster.note}"
    found = [
        Check(what, bool(cluster.primary), f"answers; {primary}"),
        _same_hosts(f"{what}: host file", cluster.hosts, [host.report_address for host in place.hosts]),
    ]
    if place.cluster_name:
        good = cluster.name == place.cluster_name
        mend = f"is {cluster.name}, and CBLDATATRAX makes it {place.cluster_name}: set cluster.name, or MDIR"
        found.append(Check(f"{what}: cluster", good, f"is {cluster.name}" if good else mend))
    return found


def _pusher_checks(place: Place, endpoints: Endpoints, pusher: pusher_pb2.GetPusherResponse | str) -> list[Check]:
    what = f"pusher {endpoints.pusher or 'address'}"
    if isinstance(pusher, str):
        return [Check(what, False, pusher)]
    closed = pusher.closed_reason
    return [
        Check(what, not closed, f"takes nothing: {closed}" if closed else "answers"),
        _same_hosts(f"{what}: host file", pusher.hosts, [host.instant_address for host in place.hosts]),
    ]


def _same_hosts(what: str, has: Sequence[str], here: Sequence[str]) -> Check:
    """Whether a server goes by the same nodes as the host file here."""
    if not has:
        return Check(what, False, "it goes by none: set cluster.hosts_file to the host file here")
    if set(has) != set(here):
        differing = ", ".join(sorted(set(has) ^ set(here)))
        return Check(what, False, f"differs from the one here in {differing}: have it read the same file")
    return Check(what, True, f"has the same {len(here)} nodes")


async def _clocks(
    endpoints: Endpoints, cluster: coordinator_pb2.Cluster | str, service_http: str, patience: Patience
) -> AsyncIterator[Check]:
    """Of every server whose HTTP port is known. This machine's clock is what they are held against."""
    servers = dict(endpoints.http) | {node.name: node.http for node in endpoints.nodes}
    if not isinstance(cluster, str):
        servers |= {node.address.name: node.address.http for node in cluster.nodes if node.alive}
    servers["datatrax"] = service_http
    known = {name: address for name, address in servers.items() if address}
    looks = [_clock(name, address, patience, endpoints.tls) for name, address in known.items()]
    for check in await asyncio.gather(*looks):
        yield check


async def _clock(name: str, address: str, patience: Patience, tls: TlsFiles | None) -> Check:
    what = f"clock of {name}"
    before_s = time.time()
    try:
        date = await Pages(tls, None, patience.answer_s).date(address)
    except PageError as error:
        return Check(what, False, f"can't be asked: {error}")
    difference_s = clock_difference_s(date, before_s, time.time())
    if difference_s is None:
        return Check(what, False, f"http://{address} says no time: is it a server of ours?")
    if difference_s > patience.clock_s:
        mend = "have both follow one time server (NTP)"
        return Check(what, False, f"is {difference_s:.0f} s from this machine's: {mend}")
    return Check(what, True, f"within {max(difference_s, 1):.0f} s of this machine's")


def _versions(cluster: coordinator_pb2.Cluster | str, pusher: pusher_pb2.GetPusherResponse | str) -> list[Check]:
    """Whether every node knows what updates mean, as the pusher does."""
    if isinstance(cluster, str) or isinstance(pusher, str):
        return []
    known = pusher.known_rule_version
    found = []
    for node in cluster.nodes:
        if node.alive:
            version = node.status.rule_version
            said = f"knows version {version} of the meaning of updates"
            mend = f"{said}, and the pusher {known}: install one version on both (docs/upgrades.md)"
            found.append(Check(f"version of {node.address.name}", version == known, said if version == known else mend))
    return found


async def _service(place: Place, http: str, answer_s: float, tls: TlsFiles | None) -> list[Check]:
    """The service on this machine: its port of lines, and what it says of itself."""
    found = []
    host = http.rpartition(":")[0]
    try:
        async with asyncio.timeout(answer_s):
            _, writer = await asyncio.open_connection(host.strip("[]"), place.instant_port)
            writer.close()
        found.append(Check(f"local instant port {host}:{place.instant_port}", True, "answers"))
    except (OSError, TimeoutError) as error:
        mend = "start `python -m services.datatrax`, or name another one with --http"
        said = f"does not answer ({getattr(error, 'strerror', None) or 'no answer in time'}): {mend}"
        found.append(Check(f"local instant port {host}:{place.instant_port}", False, said))
    what, pages = f"service at http://{http}", Pages(tls, None, answer_s)
    try:
        ready = await pages.answer(http, "/readyz")
        found.append(Check(what, ready.status == 200, ready.text.strip()))
        status = (await pages.json(http, "/status")).get("cbldatatrax")
    except PageError as error:
        return [*found, Check(what, False, str(error))]
    if status:
        refused = "; ".join(status["refused"])
        good = not refused and status["takes_updates"]
        said = f"is refused: {refused}" if refused else status["why_not"] or "is in force, and updates are taken"
        found.append(Check(f"service: {status['file']}", good, said))
    return found
