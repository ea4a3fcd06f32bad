"""Scenario files for the election core: commands in, what the core does out, as text that a reader can check.

A file holds blocks, parted by blank lines: one command, a line `----`, then what came of it. Lines that begin with `#`
are comments. The commands, with times in milliseconds:

    settings lease=1000 …              before anything else: other times than the defaults
    hosts a b                          the host file's order
    recorded epoch=3 primary=a paused  what the store has at the start; `incarnation=a1`
    at 250 a passive 7/100 [seq=9] [epoch=2] [known=5] [incarnation=a2]
                                       a's heartbeat at 250 ms: state, import/position; epoch: it is primary in it
    at 250 ends a                      a's stream ends
    at 250 switchover [b]              an operator asks
    at 250 pause | resume
    at 250 written | failed REASON     what came of the write under way
    at 250 hosts b a                   the host file is edited
    at 250                             only time passes
    sleep                              time goes on to when the core wants to be woken

`REWRITE=1 pytest tests/coordinator` writes the files anew from what the core does now; read the difference then.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from services.coordinator.election.election import ElectionCore, ElectionSettings
from services.coordinator.election.events import (
    Action,
    Answer,
    ClusterChanged,
    Event,
    Heartbeat,
    HostsChanged,
    NodeState,
    PauseAsked,
    PauseDone,
    PauseFailed,
    Persist,
    PersistDone,
    PersistFailed,
    Recorded,
    Refuse,
    ResumeAsked,
    StreamEnded,
    SwitchoverAsked,
    SwitchoverDone,
    SwitchoverFailed,
)
from services.coordinator.view import note
from services.shared.cores import Tick


def blocks(text: str) -> Iterator[tuple[list[str], str, str]]:
    """(comments, command, expected) of each block."""
    for block in text.strip().split("\n\n"):
        lines = block.split("\n")
        comments = list(itertools.takewhile(lambda line: line.startswith("#"), lines))
        rest = lines[len(comments) :]
        if rest:
            assert rest[1:2] == ["----"], f"a command needs a line ---- below it: {rest[0]!r}"
            yield comments, rest[0], "\n".join(rest[2:])
        else:
            yield comments, "", ""


class Scenario:
    """Runs the commands of one file, in order."""

    def __init__(self) -> None:
        self._settings = ElectionSettings()
        self._recorded = Recorded()
        self._hosts: tuple[str, ...] = ()
        self._core: ElectionCore | None = None
        self._now = 0.0
        self._sequences: dict[str, int] = {}
        self._requests = itertools.count(1)

    @property
    def core(self) -> ElectionCore:
        """The core, made when the first event needs it."""
        if self._core is None:
            self._core = ElectionCore(self._settings, self._recorded, self._hosts, 0.0)
        return self._core

    def run(self, command: str) -> str:
        """What comes of a command, as text."""
        words = command.split()
        if words[0] == "settings":
            times = {f"{key}_s": float(value) / 1000 for key, value in (word.split("=") for word in words[1:])}
            self._settings = ElectionSettings(**times)
            return ""
        if words[0] == "recorded":
            self._recorded = self._read_recorded(words[1:])
            return ""
        if words[0] == "hosts":
            self._hosts = tuple(words[1:])
            return ""
        if words[0] == "sleep":
            due = self.core.deadline_s
            assert due is not None, "the core waits for nothing"
            self._now = due
            return self._told(self.core.handle(Tick(), self._now), f"at {due * 1000:.0f}")
        assert words[0] == "at", f"no such command: {command}"
        self._now = float(words[1]) / 1000
        event = self._event(words[2:])
        return self._told(self.core.handle(event or Tick(), self._now))

    def _read_recorded(self, words: list[str]) -> Recorded:
        values = dict(word.split("=") for word in words if "=" in word)
        primary = values.get("primary", "")
        return Recorded(
            epoch=int(values.get("epoch", 0)),
            primary=primary,
            paused="paused" in words,
            primary_incarnation=values.get("incarnation", f"{primary}1" if primary else ""),
        )

    def _event(self, words: list[str]) -> Event | None:
        match words:
            case []:
                return None
            case ["ends", node, *options]:
                return StreamEnded(node=node, incarnation=options[0] if options else f"{node}1")
            case ["switchover", *to_node]:
                return SwitchoverAsked(request=next(self._requests), to_node=" ".join(to_node))
            case ["pause"]:
                return PauseAsked(request=next(self._requests))
            case ["resume"]:
                return ResumeAsked(request=next(self._requests))
            case ["written"]:
                assert self.core.writing is not None, "nothing is being written"
                return PersistDone(recorded=self.core.writing)
            case ["failed", *reason]:
                assert self.core.writing is not None, "nothing is being written"
                return PersistFailed(recorded=self.core.writing, reason=" ".join(reason))
            case ["hosts", *order]:
                return HostsChanged(hosts_order=tuple(order))
            case [node, state, standing, *options]:
                return self._heartbeat(node, state, standing, dict(option.split("=") for option in options))
        raise AssertionError(f"no such event: {' '.join(words)}")

    def _heartbeat(self, node: str, state: str, standing: str, options: dict[str, str]) -> Heartbeat:
        incarnation = options.get("incarnation", f"{node}1")
        sequence = int(options.get("seq", self._sequences.get(incarnation, 0) + 1))
        self._sequences[incarnation] = max(sequence, self._sequences.get(incarnation, 0))
        import_id, position = standing.split("/")
        return Heartbeat(
            node=node,
            incarnation=incarnation,
            sequence=sequence,
            state=NodeState[state.upper()],
            import_id=int(import_id),
            position=int(position),
            primary_epoch=int(options.get("epoch", 0)),
            known_epoch=int(options.get("known", 0)),
        )

    def _told(self, actions: list[Action], *first: str) -> str:
        self.core.validate()
        lines = [*first, *(_line(action) for action in actions)]
        holder = self.core.seat.holder
        seat = self.core.seat.state.value + (f" by {holder.node}" if holder else "")
        text = note(self.core, self._now)
        lines.append(f"= seat {seat}, epoch {self.core.recorded.epoch}{f' ({text})' if text else ''}")
        return "\n".join(lines)


def _line(action: Action) -> str:
    match action:
        case Persist(recorded=recorded):
            paused = " paused" if recorded.paused else ""
            return f"write epoch={recorded.epoch} primary={recorded.primary or '-'}{paused}"
        case Answer():
            how = "push" if action.pushed else "answer"
            primary = action.primary or "-"
            return f"{how} {action.node}#{action.sequence} {action.role.name} epoch={action.epoch} primary={primary}"
        case Refuse():
            return f"refuse {action.node} {action.incarnation}: {action.message}"
        case SwitchoverDone():
            took_ms = round(action.took_s * 1000)
            change = f"{action.from_node} to {action.to_node}, epoch {action.epoch}, {took_ms} ms"
            return f"request {action.request} done: {change}"
        case SwitchoverFailed():
            return f"request {action.request} failed ({action.problem.name}): {action.message}"
        case PauseDone():
            return f"request {action.request} done: {'paused' if action.paused else 'resumed'}"
        case PauseFailed():
            return f"request {action.request} failed: {action.message}"
        case ClusterChanged():
            return "tell watchers"
