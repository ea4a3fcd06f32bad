"""Which digests are asked for, and what the answers say: the comparison of the nodes' states, without any I/O.

The rules:

1. One round at a time. In each, the nodes of one import are asked for their digest at one exact position: that of the
   one that is least far. One that is too far behind the others is left out, since they don't keep digests for so long;
   it is compared once it has come nearer.
2. A node that gives no answer, or one as of another import, says nothing in this round.
3. A difference counts once two rounds in a row have found it between the same nodes: a node that has just heard of a
   skipped update, which others never held, is like them by the next update.
4. Which node is wrong can't be known. Where most agree, the others are named; where there is no majority, all are.
5. It stays told until a round finds the nodes equal. A round without answers changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

#: A node that lacks more updates than this is not compared with the others: half of the digests that they keep.
LAG_UPDATES_MAX = 32_768
#: What a node answers is waited for so long, in seconds.
ANSWER_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a node that shares the log stands, by its own word."""

    node: str
    import_id: int
    position: int


@dataclass(frozen=True, slots=True)
class RoundBegun:
    """It is time; these are the nodes."""

    nodes: tuple[Standing, ...]


@dataclass(frozen=True, slots=True)
class DigestTold:
    """A node's answer. None: it has none for that position, or did not answer."""

    node: str
    import_id: int
    digest: int | None


@dataclass(frozen=True, slots=True)
class RoundOver:
    """Every answer of the round."""

    answers: tuple[DigestTold, ...]


ComparisonEvent = RoundBegun | RoundOver


@dataclass(frozen=True, slots=True)
class AskDigest:
    """Ask the node for its digest at that position, on that import."""

    node: str
    import_id: int
    position: int


@dataclass(frozen=True, slots=True)
class Difference:
    """Nodes that hold different states at one position."""

    import_id: int
    position: int
    #: Those that differ from most others; all of them where there is no majority.
    nodes: tuple[str, ...]
    #: Those that agree and are the most; none where there is no majority.
    others: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Differ:
    """Tell it: this was not known before."""

    difference: Difference


@dataclass(frozen=True, slots=True)
class AgreeAgain:
    """Tell it: the nodes of that import are equal again."""

    import_id: int


ComparisonAction = AskDigest | Differ | AgreeAgain


class Comparison:
    """All rounds of one pusher."""

    def __init__(self) -> None:
        #: What is told, by import.
        self.known: dict[int, Difference] = {}
        #: What the round before found, and nobody was told of, by import.
        self._suspected: dict[int, Difference] = {}
        #: What the round under way asks at, by import.
        self._asked_at: dict[int, int] = {}
        #: The imports that nodes serve from in that round.
        self._served: set[int] = set()

    def handle(self, event: ComparisonEvent) -> list[ComparisonAction]:
        """Takes an event in; returns what is to be done."""
        match event:
            case RoundBegun(nodes):
                return self._begin(nodes)
            case RoundOver(answers):
                return self._judge(answers)

    def _begin(self, nodes: Sequence[Standing]) -> list[ComparisonAction]:
        self._asked_at.clear()
        self._served = {node.import_id for node in nodes}
        actions: list[ComparisonAction] = []
        for import_id in sorted(self._served):
            same = [node for node in nodes if node.import_id == import_id]
            furthest = max(node.position for node in same)
            near = [node for node in same if furthest - node.position <= LAG_UPDATES_MAX]
            if len(near) < 2:
                continue
            position = self._asked_at[import_id] = min(node.position for node in near)
            actions += [AskDigest(node.node, import_id, position) for node in near]
        return actions

    def _judge(self, answers: Sequence[DigestTold]) -> list[ComparisonAction]:
        actions: list[ComparisonAction] = []
        for import_id, position in self._asked_at.items():
            told = {
                answer.node: answer.digest
                for answer in answers
                if answer.import_id == import_id and answer.digest is not None
            }
            if len(told) >= 2:
                actions += self._compare(import_id, position, told)
        self._asked_at.clear()
        if self._served:  # else nobody is there, and nothing is known to have changed
            self.known = {import_id: known for import_id, known in self.known.items() if import_id in self._served}
        return actions

    def _compare(self, import_id: int, position: int, digests: dict[str, int]) -> list[ComparisonAction]:
        counts = Counter(digests.values()).most_common(2)
        if len(counts) == 1:
            self._suspected.pop(import_id, None)
            return [AgreeAgain(import_id)] if self.known.pop(import_id, None) is not None else []
        has_majority = counts[0][1] > counts[1][1]
        others = tuple(sorted(node for node in digests if has_majority and digests[node] == counts[0][0]))
        found = Difference(import_id, position, tuple(sorted(digests.keys() - set(others))), others)
        before, known = self._suspected.get(import_id), self.known.get(import_id)
        self._suspected[import_id] = found
        if before is None or _parties(before) != _parties(found):
            return []
        self.known[import_id] = found
        return [Differ(found)] if known is None or _parties(known) != _parties(found) else []

    def validate(self) -> None:
        """Raises AssertionError on a broken invariant."""
        for difference in (*self.known.values(), *self._suspected.values()):
            if not difference.nodes or set(difference.nodes) & set(difference.others):
                raise AssertionError(f"{difference} is none")


def _parties(difference: Difference) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return difference.nodes, difference.others
