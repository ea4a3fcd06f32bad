"""Every call of a pusher, through what serves it: of one with its log and its import files, and of one without."""

from __future__ import annotations

import zlib
from functools import cache
from typing import Any

from fasttree.v1 import import_source_pb2, pusher_pb2, types_pb2
from services.pusher.app import Pusher
from services.pusher.log.sqlite import SqliteLog
from services.pusher.settings import PusherSettings
from services.shared.config.sections import ClusterSettings
from tests.fakes.import_file import csv_of
from tests.fuzz.asking import REFUSALS, Asked, Names, asking, input_of, methods_of, plain_inputs
from tests.fuzz.target import Run, Target, scratch

_SERVICE = pusher_pb2.DESCRIPTOR.services_by_name["PusherService"]
_FILES = import_source_pb2.DESCRIPTOR.services_by_name["ImportSourceService"]
#: Longer than a group commit, shorter than what waits for good.
_PATIENCE_S = 0.01
_DECLARED = types_pb2.ColumnDeclared(name="phone", type="text", personal=True)
_FILE = csv_of([("A", "", "1"), ("B", "A", "2")])


@cache
def _calls() -> Run:
    async def made() -> Asked:
        folder = scratch().parent
        hosts = folder / "hosts.50201"
        hosts.write_text("# nobody\n")
        settings = PusherSettings.of(listen_host="127.0.0.1", port=0, http_port=0, state_folder=str(folder))
        cluster = ClusterSettings(name="dot-test", hosts_file=str(hosts))
        pusher = Pusher(settings, cluster, SqliteLog(folder).claim_alone())
        await pusher.start()

        def check() -> None:
            assert pusher.background.error is None, pusher.background.reason
            pusher.admission.core.validate()
            pusher.rollout.core.validate()

        services = [(_SERVICE, pusher.answering.pusher), (_FILES, pusher.answering.files)]
        return Asked(methods_of(services), pusher.stop, check, patience_s=_PATIENCE_S)

    return asking(made)


def _uploaded() -> list[pusher_pb2.UploadImportRequest]:
    header = pusher_pb2.UploadImportHeader(file_name="a.csv", size_bytes=len(_FILE), as_of_position=0)
    return [
        pusher_pb2.UploadImportRequest(header=header),
        pusher_pb2.UploadImportRequest(chunk=types_pb2.Chunk(offset=0, data=_FILE, crc32=zlib.crc32(_FILE))),
    ]


def _pushed() -> list[pusher_pb2.PushUpdatesRequest]:
    return [
        pusher_pb2.PushUpdatesRequest(
            updates=[
                types_pb2.Update(update_id="u1", member_enrolled=types_pb2.MemberEnrolled(member_id="A")),
                types_pb2.Update(
                    update_id="u2", volume_posted=types_pb2.VolumePosted(member_id="A", amount_hundredths=150)
                ),
            ]
        ),
        pusher_pb2.PushUpdatesRequest(
            updates=[types_pb2.Update(update_id="u3", period_opened=types_pb2.PeriodOpened(period="2026-12"))]
        ),
        pusher_pb2.PushUpdatesRequest(
            updates=[
                types_pb2.Update(update_id="u4", column_declared=_DECLARED),
                types_pb2.Update(
                    update_id="u5", member_changed=types_pb2.MemberChanged(member_id="A", columns={"phone": "1"})
                ),
            ]
        ),
    ]


def _inputs() -> list[bytes]:
    given: dict[str, list[Any]] = {
        "PushUpdates": _pushed(),
        "UploadImport": _uploaded(),
        "WatchImport": [pusher_pb2.WatchImportRequest(import_id=1)],
        "GetImportProfile": [pusher_pb2.GetImportProfileRequest(name="a")],
        "SkipUpdate": [pusher_pb2.SkipUpdateRequest(position=1, reason="why", force=True)],
        "EraseMember": [pusher_pb2.EraseMemberRequest(member_id="A")],
        "GetErasure": [pusher_pb2.GetErasureRequest(member_id="A")],
        "ReadPersonal": [pusher_pb2.ReadPersonalRequest(node="n1", after=1)],
        "AdoptLog": [pusher_pb2.AdoptLogRequest(reason="why")],
        "ReadLog": [pusher_pb2.ReadLogRequest(first_position=1, last_position=2)],
        "DownloadImport": [import_source_pb2.DownloadImportRequest(import_id=1, offset=3)],
    }
    services = [(_SERVICE, Names()), (_FILES, Names())]
    profile = pusher_pb2.UploadImportRequest()
    profile.header.CopyFrom(_uploaded()[0].header)
    profile.header.profile.separator = ";"
    return [
        *plain_inputs(services, given),
        input_of(1, [profile, _uploaded()[1]], streams=True),
    ]


TARGETS = [Target("pusher.calls", _calls, REFUSALS, _inputs, 2_048)]
