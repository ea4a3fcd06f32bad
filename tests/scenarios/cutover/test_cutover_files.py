"""The cutover, in a node's core: what the cutover asks for, and how the node's life goes with it. Short forms:

node 1/10 [end=12] [first=3] [in_force=2] [log=log-1]
                     where the node stands (import/position), and what the log has
import 1: 2 as_of=10 [carried=3,5] [of=1] [as_it_comes=yes]
                     build 1: the pusher asks for import 2; carried= : it carries nothing
relayout 2:          build 2
built 1: [10] | bad 1: REASON | failed 1: REASON
held 1: 3,5 | offered 1:
read 1: 12 | unread 1: REASON | damaged 1: REASON | broken 1: REASON
compared 1: [REFUSAL]
gate 1:              its writer is in the gate
cancel 1:
peers a b            the answer to "find peers"; and so on, all for the search under way
peers_and_a_store a  the same, where snapshots are stored somewhere too
offers 1/20 [log=log-1] [bytes=1]
no_snapshot REASON
fetched 3: 1/20 [carried=3,5] [bare=yes]
                     what was offered is a tree in memory, as build 3
applied 12           the live tree took updates
end 20 [in_force=2] [first=1]
hello log-2 end=4 [in_force=2] [first=1]
ends                 the process is asked to end
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

from services.treenode.node import cutover_events as cut
from services.treenode.node import search
from services.treenode.node.builds import IllegalPhaseError
from services.treenode.node.lifecycle import NodeState, StateChanged
from services.treenode.node.node import AskAgain, DrainAsked, NodeAction, NodeCore, NodeEvent
from services.treenode.node.sequence_events import (
    ApplyRecords,
    GoOver,
    LogEnd,
    LogEndHeard,
    PusherHello,
    RecordsApplied,
    RecordsReceived,
    TreeTaken,
)
from services.treenode.node.settings import CutoverSettings, NodeSettings
from tests.scenarios.driver import Table, of_folder

_PARTS = (*get_args(cut.BuildAction), *get_args(search.SearchAction))
SHOWN = (*_PARTS, cut.PauseApplying, cut.ResumeApplying, AskAgain, GoOver)


class ToldCutover(NodeCore):
    """The core of a node, of whose actions those are told that have to do with builds."""

    def __init__(self, settings: CutoverSettings) -> None:
        super().__init__(NodeSettings(cutover=settings), 0.0)
        #: When the last event came, in seconds.
        self.now_s = 0.0

    def handle(self, event: NodeEvent, now_s: float) -> list[NodeAction]:
        """As the core's own."""
        self.now_s = now_s
        return [action for action in super().handle(event, now_s) if _is_shown(action)]


def _is_shown(action: NodeAction) -> bool:
    loads = isinstance(action, StateChanged) and NodeState.LOADING in (action.before, action.after)
    return loads or isinstance(action, SHOWN)


def short(words: list[str], core: ToldCutover) -> object | None:
    """See above."""
    match words:
        case ["node", standing, *options]:
            values = _values(options)
            import_id, position = _standing(standing)
            log_id = values.get("log", "log-1")
            if (import_id, position) != (0, 0):
                core.handle(TreeTaken(log_id, import_id, position), core.now_s)
            return PusherHello(log_id, _log_end({"end": str(position), "in_force": str(import_id), **values}))
        case ["applied", position]:
            first = core.sequence.position + 1
            # As a shell does: what is admitted is applied.
            admitted = NodeCore.handle(core, RecordsReceived(range(first, int(position) + 1)), core.now_s)
            assert ApplyRecords(0, int(position) - first + 1) in admitted, f"nothing is admitted: {admitted}"
            return RecordsApplied(int(position))
        case ["end", end, *options]:
            return LogEndHeard(_log_end({"end": end, **_values(options)}))
        case ["hello", log_id, *options]:
            values = _values(options)
            replaced = tuple(filter(None, values.get("replaces", "").split(",")))
            return PusherHello(log_id, _log_end(values), (), replaced, "it is lost" if replaced else "")
        case ["ends"]:
            return DrainAsked()
    return _search_event(words, core.cutover.search.number) or _build_event(words, core)


def _search_event(words: list[str], number: int) -> object | None:
    match words:
        case ["peers", *peers]:
            return search.PeersFound(number, tuple(peers))
        case ["peers_and_a_store", *peers]:
            return search.PeersFound(number, tuple(peers), has_store=True)
        case ["offers", standing, *options]:
            return search.SnapshotOffered(number, _snapshot(standing, options))
        case ["no_snapshot", *reason]:
            return search.PeerFailed(number, " ".join(reason))
        case ["fetched", build, standing, *options]:
            carried = _positions(_values(options).get("carried", ""))
            return search.SnapshotRead(number, _number(build), _snapshot(standing, options), carried)
    return None


def _build_event(words: list[str], core: ToldCutover) -> object | None:
    match words:
        case ["import", build, import_id, *options]:
            values = _values(options)
            carried = _positions(values["carried"]) if "carried" in values else None
            asked = cut.ImportAsked(_number(build), int(import_id), int(values["as_of"]), carried)
            of = int(values["of"]) if "of" in values else None
            return replace(asked, as_it_comes=values.get("as_it_comes") == "yes", carried_of=of)
        case ["relayout", build]:
            return cut.RelayoutAsked(_number(build))
        case ["built", build, *at]:
            turn = core.cutover.turn
            return cut.TreeBuilt(_number(build), int(at[0]) if at else turn.position if turn else 0)
        case ["bad", build, *reason]:
            return cut.BuildRefused(_number(build), " ".join(reason))
        case ["failed", build, *reason]:
            return cut.BuildFailed(_number(build), " ".join(reason))
        case ["held", build, *positions]:
            return cut.CarriedFound(_number(build), _positions("".join(positions)))
        case ["offered", build]:
            return cut.CarriedOffered(_number(build))
        case ["read", build, position]:
            return cut.LogRead(_number(build), int(position))
        case ["unread", build, *reason]:
            return cut.LogReadFailed(_number(build), " ".join(reason))
        case ["damaged", build, *reason]:
            return cut.LogReadFailed(_number(build), " ".join(reason), damaged=True)
        case ["broken", build, *reason]:
            return cut.LogReadFailed(_number(build), " ".join(reason), engine_failed=True)
        case ["compared", build, *refusal]:
            return cut.Compared(_number(build), " ".join(refusal))
        case ["gate", build]:
            return cut.InGate(_number(build))
        case ["cancel", build]:
            return cut.Cancelled(_number(build))
    return None


def say(action: Any) -> str | None:
    """An action in a few words."""
    match action:
        case cut.MakeTree(build):
            return f"{build}: make the tree"
        case cut.FindCarried(build, as_of):
            return f"{build}: ask the live tree what it held at {as_of}"
        case cut.OfferCarried(build, positions):
            return f"{build}: offer {_list(positions)}"
        case cut.ReadLog(build, first, last):
            return f"{build}: read {first} to {last}"
        case cut.Compare(build):
            return f"{build}: compare"
        case cut.EnterGate(build):
            return f"{build}: enter the gate"
        case cut.TakeTree(build, log_id, import_id, position, carried):
            kept = "as before" if carried is None else _list(carried)
            return (
                f"{build}: take the tree at {import_id}/{position}{f' of {log_id}' if log_id else ''}, carried {kept}"
            )
        case cut.Stop(build, reason):
            return f"{build}: stop: {reason}"
        case cut.Taken(build, carried):
            return f"{build}: answer taken, carried {_list(carried)}"
        case cut.Had(build, same):
            return f"{build}: answer had{'' if same else ', or a newer one'}"
        case cut.Refused(build, reason):
            return f"{build}: answer refused: {reason}"
        case cut.Failed(build, cause, reason):
            return f"{build}: answer failed ({cause.value}): {reason}"
        case cut.PauseApplying():
            return "pause applying"
        case cut.ResumeApplying():
            return "resume applying"
        case StateChanged(before, after, why):
            return f"{before.name} -> {after.name}: {why}"
    return _say_search(action)


def _say_search(action: Any) -> str | None:
    match action:
        case search.FindPeers(number):
            return f"search {number}: find peers"
        case search.FindStored(number):
            return f"search {number}: find what is stored"
        case search.AskPeer(number, peer):
            return f"search {number}: ask {peer}"
        case search.FetchSnapshot(number, peer):
            return f"search {number}: fetch from {peer}"
        case search.PassOver(number, peer, reason):
            return f"search {number}: pass over {peer}: {reason}"
        case search.StopSearch(number):
            return f"search {number}: stop"
        case GoOver(reason, _):
            return f"go over: {reason}"
    return None


def state(core: ToldCutover, now_s: float) -> str:
    """Where the node stands, and how far each build is."""
    stands = f"{core.state.name} at {core.sequence.import_id}/{core.sequence.position}"
    told = [stands + (", updates paused" if core.cutover.paused else "")]
    for build in core.cutover.builds:
        told += [f"{build.number}: {build.phase.name} at {build.import_id}/{build.position}"]
    if core.cutover.search.is_under_way:
        told.append(f"search {core.cutover.search.number} {core.cutover.search.stage.name}")
    return "; ".join(told)


def _values(words: list[str]) -> dict[str, str]:
    return dict(word.split("=") for word in words if "=" in word)


def _log_end(values: dict[str, str]) -> LogEnd:
    return LogEnd(int(values.get("first", 1)), int(values["end"]), int(values.get("in_force", 0)))


def _standing(text: str) -> tuple[int, int]:
    import_id, position = text.split("/")
    return int(import_id), int(position)


def _snapshot(standing: str, options: list[str]) -> search.PeerSnapshot:
    values = _values(options)
    import_id, position = _standing(standing)
    log_id, size_bytes, bare = values.get("log", "log-1"), int(values.get("bytes", 1)), values.get("bare") == "yes"
    return search.PeerSnapshot(log_id, import_id, position, size_bytes, bare=bare)


def _number(word: str) -> int:
    assert word.endswith(":"), f"a build is written 1:, not {word}"
    return int(word[:-1])


def _positions(text: str) -> tuple[int, ...]:
    return tuple(int(position) for position in text.split(",") if position)


def _list(positions: tuple[int, ...]) -> str:
    return ", ".join(map(str, positions)) or "nothing"


TABLE = Table(
    start=CutoverSettings(pause_lag_updates=5),
    make=ToldCutover,
    events=get_args(NodeEvent),
    state=state,
    errors=(IllegalPhaseError,),
    short=short,
    say=say,
)

test_the_core_does_what_the_file_says = of_folder(__file__, TABLE)
