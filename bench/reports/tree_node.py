"""A real tree node process for benches: started, fed and read from outside, with the bench as its pusher."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from bench.cluster.cluster import children_of, cpu_s, free_port, wait_for
from fasttree.v1 import (
    import_source_pb2_grpc,
    report_pb2,
    report_pb2_grpc,
    treenode_pb2,
    treenode_pb2_grpc,
    types_pb2,
)
from services.shared.files.import_source import HeldImport, ImportSourceServicer
from services.shared.serving.channels import open_channel
from services.shared.wire.record import checksum

VOLUME_TYPES = ("PV", "CV")
PERIODS = ("2026-11", "2026-10")
_IMPORT_ID = 1
_LOG_ID = "bench"
_RULES = types_pb2.Rules(volume_types=VOLUME_TYPES, open_periods=PERIODS, current_period=PERIODS[0])
_SAMPLE_S = 0.02
_START_TIMEOUT_S = 120.0
_Phase = treenode_pb2.ImportPhase


@dataclass
class ImportTimes:
    """How long a node took for an import."""

    #: When each phase began, seconds on the monotonic clock; DONE: when it served.
    began_s: dict[int, float] = field(default_factory=dict)
    #: Most memory of the node and its helpers at one time, in bytes, shared pages counted once.
    peak_bytes: int = 0

    @property
    def served_s(self) -> float:
        """From the file on the node's disk to every group volume served, in seconds."""
        return self.began_s[_Phase.IMPORT_PHASE_DONE] - self.began_s[_Phase.IMPORT_PHASE_CHECKING]

    def told(self) -> str:
        """The phases, for people."""
        names = {int(number): name.removeprefix("IMPORT_PHASE_").lower() for name, number in _Phase.items()}
        starts = sorted(self.began_s.items(), key=lambda item: item[1])
        spans = pairwise(starts)
        return ", ".join(f"{names[phase]} {end - begin:.2f} s" for (phase, begin), (_, end) in spans)


class BenchNode:
    """One node. `start`, then what is to be measured, then `stop`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = {name: free_port() for name in ("report_port", "instant_port", "http_port")}
        self._process: asyncio.subprocess.Process | None = None
        self._channels: list[grpc.aio.Channel] = []
        self._stream: Any = None
        #: The last update that the node was sent.
        self.position = 0

    @property
    def report_address(self) -> str:
        """host:port of the reports."""
        return f"127.0.0.1:{self._ports['report_port']}"

    @property
    def pid(self) -> int:
        """Of the node's process."""
        assert self._process is not None
        return self._process.pid

    def channel(self, port: str = "report_port") -> grpc.aio.Channel:
        """A new channel to one of its ports."""
        self._channels.append(open_channel(f"127.0.0.1:{self._ports[port]}"))
        return self._channels[-1]

    async def start(self) -> None:
        """Starts the process, and introduces the bench as its pusher as soon as it listens."""
        settings = {
            "treenode.name": "bench",
            "treenode.listen_host": "127.0.0.1",
            "treenode.host": "127.0.0.1",
            "treenode.state_folder": str(self._folder / "state"),
            "treenode.import_process_after_s": "1",
            **{f"treenode.{name}": str(port) for name, port in self._ports.items()},
        }
        sets = [item for name, value in settings.items() for item in ("--set", f"{name}={value}")]
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "node.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "services.treenode", *sets, stdout=log, stderr=log
            )
        self._instant = treenode_pb2_grpc.TreeNodeServiceStub(self.channel("instant_port"))
        await wait_for(self._meet, _START_TIMEOUT_S, f"the node to listen; see {self._folder / 'node.log'}")

    async def _meet(self) -> bool:
        """Opens the pusher's stream."""
        self._stream = self._instant.ApplyUpdates()
        hello = treenode_pb2.PusherHello(
            cluster="dot-live", log_id=_LOG_ID, pusher_address=self.report_address, founding_rules=_RULES
        )
        await self._stream.write(treenode_pb2.ApplyUpdatesRequest(hello=hello, log_end=self._log_end()))
        answer = await self._stream.read()
        if answer is grpc.aio.EOF:
            return False
        self.position = answer.status.position
        return True

    def _log_end(self) -> treenode_pb2.LogEnd:
        return treenode_pb2.LogEnd(first_position=1, position=self.position, import_id=0)

    async def _waits(self) -> None:
        """Waits until the node has nothing to do and has a process that waits for an import file, as one that has run
        for some seconds has.
        """
        used_s = [0.0]

        async def waits() -> bool:
            await asyncio.sleep(0.3)
            children = children_of(self.pid)
            used_s.append(sum(cpu_s(each) for each in (self.pid, *children)))
            return bool(children) and used_s[-1] - used_s[-2] < 0.03

        await wait_for(waits, _START_TIMEOUT_S, "the node and its process for import files to be at rest")

    async def load_import(self, file: Path, import_id: int = _IMPORT_ID) -> ImportTimes:
        """Has the node take a file, and waits until it serves from it."""
        await self._waits()
        manifest = types_pb2.ImportManifest(
            import_id=import_id,
            file_name=file.name,
            format=types_pb2.IMPORT_FORMAT_CSV,
            size_bytes=file.stat().st_size,
            rules=_RULES,
        )
        # Beside the loop, which reads the node meanwhile.
        manifest.sha256 = await asyncio.to_thread(_sha256_of, file)

        async def find(_import_id: int) -> HeldImport:
            return HeldImport(manifest, file)

        server = grpc.aio.server()
        import_source_pb2_grpc.add_ImportSourceServiceServicer_to_server(ImportSourceServicer(find), server)
        source = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        times = ImportTimes()
        sampling = asyncio.ensure_future(self._sample_memory(times))
        request = treenode_pb2.LoadImportRequest(manifest=manifest, sources=[source], pusher_address=source)
        async for response in self._instant.LoadImport(request):
            times.began_s.setdefault(response.phase, time.monotonic())
        sampling.cancel()
        await server.stop(0)
        await self.heartbeat()
        return times

    async def _sample_memory(self, times: ImportTimes) -> None:
        while True:
            times.peak_bytes = max(times.peak_bytes, _anonymous_bytes(self.pid))
            await asyncio.sleep(_SAMPLE_S)

    async def heartbeat(self) -> None:
        """Tells the node that it lacks nothing."""
        await self._stream.write(treenode_pb2.ApplyUpdatesRequest(log_end=self._log_end()))
        await self._stream.read()

    async def apply(self, updates: Sequence[types_pb2.Update]) -> float:
        """Sends updates at the next positions; seconds until the node says that it has them."""
        first = self.position + 1
        self.position += len(updates)
        request = treenode_pb2.ApplyUpdatesRequest(log_end=self._log_end())
        for position, update in enumerate(updates, start=first):
            encoded = update.SerializeToString()
            request.records.add(position=position, update=encoded, crc32=checksum(position, encoded))
        begin = time.perf_counter()
        await self._stream.write(request)
        applied = 0
        while applied < self.position:
            applied = (await self._stream.read()).applied_position
        return time.perf_counter() - begin

    async def wait_for_snapshot(self, import_id: int = _IMPORT_ID) -> None:
        """Waits until the node has written the state of the import, and no helper of it runs any more."""

        async def written() -> bool:
            found = any((self._folder / "state" / "snapshots").glob(f"*{import_id}*"))
            return found and not _forked(self.pid)

        await wait_for(written, 300.0, "the node's snapshot")

    async def restart(self, member_id: str, import_id: int = _IMPORT_ID) -> float:
        """Ends the node and starts it again; seconds from the start to the first report answered from its snapshot."""
        await self.stop()
        begin = time.perf_counter()
        await self.start()
        stub = report_pb2_grpc.ReportServiceStub(self.channel())

        async def answered() -> bool:
            answer = await stub.GetMember(report_pb2.GetMemberRequest(member_id=member_id), timeout=5)
            return bool(answer.as_of.import_id == import_id)

        await wait_for(answered, 120.0, "the node to serve from its snapshot")
        return time.perf_counter() - begin

    async def stop(self) -> None:
        """Ends the node as an operator would."""
        for channel in self._channels:
            await channel.close()
        self._channels.clear()
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(self._process.wait(), 120)


def _sha256_of(file: Path) -> bytes:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").digest()


def _anonymous_bytes(pid: int) -> int:
    """Memory of a process and of the helpers that it started, without the programs' own files; quickly found."""
    total = 0
    with contextlib.suppress(OSError):
        # A forked copy (it writes a snapshot) has its memory from the process itself.
        for each in {pid, *children_of(pid)} - _forked(pid):
            status = Path(f"/proc/{each}/status").read_text()
            total += sum(int(kilobytes) << 10 for kilobytes in re.findall(r"RssAnon:\s+(\d+) kB", status))
        return total + sum(_memory_files(pid).values())
    return total


def _memory_files(pid: int) -> dict[int, int]:
    """Bytes of each file that is memory only, of a process and its children; by inode."""
    files = {}
    for each in (pid, *children_of(pid)):
        for descriptor in Path(f"/proc/{each}/fd").iterdir():
            if str(descriptor.readlink()).startswith("/memfd:"):
                found = descriptor.stat()
                files[found.st_ino] = found.st_blocks * 512
    return files


def memory_bytes(pid: int) -> int:
    """Memory of a process and its children, pages that several of them share counted once; with what they keep in
    files that are memory only.
    """
    total = 0
    with contextlib.suppress(OSError):
        for each in (pid, *children_of(pid)):
            text = Path(f"/proc/{each}/smaps_rollup").read_text()
            total += next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) << 10
        total += sum(_memory_files(pid).values())
    return total


def _forked(pid: int) -> set[int]:
    """Those of its children that are copies of it."""
    found = set()
    command = Path(f"/proc/{pid}/cmdline").read_bytes()
    for child in children_of(pid):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{child}/cmdline").read_bytes() == command:
                found.add(child)
    return found
