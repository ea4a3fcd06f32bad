"""Every call of a node's instant port, through what serves it: the pusher's stream, imports, snapshots, digests, files.

Records are numbered anew from where the node stands, and their checksums made right, but where an input says otherwise:
what a mutation leaves of them would be refused else before it is looked at."""

from __future__ import annotations

import struct
import zlib
from functools import cache
from typing import Any

from fasttree.v1 import coordinator_pb2, import_source_pb2, treenode_pb2, types_pb2
from services.shared.config.sections import ClusterSettings
from services.shared.files.import_source import ImportSourceServicer
from services.shared.rules import rules_message
from services.treenode.app import TreeNode
from services.treenode.imports.reading import ImportLimits
from services.treenode.service import TreeNodeServicer
from services.treenode.settings import TreeNodeSettings
from tests.fakes.pusher import FOUNDING
from tests.fuzz.asking import REFUSALS, Asked, Names, asking, methods_of, plain_inputs
from tests.fuzz.target import Run, Target, scratch

_SERVICE = treenode_pb2.DESCRIPTOR.services_by_name["TreeNodeService"]
_FILES = import_source_pb2.DESCRIPTOR.services_by_name["ImportSourceService"]
_CLUSTER, _LOG = "dot-test", "log"
#: Nobody listens there, and no input leads elsewhere.
_NOBODY = "127.0.0.1:1"
_PATIENCE_S = 0.01


@cache
def _calls() -> Run:
    async def made() -> Asked:
        folder = scratch().parent
        settings = TreeNodeSettings.of(
            name="n1",
            listen_host="127.0.0.1",
            report_port=0,
            instant_port=0,
            http_port=0,
            state_folder=str(folder),
            import_process_after_s=3_600.0,
            report_position_wait_s_max=0.01,
        )
        node = TreeNode(settings, ClusterSettings(name=_CLUSTER), ImportLimits())
        await node.start()
        await node.warm.wait()
        address = coordinator_pb2.NodeAddress(name="n1", instant=_NOBODY)
        servicer = TreeNodeServicer(
            node.runner, node.streams, node.loader, node.store, node.writer, node.periods, address
        )

        def shaped(request: Any) -> None:
            if isinstance(request, treenode_pb2.ApplyUpdatesRequest):
                _numbered(request, node.runner.core.sequence.position)

        def check() -> None:
            assert node.background.error is None, node.background.reason
            assert node.runner.fatal is None, node.runner.fatal
            node.runner.core.validate()

        services = [(_SERVICE, servicer), (_FILES, ImportSourceServicer(node.files.find))]
        return Asked(methods_of(services), node.stop, check, shaped, _kept_here, _PATIENCE_S)

    return asking(made)


def _kept_here(request: Any) -> None:
    """No address of an input is dialled."""
    if isinstance(request, treenode_pb2.ApplyUpdatesRequest) and request.hello.pusher_address:
        request.hello.pusher_address = _NOBODY
    if isinstance(request, treenode_pb2.LoadImportRequest):
        request.sources[:] = [_NOBODY for _ in request.sources]
        request.pusher_address = _NOBODY if request.pusher_address else ""


def _numbered(request: treenode_pb2.ApplyUpdatesRequest, position: int) -> None:
    if request.HasField("hello"):
        request.hello.cluster, request.hello.log_id, request.hello.epoch = _CLUSTER, _LOG, 0
        request.hello.founding_rules.CopyFrom(rules_message(FOUNDING))
    for place, record in enumerate(request.records, position + 1):
        record.position = place
        record.crc32 = zlib.crc32(record.update, zlib.crc32(struct.pack("<Q", place)))
    if request.HasField("log_end"):
        request.log_end.position = max(request.log_end.position, position + len(request.records))


def _record(update: types_pb2.Update) -> treenode_pb2.LogRecord:
    return treenode_pb2.LogRecord(position=1, update=update.SerializeToString())


def _inputs() -> list[bytes]:
    updates = [
        types_pb2.Update(update_id="u1", member_enrolled=types_pb2.MemberEnrolled(member_id="A")),
        types_pb2.Update(update_id="u2", volume_posted=types_pb2.VolumePosted(member_id="A", amount_hundredths=150)),
        types_pb2.Update(update_id="u3", member_moved=types_pb2.MemberMoved(member_id="B", new_parent_id="A")),
        types_pb2.Update(update_id="u4", period_opened=types_pb2.PeriodOpened(period="2026-12")),
        types_pb2.Update(update_id="u5", member_removed=types_pb2.MemberRemoved(member_id="A")),
    ]
    hello = treenode_pb2.PusherHello(cluster=_CLUSTER, log_id=_LOG, pusher_address=_NOBODY)
    end = treenode_pb2.LogEnd(first_position=1, position=1)
    manifest = types_pb2.ImportManifest(
        import_id=1,
        file_name="a.csv",
        size_bytes=10,
        sha256=bytes(32),
        rules=rules_message(FOUNDING),
        format=types_pb2.IMPORT_FORMAT_CSV,
    )
    manifest.rules.CopyFrom(rules_message(FOUNDING))
    given: dict[str, list[Any]] = {
        "ApplyUpdates": [
            treenode_pb2.ApplyUpdatesRequest(hello=hello, log_end=end),
            treenode_pb2.ApplyUpdatesRequest(records=map(_record, updates), log_end=end),
            treenode_pb2.ApplyUpdatesRequest(records=[_record(updates[1])]),
        ],
        "LoadImport": [
            treenode_pb2.LoadImportRequest(manifest=manifest, sources=[_NOBODY], pusher_address=_NOBODY, log_id=_LOG)
        ],
        "DownloadSnapshot": [
            treenode_pb2.DownloadSnapshotRequest(import_id=1, position=2, offset=3),
            treenode_pb2.DownloadSnapshotRequest(closed_period="2026-11"),
        ],
        "GetUpdateFate": [treenode_pb2.GetUpdateFateRequest(position=1)],
        "GetDigest": [treenode_pb2.GetDigestRequest(position=1)],
        "ListLegDigests": [treenode_pb2.ListLegDigestsRequest(member_id="A", page_size=1)],
        "DownloadImport": [import_source_pb2.DownloadImportRequest(import_id=1)],
    }
    return plain_inputs([(_SERVICE, Names()), (_FILES, Names())], given)


TARGETS = [Target("treenode.calls", _calls, REFUSALS, _inputs, 2_048)]
