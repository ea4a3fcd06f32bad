"""What a drill came to: each step of its own, and beside the testing procedure of 2016 what showed each section of it.

The papers of 2016 (HA FastTree, Two Server Setup and Testing Procedure, revised February 8, 2016) number no steps: the
titles of their sections stand for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypedDict

from fasttree.client.errors import FastTreeClientError

#: The drill's own steps, in their order.
READY: Final = "ready and equal"
IMPORTED: Final = "import on every node"
TRAFFIC: Final = "traffic to the primary"
HITS: Final = "hits in the logs"
SWITCHOVER: Final = "planned switchover"
KILLED: Final = "primary killed"
BACK: Final = "killed node back"
NOTHING_LOST: Final = "nothing lost, nothing twice"
READS: Final = "reads"
UNDONE: Final = "undone"


class DrillError(FastTreeClientError):
    """A step that did not go as it should."""


@dataclass
class Step:
    """One line of the drill's receipt."""

    name: str
    #: Whether it has ended, well or not.
    over: bool = False
    good: bool = False
    figures: dict[str, float] = field(default_factory=dict)
    problem: str = ""


class Section(NamedTuple):
    """Of the papers of 2016."""

    title: str
    #: What it says has to happen.
    asks: str
    #: The drill's steps that show it.
    shown_by: tuple[str, ...]


PROCEDURE: Final = (
    Section("Importing large reporting files", "the first server takes the file, then the second", (IMPORTED,)),
    Section("Real Time Data", "enrolments and orders reach every server", (READY, NOTHING_LOST)),
    Section("Managing Traffic: The Load Balancer", "all traffic goes to the primary server", (TRAFFIC, READS)),
    Section("Two FastTree Servers: failover", "the passive server resumes the work", (SWITCHOVER, KILLED, BACK)),
    Section("Monitoring FastTree hits", "logs in a browser show what is sent", (HITS,)),
)


class Result(NamedTuple):
    """Of a section."""

    section: Section
    #: "good", "BAD" or "not tried".
    word: str
    #: By which steps, or why not.
    why: str


def results(steps: Sequence[Step], not_tried: Mapping[str, str]) -> list[Result]:
    """What the steps say of each section. `not_tried`: steps and the reasons why they were left out."""
    done = {step.name: step for step in steps}
    found = []
    for section in PROCEDURE:
        bad = [name for name in section.shown_by if name in done and not done[name].good]
        missing = [name for name in section.shown_by if name not in done]
        if bad:
            found.append(Result(section, "BAD", "; ".join(f"{name}: {done[name].problem}" for name in bad)))
        elif len(missing) == len(section.shown_by):
            why = [not_tried.get(name, "the drill ended before") for name in missing]
            found.append(Result(section, "not tried", "; ".join(dict.fromkeys(why))))
        else:
            said = [name if name in done else f"{name} not tried" for name in section.shown_by]
            found.append(Result(section, "good", ", ".join(said)))
    return found


class SectionJson(TypedDict):
    """What the drill says of a section of the procedure of 2016."""

    section: str
    asks: str
    result: str
    by: str


class DrillJson(TypedDict):
    """A drill's receipt; beside step, good and problem, each step has figures of its own."""

    good: bool
    steps: list[dict[str, str | bool | float]]
    procedure_2016: list[SectionJson]


def receipt_json(steps: Sequence[Step], not_tried: Mapping[str, str]) -> DrillJson:
    """All of it, for programs."""
    return {
        "good": all(step.good for step in steps),
        "steps": [{"step": step.name, "good": step.good, "problem": step.problem, **step.figures} for step in steps],
        "procedure_2016": [
            {"section": each.section.title, "asks": each.section.asks, "result": each.word, "by": each.why}
            for each in results(steps, not_tried)
        ],
    }
