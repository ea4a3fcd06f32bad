"""The admission core, with its receipts. Short forms:

push 1 a,b,?c [one|all] [bytes=9000]
                    stream 1's next message has these updates, ?c malformed; one node or all have to confirm
flood 1 1001        it has so many updates, none of which is looked at
stored 4 7..8 [again=0,1] [taken=1:5]
                    batch 4 is on disk at these positions (0: none); by index: duplicates, and the positions of those
                    whose ids were taken with other content. More batches of the same commit behind a +
failed 4 full|damaged|fault
                    it is not
taken 1             the transport took stream 1's last response
in_step a 7         node a is in step, and has everything up to 7
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

from google.rpc import code_pb2

from fasttree.v1 import pusher_pb2, types_pb2
from services.pusher.admission.acks import AckRange
from services.pusher.admission.admission import Admission, AdmissionBrokenError
from services.pusher.admission.batch import Batch, Malformed
from services.pusher.admission.events import (
    Append,
    Drain,
    EndStream,
    Pushed,
    ReadOn,
    RequestsEnded,
    Respond,
    ResponseTaken,
    RoomFound,
    StreamGone,
    StreamOpened,
)
from services.pusher.admission.messages import response_of
from services.pusher.admission.progress import PushStream
from services.pusher.admission.settings import AdmissionSettings
from services.pusher.fanout.events import NodeConfirmed, NodeStands
from services.pusher.lineage.lineage import Door
from services.pusher.log.group_commit import AppendProblem, Committed, NotStored
from services.pusher.log.store import Appended
from services.shared.cores import Tick
from tests.scenarios.driver import Table, of_folder
from tests.scenarios.language import read_value

EVENTS = (
    StreamOpened,
    RequestsEnded,
    ResponseTaken,
    StreamGone,
    NodeConfirmed,
    NodeStands,
    Door,
    RoomFound,
    Drain,
    Tick,
)


@dataclass(frozen=True)
class Start:
    """The log's end when the pusher starts, and limits small enough to be met."""

    position: int = 0
    settings: AdmissionSettings = field(
        default_factory=lambda: AdmissionSettings(push_stream_updates_max=6, push_updates_max=10, ack_timeout_s=10.0)
    )


def short(words: list[str], _core: Admission[str]) -> object | None:
    options = dict(word.split("=") for word in words if "=" in word)
    match [word for word in words if "=" not in word]:
        case ["push", stream, ids, *nodes]:
            ack_range = AckRange[f"{nodes[0].upper()}_NODE{'S' if nodes[0] == 'all' else ''}"] if nodes else None
            return Pushed(int(stream), batch(ids.split(","), ack_range, int(options.get("bytes", 0))))
        case ["flood", stream, updates]:
            return Pushed(int(stream), Batch(int(updates), [], [], 0, None, {}))
        case ["stored" | "failed", *_]:
            groups = [list(group) for part, group in itertools.groupby(words, lambda word: word == "+") if not part]
            return Committed([result(group) for group in groups])
        case ["taken", stream]:
            return ResponseTaken(int(stream))
        case ["in_step", node, position]:
            return NodeStands(node, connected=True, in_step=True, applied_position=int(position), import_id=0)
    return None


def batch(ids: list[str], ack_range: AckRange | None, size_bytes: int) -> Batch[str]:
    """A batch as a message makes it; contents are the ids again."""
    sound = [update_id for update_id in ids if not update_id.startswith("?")]
    malformed = {at: Malformed(each[1:], "it is not") for at, each in enumerate(ids) if each.startswith("?")}
    return Batch(len(ids), sound, sound, size_bytes, ack_range, malformed)


def result(words: list[str]) -> tuple[int, Appended | NotStored]:
    """What the log made of one batch."""
    options = dict(word.split("=") for word in words if "=" in word)
    what, number, told = (words if len(words) > 2 else ["stored", *words])[:3]
    if what == "failed":
        return int(number), NotStored(AppendProblem[told.upper()], OSError("the disk says no"))
    duplicates = frozenset(read_value(options.get("again", "-"), tuple[int, ...]))
    conflicts = dict(read_value(options.get("taken", "-"), tuple[tuple[int, int], ...]))
    return int(number), Appended(None, read_value(told, tuple[int, ...]), duplicates, conflicts)


def say(action: Any) -> str | None:
    """An action in a few words, with each receipt that a response has."""
    match action:
        case Append(push):
            return f"append {push.number}: {','.join(push.update_ids)}"
        case ReadOn(stream):
            return f"read on {stream}"
        case Respond(stream, answers):
            receipts = [receipt(each) for each in response_of(answers).receipts]
            return f"respond {stream}: {'; '.join(receipts) or 'no receipts'}"
        case EndStream(stream, why, message):
            return f"end {stream}, {why.value}{f': {message}' if message else ''}"
    return None


def receipt(told: pusher_pb2.Receipt) -> str:
    """One receipt: id, position, and whatever else it says."""
    words = [told.update_id, str(told.position)]
    if told.code:
        words.append(code_pb2.Code.Name(told.code))
    if told.duplicate:
        words.append("duplicate")
    if told.outcome:
        words.append(types_pb2.Outcome.Name(told.outcome).removeprefix("OUTCOME_").lower())
    return " ".join(words)


def state(core: Admission[str], _now_s: float) -> str:
    """What is taken of the budgets, who waits for what, and the counts."""
    budget = f"{core.budget.taken} of {core.budget.updates_max} in the log's hands"
    first = [budget, *([f"full: {core.full}"] if core.full else []), *(["drains"] if core.draining else [])]
    counts = {name: getattr(core.counts, name) for name in core.counts.__slots__}
    told = [f"{count} {name}" for name, count in counts.items() if count]
    return "\n".join(["; ".join(first), *map(_stream, core.streams.values()), *([", ".join(told)] if told else [])])


def _stream(stream: PushStream[str]) -> str:
    owed = [str(pushed.number) for pushed in stream.owed]
    reading = "" if stream.reading.value == "open" else f", reading {stream.reading.value}"
    responding = ", responding" if stream.responding else ""
    budget = f"{stream.budget.taken} of {stream.budget.updates_max}"
    return f"stream {stream.number}: owes {','.join(owed) or 'nothing'} ({budget}){reading}{responding}"


TABLE = Table(
    start=Start(),
    make=lambda start: Admission[str](start.settings, position=start.position),
    events=EVENTS,
    state=state,
    errors=(AdmissionBrokenError,),
    short=short,
    say=say,
)

test_the_core_does_what_the_file_says = of_folder(__file__, TABLE)
