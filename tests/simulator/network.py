"""A network of ordered streams that are late, stall, break, and are partitioned.

As under gRPC, what arrives does so in order and once; but a stream may break at any message, and then neither side
knows how much of what it sent has arrived. Re-sending after a break is where duplicates come from. Over a cut link
nothing arrives: what was sent waits (TCP sends it again), its sender's orderly end too, and comes late if the link
heals soon; otherwise the keepalive ends the stream, on each side at its own time. No side waits for ever for one that
is gone: where only one has given up when the link heals, the other's next keepalive is answered by a reset.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tests.simulator.world import Process, World

REFUSED = "refused"
BROKEN = "broken"
CLOSED = "closed"


class End:
    """One side of a stream. Set `on_message` and `on_end`; `on_end` comes at most once, and not after own `close`."""

    __slots__ = (
        "_due",
        "_network",
        "_stalled",
        "_world",
        "ended_at",
        "life",
        "on_end",
        "on_message",
        "open",
        "peer",
        "process",
    )

    peer: End

    def __init__(self, network: Network, process: Process) -> None:
        self._network = network
        self._world = network.world
        self.process = process
        self.life = process.life
        self.open = True
        #: When it ceased to be open.
        self.ended_at = math.inf
        self.on_message: Callable[[Any], None] = _ignore
        self.on_end: Callable[[str], None] = _ignore
        self._due = 0.0
        self._stalled: list[tuple[Callable[..., None], Any]] = []

    def send(self, message: Any) -> None:
        """Sends in order; says nothing about arrival. Nothing goes out of a dead process or a closed stream."""
        if self.open and self.life == self.process.life:
            self._post(self.peer._deliver, message)

    def close(self, reason: str = CLOSED) -> None:
        """Ends the stream in order: the other side gets what was sent, then the end."""
        if self.open:
            self.over()
            self._post(self.peer._finish, reason)
            if not self._stalled:
                self._network.forget(self)

    def lose(self, reason: str) -> None:
        """This side learns that the stream is broken; what is on its way to it, or waits here, never arrives."""
        if self.open:
            self._finish(reason)
        elif self._stalled:
            self._give_up()

    def over(self) -> None:
        """It is open no more."""
        self.open, self.ended_at = False, min(self.ended_at, self._world.now)

    def heal(self) -> None:
        """The link is back: what was sent meanwhile goes out."""
        stalled, self._stalled = self._stalled, []
        for call, argument in stalled:
            self._post(call, argument)
        if not self.open:
            self._network.forget(self)

    def _give_up(self) -> None:
        """Nothing goes out from here any more, and nothing comes in: the other side has to learn of it."""
        self._stalled.clear()
        self._network.forget(self)
        self._network.asks_in_vain(self.peer)

    def _post(self, call: Callable[..., None], argument: Any) -> None:
        network = self._network
        if network.cuts and (self.process.name, self.peer.process.name) in network.cuts:
            self._stalled.append((call, argument))
            return
        due = self._world.now + network.delay_s()
        if network.slow:
            due += network.slow.get((self.process.name, self.peer.process.name), 0.0)
        if due < self._due:
            due = self._due
        self._due = due
        self._world.at(due, call, argument)

    def _deliver(self, message: Any) -> None:
        if not self.open or self.life != self.process.life:
            # Nobody has this stream any more (a half-open one): the sender is told by a reset.
            self._world.after(self._network.delay_s(), self.peer.lose, BROKEN)
        elif self.process.frozen:
            self.process.run(self.life, self._deliver, (message,))
        else:
            self.on_message(message)

    def _finish(self, reason: str) -> None:
        if not self.open or self.life != self.process.life:
            return
        if self.process.frozen:
            self.process.run(self.life, self._finish, (reason,))
            return
        self.over()
        if reason == BROKEN:
            self._give_up()
        else:
            self._network.forget(self)
        self.on_end(reason)


class Network:
    """All streams and links. Times in seconds of real time."""

    def __init__(self, world: World) -> None:
        self.world = world
        #: One direction each: nothing gets from the first name to the second.
        self.cuts: set[tuple[str, str]] = set()
        #: Seconds that a message takes longer, one direction each.
        self.slow: dict[tuple[str, str], float] = {}
        #: One way, in quiet times, and the most that is added at random.
        self.base_delay_s = 0.0002
        self.jitter_s = 0.0005
        #: Chance that a message is late by up to `late_s` (a retransmission).
        self.late_chance = 0.0
        self.late_s = 0.3
        #: A broken link is noticed after this long, up to twice as long.
        self.keepalive_s = 2.0
        #: Each end that is open, or has something that waits there for a cut to heal; insertion order keeps runs
        #: repeatable.
        self._ends: dict[End, None] = {}

    def delay_s(self) -> float:
        """How long the next message takes."""
        random = self.world.random.random
        delay = self.base_delay_s + self.jitter_s * random()
        if self.late_chance and random() < self.late_chance:
            delay += self.late_s * random()
        return delay

    def connect(self, client: Process, server: Process, kind: str, opening: Any = None) -> End:
        """Opens a stream at once; that nobody is there is learned by `on_end`."""
        near, far = End(self, client), End(self, server)
        near.peer, far.peer = far, near
        self._ends[near] = None
        if (client.name, server.name) in self.cuts or (server.name, client.name) in self.cuts:
            self.world.after(self._notice_s(), near.lose, BROKEN)
        elif not server.alive:
            self.world.after(self.delay_s(), near.lose, REFUSED)
        else:
            self._ends[far] = None
            far._due = near._due = self.world.now + self.delay_s()
            self.world.at(near._due, self._accept, far, kind, opening)
            if server.frozen:
                self._watch_frozen(server, near)
        return near

    def _accept(self, far: End, kind: str, opening: Any) -> None:
        server = far.process
        if far.life != server.life:
            return
        if server.frozen:
            server.run(far.life, self._accept, (far, kind, opening))
        elif far.open:
            server.accept(kind, far, opening)

    def forget(self, end: End) -> None:
        """The end is no longer open, and all that it sent is on its way or lost."""
        self._ends.pop(end, None)

    def ends_of(self, process: Process) -> list[End]:
        """The ends at a process that are open, or have something that waits there."""
        return [end for end in self._ends if end.process is process]

    def asks_in_vain(self, end: End) -> None:
        """Nobody is at the other side of the end any more: its keepalive finds that out."""
        if end.open:
            # The longest that it may take: where the end learns of it sooner by another way, this changes nothing.
            self.world.after(2.0 * self.keepalive_s, end.lose, BROKEN)

    def validate(self, within_s: float) -> None:
        """Raises AssertionError where one side has waited for longer than that for another that is gone."""
        for end in self._ends:
            peer = end.peer
            if peer.ended_at < self.world.now - within_s:
                waits = f"{end.process.name} waits for {peer.process.name}"
                raise AssertionError(f"half a stream: {waits}, which ended it at {peer.ended_at:.4f}")

    def died(self, process: Process, *, reset: bool) -> None:
        """A process died: its peers see a reset soon, or (the machine died) only when the keepalive tells them."""
        for end in self.ends_of(process):
            end.over()
            self.forget(end)
            delay = self.delay_s() if reset and not self._is_cut(end) else self._notice_s()
            self.world.after(delay, end.peer.lose, BROKEN)

    def froze(self, process: Process) -> None:
        """A process stands still: it answers no keepalive, so its peers give their streams up after a while."""
        for end in self.ends_of(process):
            self._watch_frozen(process, end.peer)

    def _watch_frozen(self, process: Process, peer: End) -> None:
        self.world.after(self._notice_s(), self._give_up_frozen, process, peer)

    def _give_up_frozen(self, process: Process, peer: End) -> None:
        if process.frozen and peer.open:
            peer.peer.lose(BROKEN)
            peer.lose(BROKEN)

    def snap(self, end: End) -> None:
        """Breaks one stream (a proxy restarts, a NAT entry ages out): both sides learn of it, each in its time."""
        self.world.after(self.delay_s(), end.lose, BROKEN)
        self.world.after(self.delay_s() * self.world.random.randint(1, 50), end.peer.lose, BROKEN)

    def random_end(self) -> End | None:
        """One of them."""
        return self.world.random.choice(list(self._ends)) if self._ends else None

    def cut(self, source: str, target: str) -> None:
        """Nothing gets from source to target any more."""
        self.cuts.add((source, target))
        for end in list(self._ends):
            if {end.process.name, end.peer.process.name} == {source, target}:
                self.world.after(self._notice_s(), self._give_up_cut, end)

    def _give_up_cut(self, end: End) -> None:
        if self._is_cut(end):
            end.lose(BROKEN)

    def heal(self, source: str, target: str) -> None:
        """The link is whole again."""
        self.cuts.discard((source, target))
        for end in list(self._ends):
            if end.process.name == source and end.peer.process.name == target:
                end.heal()

    def reachable(self, first: str, second: str) -> bool:
        """Whether messages get there and back."""
        return (first, second) not in self.cuts and (second, first) not in self.cuts

    def _is_cut(self, end: End) -> bool:
        return not self.reachable(end.process.name, end.peer.process.name)

    def _notice_s(self) -> float:
        return self.keepalive_s * (1.0 + self.world.random.random())


def _ignore(_: Any) -> None:
    """Nobody listens."""
