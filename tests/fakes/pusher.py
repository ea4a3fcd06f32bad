"""A pusher whose log is a list, with faults that a test can ask for."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
from google.rpc import code_pb2

from fasttree.v1 import (
    import_source_pb2,
    import_source_pb2_grpc,
    pusher_pb2,
    pusher_pb2_grpc,
    treenode_pb2,
    types_pb2,
)
from services.shared.config.hosts_file import read_hosts_file
from services.shared.domain.thresholds import ImportThresholds
from services.shared.files.chunks import make_chunk
from services.shared.files.names import file_name_problem
from services.shared.rules import rules_message, rules_of
from services.shared.serving.errors import (
    DataLossError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    OutOfRangeError,
)
from services.shared.wire.record import checksum
from tests.fakes.import_file import BadFileError, read_tree
from tests.fakes.server import CLUSTER, Fake

_CHUNK_BYTES = 64
#: What its log begins with.
FOUNDING = replace(
    rules_of(("PV",), ("2026-11", "2026-10"), version=0), import_thresholds=ImportThresholds(members_min=4)
)


class FakePusher(pusher_pb2_grpc.PusherServiceServicer, import_source_pb2_grpc.ImportSourceServiceServicer, Fake):
    """One node stands for all: `n1` takes each import while somebody watches it, unless the file is bad."""

    adders = (
        pusher_pb2_grpc.add_PusherServiceServicer_to_server,
        import_source_pb2_grpc.add_ImportSourceServiceServicer_to_server,
    )

    def __init__(self, log_id: str = "log-1") -> None:
        super().__init__()
        self.log_id = log_id
        #: Read at each look at the pusher.
        self.hosts_file: Path | None = None
        #: The log that nodes hold the state of instead; empty: none.
        self.contested_by = ""
        #: The log; the position of one is its index plus one.
        self.updates: list[types_pb2.Update] = []
        self.first_position = 1
        #: Position of a record that can't be read any more; 0: none.
        self.damaged_position = 0
        #: The import in force; 0: none.
        self.import_id = 0
        #: Every import's manifest and content, and the status of those that were uploaded: the newest first.
        self.files: dict[int, tuple[types_pb2.ImportManifest, bytes]] = {}
        self.imports: list[pusher_pb2.ImportStatus] = []
        # What was asked of it.
        self.pushed_messages = 0
        self.largest_message = 0
        self.log_reads = 0
        self.sent_bytes = 0
        # Faults.
        #: Ends a push after so many further updates, before their receipts.
        self.break_after: int | None = None
        #: Breaks uploads before the answer, after the file was taken.
        self.break_uploads = 0
        #: Ends a download after so many bytes, once.
        self.cut_after_bytes: int | None = None
        #: What there is to say of a file whose position nobody named.
        self.remark = ""
        #: What the rules refuse, by the update's id: why.
        self.refuses: dict[str, str] = {}
        #: From that update on none is taken: nodes have another past than its log.
        self.contested_from = ""
        #: What it says of its log.
        self.log_damage = ""
        #: An import that its one node serves, and that it never gave to anybody.
        self.strange_import_id = 0
        #: Profiles that are kept, by name.
        self.profiles: dict[str, pusher_pb2.ImportProfile] = {}
        #: The one that the last upload came with.
        self.profile_uploaded = pusher_pb2.ImportProfile()
        #: Answers no push.
        self.silent = False
        #: What receipts of taken updates say.
        self.outcome = types_pb2.OUTCOME_UNSPECIFIED
        #: Positions of which it does not know any more what nodes made of them; and those that none confirms in time.
        self.forgotten: set[int] = set()
        self.unconfirmed: set[int] = set()
        self._positions: dict[str, int] = {}
        self._grown = asyncio.Event()

    def log_end(self) -> treenode_pb2.LogEnd:
        """How far the log goes."""
        end = treenode_pb2.LogEnd(
            first_position=self.first_position, position=len(self.updates), import_id=self.import_id
        )
        end.sent_at.GetCurrentTime()
        return end

    def record(self, position: int) -> treenode_pb2.LogRecord:
        body = self.updates[position - 1].SerializeToString()
        return treenode_pb2.LogRecord(position=position, update=body, crc32=checksum(position, body))

    def add_import(
        self, import_id: int, content: bytes, as_of_position: int, file_name: str = "members.csv", force: bool = False
    ) -> types_pb2.ImportManifest:
        """An import's file."""
        manifest = types_pb2.ImportManifest(
            import_id=import_id,
            file_name=file_name,
            size_bytes=len(content),
            sha256=hashlib.sha256(content).digest(),
            as_of_position=as_of_position,
            force=force,
            rules=rules_message(FOUNDING),
        )
        self.files[import_id] = (manifest, content)
        return manifest

    # -- the log

    async def PushUpdates(
        self, requests: AsyncIterator[pusher_pb2.PushUpdatesRequest], context: Any
    ) -> AsyncIterator[pusher_pb2.PushUpdatesResponse]:
        async for request in requests:
            self.pushed_messages += 1
            self.largest_message = max(self.largest_message, len(request.updates))
            if self.silent:
                await asyncio.sleep(3600)
            taken = list(itertools.takewhile(lambda update: update.update_id != self.contested_from, request.updates))
            receipts = [self._take(update) for update in taken]
            self._grown.set()
            self._grown = asyncio.Event()
            if self.break_after is not None:
                self.break_after -= len(request.updates)
                if self.break_after <= 0:
                    self.break_after = None
                    await context.abort(grpc.StatusCode.UNKNOWN, "Stream removed")
            yield pusher_pb2.PushUpdatesResponse(receipts=receipts)
            if len(taken) < len(request.updates):
                raise FailedPreconditionError("nodes have another past than this log", reason="LOG_CONTESTED")

    def _take(self, update: types_pb2.Update) -> pusher_pb2.Receipt:
        if not update.update_id or update.WhichOneof("change") is None:
            message = "has no update_id, or no change"
            return pusher_pb2.Receipt(update_id=update.update_id, code=code_pb2.INVALID_ARGUMENT, message=message)
        if update.update_id in self.refuses:
            code, message = code_pb2.FAILED_PRECONDITION, self.refuses[update.update_id]
            return pusher_pb2.Receipt(update_id=update.update_id, code=code, message=message)
        if len(self._positions) != len(self.updates):  # a test put some in
            self._positions = {known.update_id: position for position, known in enumerate(self.updates, 1)}
        known = self._positions.get(update.update_id)
        if known is None:
            self.updates.append(update)
            self._positions[update.update_id] = len(self.updates)
            return pusher_pb2.Receipt(update_id=update.update_id, position=len(self.updates), outcome=self.outcome)
        if self.updates[known - 1] != update:
            message = "other content under this id; give the change an id of its own"
            return pusher_pb2.Receipt(update_id=update.update_id, code=code_pb2.ALREADY_EXISTS, message=message)
        outcome = self.outcome if known not in self.forgotten else types_pb2.OUTCOME_UNSPECIFIED
        code = code_pb2.UNAVAILABLE if known in self.unconfirmed else code_pb2.OK
        return pusher_pb2.Receipt(
            update_id=update.update_id, position=known, duplicate=True, outcome=outcome, code=code
        )

    async def ReadLog(
        self, request: pusher_pb2.ReadLogRequest, context: Any
    ) -> AsyncIterator[pusher_pb2.ReadLogResponse]:
        self.log_reads += 1
        if request.log_id and request.log_id != self.log_id:
            raise FailedPreconditionError(f"this is log {self.log_id}", reason="OTHER_LOG")
        position, last, end = request.first_position, request.last_position, len(self.updates)
        if not self.first_position <= position <= end + (last == 0) or (last and not position <= last <= end):
            raise OutOfRangeError(f"{position} to {last} is not in the log: it has {self.first_position} to {end}")
        while not last or position <= last:
            grown = self._grown
            if position > len(self.updates):
                await grown.wait()
            elif position == self.damaged_position:
                raise DataLossError(f"log record at position {position}: its checksum is wrong")
            else:
                yield pusher_pb2.ReadLogResponse(records=[self.record(position)])
                position += 1

    async def GetPusher(self, request: pusher_pb2.GetPusherRequest, context: Any) -> pusher_pb2.GetPusherResponse:
        strange = self.strange_import_id
        progress = pusher_pb2.NodeProgress(
            node="n1",
            connected=True,
            applied_position=len(self.updates),
            import_id=strange,
            import_unknown=bool(strange),
        )
        return pusher_pb2.GetPusherResponse(
            cluster=CLUSTER,
            log_id=self.log_id,
            log_end=self.log_end(),
            nodes=[progress],
            imports=self.imports[:20],
            hosts=[host.instant_address for host in read_hosts_file(self.hosts_file)] if self.hosts_file else [],
            closed_reason=f"nodes have the state of log {self.contested_by}" if self.contested_by else "",
            log_damage=self.log_damage,
        )

    async def AdoptLog(self, request: pusher_pb2.AdoptLogRequest, context: Any) -> pusher_pb2.AdoptLogResponse:
        if not request.reason:
            raise InvalidArgumentError("reason must be 1 to 200 printable characters", field="reason")
        if not self.contested_by:
            raise FailedPreconditionError("there is nothing to adopt", reason="NOTHING_TO_ADOPT")
        replaced, self.contested_by = self.contested_by, ""
        return pusher_pb2.AdoptLogResponse(log_id=self.log_id, replaced_log_ids=[replaced])

    # -- imports

    async def UploadImport(
        self, requests: AsyncIterator[pusher_pb2.UploadImportRequest], context: Any
    ) -> pusher_pb2.UploadImportResponse:
        header = (await anext(requests)).header
        remark = "" if header.HasField("as_of_position") else self.remark
        if remark and header.ask_first:
            raise FailedPreconditionError(remark, reason="UPDATES_SINCE_EXPORT", field="as_of_position")
        content = b""
        async for request in requests:
            chunk = make_chunk(len(content), request.chunk.data)
            if chunk != request.chunk:
                raise DataLossError("a chunk is damaged, or is not the next one", field="chunk")
            content += chunk.data
        if file_name_problem(header.file_name) or not content:
            raise InvalidArgumentError("a file has a name without / and controls, and content", field="file_name")
        position = header.as_of_position if header.HasField("as_of_position") else len(self.updates)
        if position > len(self.updates):
            raise InvalidArgumentError(f"the log ends at {len(self.updates)}", field="as_of_position")
        if header.size_bytes != len(content) or header.sha256 not in (b"", hashlib.sha256(content).digest()):
            raise DataLossError("the file is not the one that the header tells of", field="header")
        self.profile_uploaded = header.profile
        manifest = self._uploaded(content, position, header.file_name, header.force)
        manifest.remark = remark
        if self.break_uploads:
            self.break_uploads -= 1
            await context.abort(grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2")
        return pusher_pb2.UploadImportResponse(manifest=manifest)

    async def GetImportProfile(
        self, request: pusher_pb2.GetImportProfileRequest, context: Any
    ) -> pusher_pb2.GetImportProfileResponse:
        if request.name not in self.profiles:
            text = f"profile: there is no profile {request.name}; kept are {', '.join(self.profiles)}"
            raise InvalidArgumentError(text, reason="PROFILE_INVALID", field="profile")
        return pusher_pb2.GetImportProfileResponse(profile=self.profiles[request.name])

    def _uploaded(self, content: bytes, position: int, file_name: str, force: bool) -> types_pb2.ImportManifest:
        manifest = self.add_import(len(self.files) + 1, content, position, file_name, force)
        self.imports.insert(0, pusher_pb2.ImportStatus(manifest=manifest, state=pusher_pb2.IMPORT_STATE_WAITING))
        return manifest

    async def WatchImport(
        self, request: pusher_pb2.WatchImportRequest, context: Any
    ) -> AsyncIterator[pusher_pb2.WatchImportResponse]:
        wanted = request.import_id or (self.imports[0].manifest.import_id if self.imports else 0)
        status = next((status for status in self.imports if status.manifest.import_id == wanted), None)
        if status is None:
            raise NotFoundError(f"no import {request.import_id}", field="import_id", value=str(request.import_id))
        yield pusher_pb2.WatchImportResponse(status=status)
        if status.state != pusher_pb2.IMPORT_STATE_WAITING:
            return
        status.state = pusher_pb2.IMPORT_STATE_ROLLING_OUT
        progress = status.nodes.add(node="n1").progress
        progress.phase, progress.percent = treenode_pb2.IMPORT_PHASE_DOWNLOADING, 50
        yield pusher_pb2.WatchImportResponse(status=status)
        try:
            progress.rows = len(read_tree(self.files[wanted][1]))
        except BadFileError as error:
            progress.phase, progress.reason = treenode_pb2.IMPORT_PHASE_REFUSED, error.reason
            progress.rejected_count = len(error.rows)
            progress.rejected_rows.extend(error.rows)
            status.state = pusher_pb2.IMPORT_STATE_REFUSED
        else:
            progress.phase, progress.percent = treenode_pb2.IMPORT_PHASE_DONE, 100
            status.state = pusher_pb2.IMPORT_STATE_DONE
            self.import_id = wanted
        yield pusher_pb2.WatchImportResponse(status=status)

    async def RollbackImport(
        self, request: pusher_pb2.RollbackImportRequest, context: Any
    ) -> pusher_pb2.RollbackImportResponse:
        done = [status.manifest for status in self.imports if status.state == pusher_pb2.IMPORT_STATE_DONE]
        if len(done) < 2:
            raise FailedPreconditionError("there is no import before the current one; upload the file that you want")
        before, content = self.files[done[1].import_id]
        manifest = self._uploaded(content, before.as_of_position, before.file_name, force=True)
        return pusher_pb2.RollbackImportResponse(manifest=manifest)

    async def DownloadImport(
        self, request: import_source_pb2.DownloadImportRequest, context: Any
    ) -> AsyncIterator[import_source_pb2.DownloadImportResponse]:
        if request.import_id not in self.files:
            raise NotFoundError(f"no import {request.import_id}", field="import_id", value=str(request.import_id))
        manifest, content = self.files[request.import_id]
        if request.offset > len(content):
            raise OutOfRangeError(f"the file has {len(content)} bytes", field="offset", value=str(request.offset))
        yield import_source_pb2.DownloadImportResponse(manifest=manifest)
        for offset in range(request.offset, len(content), _CHUNK_BYTES):
            if self.cut_after_bytes is not None and offset >= self.cut_after_bytes:
                self.cut_after_bytes = None
                await context.abort(grpc.StatusCode.UNAVAILABLE, "cut")
            data = content[offset : offset + _CHUNK_BYTES]
            self.sent_bytes += len(data)
            yield import_source_pb2.DownloadImportResponse(chunk=make_chunk(offset, data))


@contextlib.asynccontextmanager
async def fake_pusher(log_id: str = "log-1") -> AsyncIterator[FakePusher]:
    """One with an empty log."""
    pusher = FakePusher(log_id)
    await pusher.start()
    try:
        yield pusher
    finally:
        await pusher.stop()
