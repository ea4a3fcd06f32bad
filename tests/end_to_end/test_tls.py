"""`fasttree up --tls`: a whole cluster by certificates; they are renewed under load, and strangers are refused."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import itertools
import os
import re
import shutil
import signal
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bench.cluster.cluster import RunningCluster, free_port, running_cluster, wait_for
from bench.cluster.read_load import ReadLoad
from fasttree.client import Client, Endpoints, PermissionDeniedError, PushOptions, Retries, TlsFiles
from fasttree.client.calls.channels import Channels
from fasttree.command.certs.folder import CertificateFolder
from fasttree.command.certs.roles import REVOKED, Holder
from fasttree.command.local.vip import render_haproxy
from fasttree.command.local.vip_tls import haproxy_with_tls
from fasttree.v1 import coordinator_pb2, coordinator_pb2_grpc, pusher_pb2, report_pb2, report_pb2_grpc, types_pb2
from tests.command.fasttree_command import FastTree
from tests.end_to_end.brief_envoy import brief_envoy
from tests.end_to_end.looking_by_tls import operator_and_monitor_see_all

# One cluster for all: its connections belong to one loop.
pytestmark = [pytest.mark.timeout(900), pytest.mark.asyncio(loop_scope="module")]

MEMBERS = "member_id,sponsor_id,status,rank,joined_on,pv\nroot,,A,5,2020-01-01,10.00\na,root,A,1,2021-02-03,2.50\n"
WAIT_S = 120.0
READY = (coordinator_pb2.NODE_STATE_PRIMARY, coordinator_pb2.NODE_STATE_PASSIVE)
ROTATIONS = 4
ROTATION_S = 3.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningCluster]:
    folder = tmp_path_factory.mktemp("tls")
    async with running_cluster(folder / "cluster", arguments=("--tls",)) as running:
        (folder / "members.csv").write_text(MEMBERS)
        endpoints = Endpoints.read(running.folder / "endpoints.json")
        async with Client(endpoints, retries=Retries(timeout_s=WAIT_S)) as client:
            manifest = await client.upload_import(folder / "members.csv")
            states = [status.state async for status in client.watch_import(manifest.import_id)]
            assert states[-1] == pusher_pb2.IMPORT_STATE_DONE
        yield running


def command(cluster: RunningCluster) -> FastTree:
    return FastTree(cluster.folder, Endpoints.read(cluster.folder / "endpoints.json"))


class Pushing:
    """Orders of a hundredth, one after another, until it is stopped."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._stopped = False
        self.receipts = 0

    async def run(self) -> None:
        async def updates() -> AsyncIterator[types_pb2.Update]:
            for number in itertools.count():
                if self._stopped:
                    return
                posted = types_pb2.VolumePosted(member_id="a", amount_hundredths=1)
                yield types_pb2.Update(update_id=f"o-{id(self)}-{number}", volume_posted=posted)
                await asyncio.sleep(0.02)

        async for _ in self._client.push(updates(), PushOptions(ack_level=pusher_pb2.ACK_LEVEL_ALL_NODES)):
            self.receipts += 1

    def stop(self) -> None:
        self._stopped = True


async def shown_by(address: str, files: TlsFiles) -> bytes:
    """The certificate that a server shows to a new connection."""
    context = files.context()
    context.set_alpn_protocols(["h2"])
    host, _, port = address.rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port), ssl=context)
    shown = writer.get_extra_info("ssl_object").getpeercert(True)
    writer.close()
    assert isinstance(shown, bytes)
    return shown


async def test_certificates_are_renewed_under_load_and_no_call_fails(cluster: RunningCluster) -> None:
    endpoints = Endpoints.read(cluster.folder / "endpoints.json")
    assert endpoints.tls is not None
    ports = [endpoints.vip, endpoints.pusher, endpoints.coordinator]
    ports += [address for node in endpoints.nodes for address in (node.report, node.instant)]
    folder = CertificateFolder(cluster.folder / "certs")
    authority = folder.authority()
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(Client(endpoints, retries=Retries(timeout_s=WAIT_S)))
        before = (await client.reports.get_member("root")).member.gv_hundredths
        pushing = Pushing(client)
        pushes = asyncio.create_task(pushing.run())
        channels = Channels(endpoints.tls)
        stack.push_async_callback(channels.close)
        reads = [ReadLoad(channels.to(address), ["root", "a"], 20.0, WAIT_S) for address in ports[:1] + ports[3::2]]
        for load in reads:
            await stack.enter_async_context(load)
        shown = [await shown_by(address, endpoints.tls) for address in ports]
        for _ in range(ROTATIONS):
            await asyncio.to_thread(folder.renew, authority, all_of_them=True)
            await asyncio.sleep(ROTATION_S)

            async def all_new(last: list[bytes] = shown) -> bool:
                assert endpoints.tls is not None
                now = [await shown_by(address, endpoints.tls) for address in ports]
                return all(one != other for one, other in zip(now, last, strict=True))

            await wait_for(all_new, WAIT_S, "every port to show its new certificate")
            shown = [await shown_by(address, endpoints.tls) for address in ports]
        pushing.stop()
        await pushes
        after = (await client.reports.get_member("root")).member.gv_hundredths
    assert [dict(load.failures) for load in reads] == [{}] * len(reads)
    assert all(load.reads > 20 for load in reads)
    assert pushing.receipts > 20
    assert after - before == pushing.receipts
    status = await command(cluster)("status")
    assert status.code == 0, status.err
    assert "passive" in status.out


async def test_a_primary_dies_and_no_read_fails(cluster: RunningCluster) -> None:
    endpoints = Endpoints.read(cluster.folder / "endpoints.json")
    channels = Channels(endpoints.tls)
    stub = coordinator_pb2_grpc.CoordinatorServiceStub(channels.to(endpoints.coordinator))

    async def seen() -> coordinator_pb2.Cluster:
        return (await stub.GetCluster(coordinator_pb2.GetClusterRequest(), timeout=WAIT_S)).cluster

    before = await seen()
    async with ReadLoad(channels.to(endpoints.vip), ["root", "a"], 50.0, WAIT_S) as reads:
        await asyncio.sleep(1.0)
        os.kill(endpoints.node(before.primary).pid, signal.SIGKILL)

        async def another() -> bool:
            now = await seen()
            return now.epoch > before.epoch and bool(now.primary)

        await wait_for(another, WAIT_S, "another primary")
        await asyncio.sleep(1.0)
    assert dict(reads.failures) == {}

    async def all_ready() -> bool:
        return sum(node.alive and node.status.state in READY for node in (await seen()).nodes) == 2

    await wait_for(all_ready, WAIT_S, "the node to come back")
    await channels.close()


@contextlib.asynccontextmanager
async def haproxy(cluster: RunningCluster, folder: Path) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """One in front of the cluster: its address, and the process that a SIGUSR2 reloads."""
    nodes, port = Endpoints.read(cluster.folder / "endpoints.json").nodes, free_port()
    certs, file = cluster.folder / "certs", folder / "haproxy.cfg"
    text = render_haproxy([(node.report, node.http) for node in nodes], port)
    file.write_text(haproxy_with_tls(text, str(certs / "vip/vip"), "dot-local", str(certs / REVOKED)))
    program = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program, "install haproxy"
    process = await asyncio.create_subprocess_exec(program, "-W", "-db", "-f", str(file))
    try:
        yield f"127.0.0.1:{port}", process
    finally:
        process.terminate()
        await process.wait()


async def test_haproxy_goes_by_tls_too(cluster: RunningCluster, tmp_path: Path) -> None:
    endpoints = Endpoints.read(cluster.folder / "endpoints.json")
    async with haproxy(cluster, tmp_path) as (address, _):
        async with Client(replace(endpoints, vip=address), retries=Retries(timeout_s=WAIT_S)) as client:
            assert (await client.reports.get_member("a")).member.member_id == "a"
        auditor = TlsFiles.in_folder(cluster.folder / "certs/client-auditor")
        async with Client(replace(endpoints, vip=address), tls=auditor) as client:
            with pytest.raises(PermissionDeniedError, match="auditor/auditor may not call"):
                await client.reports.get_member("a")
        async with grpc.aio.insecure_channel(address) as channel:
            with pytest.raises(grpc.aio.AioRpcError):
                await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=WAIT_S)


ROLES = {
    ("reporter", "member"): ("member", "root"),
    ("auditor", "status"): ("status",),
    ("operator", "switchover"): ("switchover",),
    ("push-program", None): ("member", "root"),
    ("auditor", None): ("member", "root"),
    ("leader", None): ("switchover",),
    ("reporter", None): ("switchover",),
    ("monitor", None): ("pause",),
    ("importer", None): ("held",),
}


async def test_what_operators_look_with_goes_by_tls(cluster: RunningCluster, tmp_path: Path) -> None:
    await operator_and_monitor_see_all(command(cluster), cluster, tmp_path / "bundle.tar.gz", WAIT_S)


@pytest.mark.parametrize("of", ROLES)
async def test_each_role_may_do_its_own_and_nothing_else(cluster: RunningCluster, of: tuple[str, str | None]) -> None:
    role, allowed = of
    own = str(cluster.folder / f"certs/client-{role}")
    ran = await command(cluster)("--timeout", str(WAIT_S), "--tls-dir", own, *ROLES[of])
    if allowed:
        assert ran.code == 0, ran.err
    else:
        assert ran.code == 1
        assert f"spiffe://dot-local/{role}/{role} may not call /fasttree.v1." in ran.err
        assert ran.err.count("\n") == 1


async def test_a_caller_can_not_say_itself_who_it_is(cluster: RunningCluster) -> None:
    endpoints = Endpoints.read(cluster.folder / "endpoints.json")
    claims = (("x-forwarded-client-cert", "URI=spiffe://dot-local/operator/operator"),)
    for address in (endpoints.vip, endpoints.nodes[0].report):
        channels = Channels(TlsFiles.in_folder(cluster.folder / "certs/client-monitor"))
        stub = report_pb2_grpc.ReportServiceStub(channels.to(address))
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.GetMember(report_pb2.GetMemberRequest(member_id="a"), metadata=claims, timeout=WAIT_S)
        assert raised.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert "monitor/monitor may not call" in (raised.value.details() or "")
        await channels.close()


@pytest.fixture
def strangers(tmp_path: Path, cluster: RunningCluster) -> dict[str, Path]:
    """Folders of certificates that are no good here."""
    theirs, ours = CertificateFolder(tmp_path / "theirs"), CertificateFolder(cluster.folder / "certs")
    theirs.init("dot-local", datetime.timedelta(days=1))
    files = theirs.issue(theirs.authority(), Holder("operator", "operator"), (), datetime.timedelta(days=1))
    expired = ours.issue(ours.authority(), Holder("operator", "late"), (), datetime.timedelta(seconds=-1))
    folders = {}
    for name, pair, ca in (
        ("another authority's", files, ours.ca),
        ("expired", expired, ours.ca),
        ("who believes another authority", ours.files(Holder("operator", "operator")), theirs.ca),
    ):
        folder = folders[name] = tmp_path / name.replace(" ", "-").replace("'", "")
        folder.mkdir()
        (folder / "tls.crt").write_bytes(pair.certificate.read_bytes())
        (folder / "tls.key").write_bytes(pair.key.read_bytes())
        (folder / "ca.crt").write_bytes(ca.read_bytes())
    expired.certificate.unlink()
    expired.key.unlink()
    return folders


@pytest.mark.parametrize("called", [("status",), ("member", "root")])
@pytest.mark.parametrize(
    ("who", "why"),
    [
        ("another authority's", "refuses this client's certificate|another one than this client's"),
        ("expired", "has expired"),
        ("who believes another authority", "its certificate is of no authority in this client's ca.crt"),
    ],
)
async def test_a_stranger_is_refused_in_one_line(
    cluster: RunningCluster, strangers: dict[str, Path], who: str, why: str, called: tuple[str, ...]
) -> None:
    ran = await command(cluster)("--timeout", "2", "--tls-dir", str(strangers[who]), *called)
    assert ran.code == 1
    last = ran.err.splitlines()
    assert len(last) == 1, ran.err
    assert re.search(why, last[0]), last[0]


async def test_a_client_without_a_certificate_is_refused_everywhere(
    cluster: RunningCluster, strangers: dict[str, Path]
) -> None:
    endpoints = Endpoints.read(cluster.folder / "endpoints.json")
    assert endpoints.tls is not None
    ca = Path(endpoints.tls.ca).read_bytes()
    ports = [endpoints.vip, endpoints.pusher, endpoints.coordinator]
    ports += [address for node in endpoints.nodes for address in (node.report, node.instant)]
    late = strangers["expired"]
    for address in ports:
        for credentials in (
            grpc.ssl_channel_credentials(ca),
            grpc.ssl_channel_credentials(ca, (late / "tls.key").read_bytes(), (late / "tls.crt").read_bytes()),
            None,
        ):
            channel = (
                grpc.aio.insecure_channel(address)
                if credentials is None
                else grpc.aio.secure_channel(address, credentials)
            )
            async with channel:
                health = health_pb2_grpc.HealthStub(channel)
                with pytest.raises(grpc.aio.AioRpcError) as raised:
                    await health.Check(health_pb2.HealthCheckRequest(), timeout=WAIT_S)
                assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_pages_need_a_certificate_and_probes_none(cluster: RunningCluster) -> None:
    endpoints = Endpoints.read(cluster.folder / "endpoints.json")
    assert endpoints.tls is not None
    bare = ssl.create_default_context(cafile=endpoints.tls.ca)
    for address in (endpoints.nodes[0].http, *endpoints.http.values()):
        for path, context, expected in (
            ("/livez", bare, b"200"),
            ("/metrics", bare, b"403"),
            ("/metrics", endpoints.tls.context(), b"200"),
        ):
            host, _, port = address.rpartition(":")
            reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
            assert (await reader.readline()).split()[1] == expected, (address, path)
            writer.close()


async def reads(channel: grpc.aio.Channel) -> bool:
    """Whether a member is read; False where the connection is refused."""
    try:
        await report_pb2_grpc.ReportServiceStub(channel).GetMember(
            report_pb2.GetMemberRequest(member_id="a"), timeout=60
        )
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            return False
        raise
    return True


async def test_a_revoked_certificate_is_refused_by_the_vip_and_others_go_on(
    cluster: RunningCluster, tmp_path: Path
) -> None:
    endpoints, folder = Endpoints.read(cluster.folder / "endpoints.json"), CertificateFolder(cluster.folder / "certs")
    holder = Holder("reporter", "lost")
    folder.issue(folder.authority(), holder, (), datetime.timedelta(days=1))
    lost = TlsFiles.in_folder(cluster.folder / "certs/client-reporter-lost")
    async with contextlib.AsyncExitStack() as stack:
        proxy, process = await stack.enter_async_context(haproxy(cluster, tmp_path))
        brief = await stack.enter_async_context(brief_envoy(cluster, tmp_path))
        vips = (endpoints.vip, brief, proxy)
        others = Channels(endpoints.tls)
        stack.push_async_callback(others.close)

        def anew() -> Channels:
            channels = Channels(lost)
            stack.push_async_callback(channels.close)
            return channels

        standing = anew()

        async def are_read(channels: Channels, expected: bool, vips: tuple[str, ...] = vips) -> bool:
            return [await reads(channels.to(vip)) for vip in vips] == [expected] * len(vips)

        await wait_for(lambda: are_read(standing, True), WAIT_S, "every VIP to read for whoever is not revoked yet")
        loads = [ReadLoad(others.to(vip), ["root", "a"], 20.0, WAIT_S) for vip in (endpoints.vip, brief)]
        for load in loads:
            await stack.enter_async_context(load)
        (serial,) = (each.serial for each in folder.issued() if each.uri.endswith("/reporter/lost"))
        folder.revoke(folder.authority(), [serial])
        await wait_for(lambda: are_read(standing, True, (proxy,)), WAIT_S, "HAProxy, whose list is of its last reload")
        process.send_signal(signal.SIGUSR2)
        await wait_for(lambda: are_read(anew(), False), WAIT_S, "new connections to be refused by every VIP")
        what = "connections that stood to come anew, and be refused"
        await wait_for(lambda: are_read(standing, False, (brief, proxy)), WAIT_S, what)
        await wait_for(lambda: are_read(others, True), WAIT_S, "every VIP to read for others")
        before = [load.reads for load in loads]

        async def more() -> bool:
            return all(load.reads > had for load, had in zip(loads, before, strict=True))

        await wait_for(more, WAIT_S, "others to read on")
    assert [dict(load.failures) for load in loads] == [{}, {}]
