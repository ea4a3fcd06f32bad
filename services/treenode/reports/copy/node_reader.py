"""How calls get at one state of the node's tree: at once on the loop, or in a thread under the gate."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import grpc.aio

from fasttree.v1 import report_pb2
from services.shared.processors import at_most_processors
from services.shared.security.caller import leads_of, may
from services.shared.security.roles import PERSONAL_COLUMNS
from services.shared.serving.errors import DeadlineExceededError, UnavailableError
from services.shared.wire.fields import field
from services.treenode.reports.copy.buffers import Buffers
from services.treenode.reports.copy.extents import catalogue_of
from services.treenode.reports.copy.freeze import FrozenLinks
from services.treenode.reports.copy.revealed import Reveal
from services.treenode.reports.copy.room import CopyRoom
from services.treenode.reports.copy.view import NodeView
from services.treenode.reports.limits import ReportLimits
from services.treenode.reports.plan.choice import Catalogue, Choice, choose

if TYPE_CHECKING:
    from services.treenode.tree import Tree
    from services.treenode.tree.columns.slots import Slots

T = TypeVar("T")
Context = grpc.aio.ServicerContext[Any, Any]

#: Of `as_of` in every answer.
AS_OF = 1
#: What is left to a call after a wait for its position, in seconds.
ANSWER_MARGIN_S = 0.01
#: Of a node without a tree.
NOT_PERSONAL: frozenset[str] = frozenset()
#: Different options that are kept parsed.
CHOICES_MAX = 256


@dataclass(frozen=True)
class Ready:
    """What was got ready for a reading, before its turn in the gate; nothing where it is read on the loop."""

    #: Memory for its copy.
    buffers: Buffers | None = None
    #: The copy's first half, of an earlier turn.
    links: FrozenLinks | None = None


@dataclass(frozen=True)
class Scan(Generic[T]):
    """How many members of one state are read."""

    #: Members that the work will read, about; up to `loop_rows_max` are read on the loop.
    size: Callable[[Tree], int]
    loop_rows_max: int
    #: Checks the request; the work that it returns does the reading.
    begin: Callable[[Tree, Ready], Callable[[], T]]
    #: Memory that the work takes for that many, if it copies them; got ready outside the gate.
    buffer_bytes: Callable[[Tree, int], int] | None = None
    #: Begins the first half of the copy, which has a turn in the gate of its own.
    begin_links: Callable[[Tree, Buffers], Callable[[], FrozenLinks]] | None = None


class NodeReader:
    """The tree, its position and the threads, for the calls of one service."""

    def __init__(
        self, view: NodeView, limits: ReportLimits, like: NodeReader | None = None, reveal: Reveal | None = None
    ) -> None:
        """`like`: whose threads and memory it shares, and what finds personal values: `reveal`, as the node has it."""
        self._reveal: Reveal | None = like._reveal if like else reveal
        self._view = view
        #: By whose rules a column is personal, of whatever state its values are.
        self._live: NodeView = like._live if like else view
        self._limits = limits
        self._threads: ThreadPoolExecutor = (
            like._threads
            if like
            else ThreadPoolExecutor(at_most_processors(limits.threads), thread_name_prefix="report")
        )
        self.room: CopyRoom = like.room if like else CopyRoom(limits.copy_bytes_max, limits.copies_waiting_max)
        #: What `_catalogue` and `_choices` are about.
        self._tree: Tree | None = None
        self._slots: Slots | None = None
        self._personal = NOT_PERSONAL
        self._catalogue = Catalogue((), (), {})
        #: By serialized options, and whether they are of who has the right to personal columns.
        self._choices: dict[tuple[bytes, bool], Choice] = {}
        self._default: Choice | None = None
        #: The view's last word on what answers are as of, and the field made of it.
        self._as_of_bytes: bytes | None = None
        self._as_of_field = b""

    def close(self) -> None:
        """Ends the threads, once their work is done."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def as_of(self) -> bytes:
        """What an answer of this moment is as of: field 1 of each answer."""
        encoded = self._view.as_of_bytes()
        if encoded is not self._as_of_bytes:
            self._as_of_bytes, self._as_of_field = encoded, field(AS_OF, encoded)
        return self._as_of_field

    def catalogue(self, tree: Tree) -> Catalogue:
        """What the tree has; a tree's columns stay as they are."""
        live = self._live.tree
        personal = NOT_PERSONAL if live is None else live.rules.personal
        if tree is not self._tree or tree.slots is not self._slots or personal is not self._personal:
            self._tree, self._slots, self._personal = tree, tree.slots, personal
            self._catalogue = catalogue_of(tree, personal, self._reveal)
            self._choices = {}
            self._default = None
        return self._catalogue

    def choice(self, tree: Tree, options: report_pb2.ReportOptions, context: Context) -> Choice:
        """What the options ask for, and what the call may see. Raises as `choose`."""
        catalogue, leads = self.catalogue(tree), leads_of(context)
        found = self._choice(catalogue, options, sees_personal=not self.hidden(tree, context))
        return found if leads is None else replace(found, leads=leads)

    def hidden(self, tree: Tree, context: Context) -> frozenset[str]:
        """Further columns that are not for whoever asks."""
        personal = self.catalogue(tree).personal
        return NOT_PERSONAL if not personal or may(context, PERSONAL_COLUMNS) else personal

    def _choice(self, catalogue: Catalogue, options: report_pb2.ReportOptions, *, sees_personal: bool) -> Choice:
        if options.min_position:
            plain = report_pb2.ReportOptions()
            plain.CopyFrom(options)
            plain.ClearField("min_position")
            options = plain
        key = (options.SerializeToString(), sees_personal)
        choice = self._choices.get(key)
        if choice is None:
            choice = choose(options, catalogue, sees_personal=sees_personal)
            if len(self._choices) >= CHOICES_MAX:
                self._choices.clear()
            self._choices[key] = choice
        return choice

    def default_choice(self, tree: Tree) -> Choice:
        """What no options at all ask for, of a call that may see everybody."""
        if tree is not self._tree or tree.slots is not self._slots or self._default is None:
            self._default = self._choice(self.catalogue(tree), report_pb2.ReportOptions(), sees_personal=False)
        return self._default

    def tree_now(self) -> Tree | None:
        """The tree where it is whole: `tree_at` without a coroutine, which most calls can do without."""
        return None if self._view.gate.writing else self._view.tree

    async def tree_at(self, min_position: int, context: Context) -> Tree:
        """The tree, once it is at the position; whole until the next await.

        Raises:
            UnavailableError: There is no tree yet.
            DeadlineExceededError: It did not get there within the call's deadline.
        """
        if min_position:
            tree = self._view.tree
            if tree is None or min_position > tree.position:
                await self._wait(min_position, context)
        gate = self._view.gate
        if gate.writing:
            await gate.settled()
        return self._present()

    async def scan(self, min_position: int, context: Context, scan: Scan[T]) -> tuple[bytes, T]:
        """Reads many members of one state: what that is as of, and what the scan's work returned. Raises as `tree_at`,
        and as the scan does.
        """
        tree = await self.tree_at(min_position, context)
        members = scan.size(tree)
        if members <= scan.loop_rows_max:
            return self.as_of(), scan.begin(tree, Ready())()
        ready = await self._get_ready(tree, members, scan)
        noted: list[bytes] = []

        def begin_inside() -> Callable[[], T]:
            work = scan.begin(self._present(), ready)
            noted.append(self.as_of())
            return work

        found = await self._view.gate.read_begun(begin_inside)
        return noted[0], found

    async def _get_ready(self, tree: Tree, members: int, scan: Scan[T]) -> Ready:
        if scan.buffer_bytes is None:
            return Ready()
        bytes_needed, begin_links = scan.buffer_bytes(tree, members + tree.empty_place_count), scan.begin_links
        await self.room.take(bytes_needed)
        try:
            buffers = await self.in_thread(lambda: Buffers(bytes_needed))
        except BaseException:
            self.room.give_back(bytes_needed)
            raise
        self.room.give_back_with(buffers, bytes_needed)
        if begin_links is None:
            return Ready(buffers)
        return Ready(buffers, await self._view.gate.read_begun(lambda: begin_links(self._present(), buffers)))

    def in_thread(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Begins work on copied rows in a thread."""
        return asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _present(self) -> Tree:
        tree = self._view.tree
        if tree is None:
            raise UnavailableError("this node has no tree yet: ask another, or try again", reason="NO_TREE")
        return tree

    async def _wait(self, position: int, context: Context) -> None:
        left_s = context.time_remaining()
        wait_s = self._limits.position_wait_s_max if left_s is None else left_s - ANSWER_MARGIN_S
        try:
            async with asyncio.timeout(max(0.0, wait_s)):
                await self._view.wait_for_position(position)
        except TimeoutError as error:
            tree = self._view.tree
            raise DeadlineExceededError(
                f"min_position {position} was not reached in time: this node is at {tree.position if tree else 0}; "
                "allow more time, or ask for less",
                reason="POSITION_NOT_REACHED",
                field="min_position",
                value=str(position),
            ) from error
