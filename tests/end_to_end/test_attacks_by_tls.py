"""A cluster by certificates, and what once broke one in clear (docs/security.md, *Attacks*).

Each is tried by whoever has no certificate, or none that is good, by holders of every role that is not meant, and by
the very role under another name or with what no honest one says. Nothing of the cluster changes.
"""

from __future__ import annotations

import datetime
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import grpc.aio
import pytest

from bench.cluster.cluster import RunningCluster, running_cluster
from fasttree.command.certs.folder import CertificateFolder
from fasttree.command.certs.roles import ROLES, Holder
from fasttree.v1 import coordinator_pb2, treenode_pb2, types_pb2
from services.shared.security.roles import CALLS
from services.shared.wire.record import checksum

DAY = datetime.timedelta(days=1)
DEADLINE_S = 60.0
DENIED, UNREACHED = grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAVAILABLE
COORDINATOR, NODE = "/fasttree.v1.CoordinatorService/", "/fasttree.v1.TreeNodeService/"


class Attack(NamedTuple):
    """What is sent, and where."""

    path: str
    request: Any


def heartbeat(name: str = "evil", address: str = "127.0.0.1:1", **status: Any) -> coordinator_pb2.KeepAliveRequest:
    return coordinator_pb2.KeepAliveRequest(
        cluster="dot-local",
        node=coordinator_pb2.NodeAddress(name=name, report=address, instant=address, http=address),
        status=coordinator_pb2.NodeStatus(state=coordinator_pb2.NODE_STATE_PASSIVE, **status),
        sequence=1,
        incarnation="x",
    )


def records(log_id: str, position: int) -> treenode_pb2.ApplyUpdatesRequest:
    """A false member at the next position of that log."""
    update = types_pb2.Update(update_id="evil", member_enrolled=types_pb2.MemberEnrolled(member_id="EVIL"))
    content = update.SerializeToString()
    place = position + 1
    return treenode_pb2.ApplyUpdatesRequest(
        hello=treenode_pb2.PusherHello(cluster="dot-local", log_id=log_id, pusher_address="127.0.0.1:1"),
        log_end=treenode_pb2.LogEnd(first_position=1, position=place),
        records=[treenode_pb2.LogRecord(position=place, update=content, crc32=checksum(place, content))],
    )


def load(source: str = "127.0.0.1:1") -> treenode_pb2.LoadImportRequest:
    manifest = types_pb2.ImportManifest(import_id=2**63 + 5, file_name="x.csv", size_bytes=10, force=True)
    return treenode_pb2.LoadImportRequest(manifest=manifest, sources=[source], pusher_address="127.0.0.1:1")


def attacks(log_id: str, position: int) -> dict[str, Attack]:
    """B1 to B10, as far as they are calls."""
    keep_alive, apply_updates = COORDINATOR + "KeepAlive", NODE + "ApplyUpdates"
    return {
        "B1 an epoch beyond all": Attack(keep_alive, heartbeat(known_epoch=2**63 - 1)),
        "B2 a fake pusher of the same log": Attack(apply_updates, records(log_id, position)),
        "B3 an import of its own": Attack(NODE + "LoadImport", load()),
        "B4 a fake node": Attack(keep_alive, heartbeat(position=2**40)),
        "B4 a switchover to it": Attack(COORDINATOR + "Switchover", coordinator_pb2.SwitchoverRequest(to_node="evil")),
        "B5 addresses without end": Attack(keep_alive, heartbeat(address="A" * 20_000)),
        "B6 a snapshot": Attack(NODE + "DownloadSnapshot", treenode_pb2.DownloadSnapshotRequest()),
        "B8 watchers": Attack(COORDINATOR + "WatchCluster", coordinator_pb2.WatchClusterRequest()),
        "B9 the hello of another log": Attack(apply_updates, records("evil-log", 0)),
        "B10 an address that is none": Attack(NODE + "LoadImport", load("unix:/etc/passwd")),
    }


class Peers:
    """Who attacks, and from where nobody should."""

    def __init__(self, cluster: RunningCluster, tmp_path: Path) -> None:
        # Beside the cluster's own, whose parts take what is issued there.
        self.certs = CertificateFolder(tmp_path / "issued")
        self.certs.path.mkdir()
        for name in ("ca.crt", "ca.key"):
            shutil.copy(cluster.folder / "certs" / name, self.certs.path)
        self.another = CertificateFolder(tmp_path / "another")
        self.another.init("dot-local", DAY)
        self._cluster = cluster
        self._ca = (cluster.folder / "certs" / "ca.crt").read_bytes()

    def address(self, path: str) -> str:
        if path.startswith(COORDINATOR):
            return str(self._cluster.endpoints["coordinator"])
        return str(self._cluster.endpoints["nodes"][0]["instant"])

    def strangers(self, role: str) -> Iterator[tuple[str, Callable[[str], grpc.aio.Channel]]]:
        """Those that no handshake lets in. `role`: which one they say to be."""
        yield "in clear", grpc.aio.insecure_channel
        nobody = grpc.ssl_channel_credentials(self._ca)
        yield "without a certificate", lambda address: grpc.aio.secure_channel(address, nobody)
        yield "another authority's", self._shown(self.another, role, "n1")
        expired = self.certs.issue(self.certs.authority(), Holder(role, "old"), [], -datetime.timedelta(minutes=1))
        yield "expired", self._by(expired)

    def holder(self, role: str, name: str) -> Callable[[str], grpc.aio.Channel]:
        """Of the cluster's authority."""
        return self._shown(self.certs, role, name)

    def _shown(self, folder: CertificateFolder, role: str, name: str) -> Callable[[str], grpc.aio.Channel]:
        return self._by(folder.issue(folder.authority(), Holder(role, name), [], DAY))

    def _by(self, pair: Any) -> Callable[[str], grpc.aio.Channel]:
        credentials = grpc.ssl_channel_credentials(self._ca, pair.key.read_bytes(), pair.certificate.read_bytes())
        return lambda address: grpc.aio.secure_channel(address, credentials)


#: grpcio's client says so where it was about to write when the call ended, whatever the server had said.
_LOST = "Internal error from Core"


async def code_of(open_channel: Callable[[str], grpc.aio.Channel], address: str, attack: Attack) -> grpc.StatusCode:
    """What comes of one request; OK: it has an answer."""

    async def said() -> AsyncIterator[bytes]:
        yield attack.request.SerializeToString()

    while True:
        async with open_channel(address) as channel:
            call: Any = channel.stream_stream(attack.path)
            try:
                await anext(aiter(call(said(), timeout=DEADLINE_S)), None)
            except grpc.aio.AioRpcError as error:
                if error.details() != _LOST:
                    code: grpc.StatusCode = error.code()
                    return code
            else:
                return grpc.StatusCode.OK


async def standing(cluster: RunningCluster) -> tuple[Any, ...]:
    """What no attack may change."""
    seen, pusher = await cluster.cluster(), await cluster.pusher()
    nodes = [await cluster.node_status(name) for name in cluster.node_names]
    return (
        seen.epoch,
        seen.primary,
        sorted(each.address.name for each in seen.nodes),
        [(each.status.log_id, each.status.position, each.status.import_id, each.members) for each in nodes],
        pusher.log_end.position,
    )


def meant(path: str) -> list[str]:
    """Roles that may make a call."""
    return [role for role in ROLES if any(path == each or path.startswith(each.rstrip("*")) for each in CALLS[role])]


@pytest.mark.timeout(600)
async def test_what_broke_clusters_in_clear_is_held_off_by_certificates(tmp_path: Path) -> None:
    async with running_cluster(tmp_path / "cluster", nodes=2, arguments=("--tls",)) as cluster:
        await cluster.wait_ready()
        peers, before = Peers(cluster, tmp_path), await standing(cluster)
        status = (await cluster.node_status(cluster.node_names[0])).status
        for name, attack in attacks(status.log_id, status.position).items():
            address, may = peers.address(attack.path), meant(attack.path)
            for who, open_channel in peers.strangers(may[0]):
                assert await code_of(open_channel, address, attack) is UNREACHED, (name, who)
            for role in set(ROLES) - set(may):
                assert await code_of(peers.holder(role, "n1"), address, attack) is DENIED, (name, role)
        # Of the very role: what no honest node says, under its own name and under another's.
        for node, request, expected in (
            ("n1", heartbeat("n1", known_epoch=2**63 - 1), grpc.StatusCode.INVALID_ARGUMENT),
            ("n1", heartbeat("n1", "A" * 20_000), grpc.StatusCode.INVALID_ARGUMENT),
            ("n1", heartbeat("n1", "unix:/etc/passwd"), grpc.StatusCode.INVALID_ARGUMENT),
            ("n1", heartbeat("n2", position=2**40), DENIED),
            ("evil", heartbeat("n1", position=2**40), DENIED),
        ):
            attack = Attack(COORDINATOR + "KeepAlive", request)
            code = await code_of(peers.holder("node", node), peers.address(attack.path), attack)
            assert code is expected, (node, request.node.name)
        assert await standing(cluster) == before
