"""Takes an import: its file, the check, the new tree; when that takes the live one's place is the cutover's to say.

The old tree serves and takes updates all the while. The file is read in another process; the new tree is built in
threads that give way to the others.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fasttree.v1 import treenode_pb2, types_pb2
from services.shared.files.downloads import DownloadFailedError
from services.shared.files.sealed.own import keys_to_hand
from services.shared.rules import Rules, meant_at, rules_from, version_problem
from services.shared.serving.errors import UnavailableError
from services.treenode.imports.files import ImportFiles
from services.treenode.imports.process import NICE, Checking, Read, ReadMessage, ReadRequest
from services.treenode.imports.reading import ImportLimits, ImportRefusedError, refuse_tree
from services.treenode.imports.reconciliation import refusal
from services.treenode.imports.table_reader import ReadFailedError, TableReader
from services.treenode.node import cutover_events as cut
from services.treenode.node.cutover_events import Cause
from services.treenode.node.runner import NodeRunner
from services.treenode.replication.build_runner import OF_THE_LOG, BuildRunner
from services.treenode.tree import CarriedHold, ImportTable, Tree, defect, resolved

Response = treenode_pb2.LoadImportResponse
_Phase = treenode_pb2.ImportPhase

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImportTaken:
    """The node serves from the import, or from a newer one."""

    #: Rows of its file; 0 where the node had it already.
    rows: int
    #: What it carried, where the node serves from that very import.
    carried_positions: tuple[int, ...]
    #: Those of it that wait for removed members.
    carried_holds: tuple[CarriedHold, ...]
    #: The removals before it that the node knows of.
    carried_removals: tuple[tuple[str, int], ...]
    #: How it differs from the tree before; None where there was nothing to compare it with.
    reconciliation: treenode_pb2.Reconciliation | None


class ImportLoader:
    """What the loads of one node share."""

    def __init__(
        self,
        node: NodeRunner,
        files: ImportFiles,
        tables: TableReader,
        limits: ImportLimits,
        on_taken: Callable[[], None],
    ) -> None:
        """`on_taken`: called once the node serves from another import."""
        self.node = node
        self.files = files
        self.tables = tables
        self.limits = limits
        self._on_taken = on_taken

    async def load(
        self, request: treenode_pb2.LoadImportRequest, pusher_address: str, tell: Callable[[Response], None]
    ) -> ImportTaken:
        """Takes the import, unless the node has it already.

        Raises:
            ImportRefusedError: The file is bad, or too different; the old tree serves on.
            FastTreeError: Anything else that kept the node from taking it; asked again, it may.
        """
        await self.node.restored.wait()
        manifest = request.manifest
        build = ImportBuild(self, request, pusher_address, tell)
        try:
            outcome = await build.run(
                cut.ImportAsked(
                    build.number,
                    manifest.import_id,
                    manifest.as_of_position,
                    _carried(manifest),
                    as_it_comes=request.as_it_comes,
                    log_id=request.log_id,
                    carried_of=request.carried_of_import_id if request.HasField("carried_of_import_id") else None,
                )
            )
        finally:
            self.node.heartbeat_wanted.set()
        match outcome:
            case cut.Taken(carried=carried):
                self._on_taken()
                logger.info("serves from import %d: %d members", manifest.import_id, build.tree.member_count)
                return ImportTaken(
                    build.rows, carried, build.holds, build.tree.held_updates.carried_removals, build.figures
                )
            case cut.Had(same=same):
                in_force = self.node.in_force
                carried = in_force.carried if same else ()
                holds = in_force.tree.carried_holds(manifest.as_of_position) if carried else ()
                return ImportTaken(
                    0, carried, tuple(holds), in_force.tree.held_updates.carried_removals if same else (), None
                )
        logger.warning("import %d was not taken: %s", manifest.import_id, outcome.reason)
        raise build.error_of(outcome)


class ImportBuild(BuildRunner):
    """The tree of one import's file."""

    def __init__(
        self,
        loader: ImportLoader,
        request: treenode_pb2.LoadImportRequest,
        pusher_address: str,
        tell: Callable[[Response], None],
    ) -> None:
        super().__init__(loader.node, request.pusher_address or pusher_address)
        self._loader = loader
        self._request = request
        self._manifest = request.manifest
        self._tell = tell
        self._told = (-1, -1)
        self.holds = tuple(
            CarriedHold(each.position, each.member_id, each.removed_position) for each in self._manifest.carried_holds
        )
        #: Rows of the file.
        self.rows = 0
        #: How the new tree differs from the live one; None where nobody asked.
        self.figures: treenode_pb2.Reconciliation | None = None

    @property
    def _rules(self) -> Rules:
        """Those at the file's position; where the pusher is of a version that does not say them, the live tree's."""
        manifest = self._manifest
        return rules_from(manifest.rules) if manifest.HasField("rules") else self.node.in_force.tree.rules

    def _check_rules(self) -> None:
        if problem := version_problem(self._rules.version):
            raise UnavailableError(f"import {self._manifest.import_id}: at the file's position {problem}")
        if not self._rules.volume_types or not self._rules.periods:
            raise UnavailableError(
                f"import {self._manifest.import_id}: the pusher does not say which rules hold at the file's position; "
                "upgrade the pusher"
            )

    def meant(self, positions: Sequence[int], updates: Sequence[types_pb2.Update]) -> Sequence[types_pb2.Update]:
        """What an update left open meant what held at its own position, not at the file's."""
        return [
            resolved(update, meant_at(self._manifest, self._rules, position))
            for position, update in zip(positions, updates, strict=True)
        ]

    @property
    def percent(self) -> int:
        """Four phases before the import is done; each is taken for a quarter of the way."""
        phase, percent = self._told
        return (phase - 1) * 25 + percent // 4 if phase > 0 else 0

    async def make(self) -> Tree:
        """Fetches the file, has it read, and builds the tree. Raises ImportRefusedError and others."""
        loader, manifest = self._loader, self._manifest
        self._check_rules()
        self._tell_phase(_Phase.IMPORT_PHASE_DOWNLOADING, 0.0)
        path = await loader.files.get(
            manifest,
            list(self._request.sources),
            lambda share: self._tell_phase(_Phase.IMPORT_PHASE_DOWNLOADING, share),
        )
        self._tell_phase(_Phase.IMPORT_PHASE_CHECKING, 0.0)
        table = await loader.tables.read(self._read_request(path), self._hear_of_reading)
        tree = await _build(table, self._rules, manifest)
        if self._manifest.carried_removals:
            tree.carry_removals((each.member_id, each.position) for each in self._manifest.carried_removals)
            self.removals_carried = True
        self._tell_phase(_Phase.IMPORT_PHASE_REPLAYING, 0.0)
        return tree

    def failed_to_make(self, error: Exception) -> cut.BuildEvent:
        """A bad file is refused; for all else, the file may be good."""
        if isinstance(error, ImportRefusedError):
            return cut.BuildRefused(self.number, str(error))
        return super().failed_to_make(error)

    async def compare(self) -> str:
        """Whether it differs from the tree that is served by more than the thresholds allow: the one of the log before,
        in a node that went over to another. They are the rules of the tree that is served."""
        node = self.node
        live = node.served
        if live.member_count == 0:
            return ""
        found = await node.gate.read(partial(live.reconcile, self.tree))
        logger.info("import %d against the live tree: %s", self._manifest.import_id, str(found))
        self.figures = treenode_pb2.Reconciliation(**dataclasses.asdict(found))
        return "" if self._manifest.force else refusal(self.figures, live.rules.import_thresholds) or ""

    def read_share(self, share: float) -> None:
        """So much of the log is read."""
        self._tell_phase(_Phase.IMPORT_PHASE_REPLAYING, share)

    def error_of(self, outcome: cut.Refused | cut.Failed) -> Exception:
        """What the caller of LoadImport is told."""
        name, error = f"import {self._manifest.import_id}", self.error
        if isinstance(outcome, cut.Refused):
            if isinstance(error, ImportRefusedError):
                return error
            return refuse_tree(outcome.reason)
        if outcome.cause is Cause.NOT_BUILT and isinstance(error, ReadFailedError | DownloadFailedError | OSError):
            return UnavailableError(f"{name}: {error}", reason=outcome.cause.value)
        if outcome.cause is Cause.LOG_NOT_READ and isinstance(error, OF_THE_LOG):
            text = f"{name}: can't read the updates after it: {outcome.reason}"
            return UnavailableError(text, reason=outcome.cause.value)
        return super().error_of(outcome)

    def _read_request(self, path: Path) -> ReadRequest:
        return ReadRequest(
            path=str(path),
            file_format=int(self._manifest.format),
            volume_types=list(self._rules.volume_types),
            periods=list(self._rules.periods),
            columns={column.name: column.kind for column in self._rules.columns},
            sealed_periods=list(self._rules.sealed_periods),
            limits=self._loader.limits,
            sealing=keys_to_hand(),
        )

    def _hear_of_reading(self, message: ReadMessage) -> None:
        if isinstance(message, Checking):
            self._tell_phase(_Phase.IMPORT_PHASE_CHECKING, message.share)
        elif isinstance(message, Read):
            self.rows = message.rows
            self._tell_phase(_Phase.IMPORT_PHASE_BUILDING, 0.0)

    def _tell_phase(self, phase: treenode_pb2.ImportPhase.ValueType, share: float) -> None:
        """Tells whoever asked of progress, once for each percent."""
        told = (int(phase), max(0, min(100, int(share * 100))))
        if told != self._told:
            self._told = told
            self._tell(Response(phase=phase, percent=told[1], rows=self.rows))


async def _build(table: ImportTable, rules: Rules, manifest: types_pb2.ImportManifest) -> Tree:
    """Builds the tree in threads that give way to the node's others. Raises ImportRefusedError."""
    threads = ThreadPoolExecutor(1, thread_name_prefix="build", initializer=_give_way)
    building = partial(Tree.from_table, table, rules, manifest.import_id, manifest.as_of_position)
    try:
        return await asyncio.get_running_loop().run_in_executor(threads, building)
    except OverflowError as error:
        raise refuse_tree(f"import refused: the file: {error}") from error
    except MemoryError:
        raise  # there may be room later
    except Exception as error:
        logger.exception("import %d: no tree can be built of it", manifest.import_id)
        raise refuse_tree(f"import refused: no tree can be built of it: {defect(error)}") from error
    finally:
        threads.shutdown(wait=False)


def _carried(manifest: types_pb2.ImportManifest) -> tuple[int, ...] | None:
    """What the pusher says that the import carries; None where it doesn't know."""
    known = manifest.carried_known or bool(manifest.carried_positions)  # earlier pushers name them alone
    return tuple(manifest.carried_positions) if known else None


def _give_way() -> None:
    # Linux keeps this for each thread, and threads that this one starts begin with it.
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + NICE)
