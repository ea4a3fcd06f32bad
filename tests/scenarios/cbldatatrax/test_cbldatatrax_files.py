"""What of a watched CBLDATATRAX is in force. Short forms:

file MDIR-live=dot …   the file lies there with these keys, and those of `LEAST`; `KEY=` leaves one out
raw TEXT               with this text
gone                   it can't be read
"""

from __future__ import annotations

from dataclasses import dataclass

from services.datatrax.cbldatatrax.checks import faults_of
from services.datatrax.cbldatatrax.configuration import configuration_of
from services.datatrax.cbldatatrax.lines import Fault
from services.datatrax.in_force.following import Change, Following, Looked, Refuse, Take
from services.datatrax.in_force.gate import why_closed
from tests.datatrax.least_file import file_of
from tests.scenarios.driver import Table, Timeless, of_folder

ENVIRONMENT = "live"


@dataclass(frozen=True)
class Start:
    """Nothing differs from file to file."""


def looked(text: str) -> Looked:
    """A look at a file of that text."""
    configuration = configuration_of(text)
    return Looked(text, configuration, tuple(faults_of(configuration, None, {})))


def short(words: list[str], core: Timeless[Following]) -> object | None:
    """See above."""
    match words:
        case ["file", *keys]:
            return looked(file_of(**dict(key.replace("-", "_").split("=", 1) for key in keys)))
        case ["raw", text]:
            return looked(text.replace("\\n", "\n"))
        case ["gone"]:
            return Looked("gone", None, (Fault(0, "can't read it: No such file or directory"),))
    return None


def say(action: Take | Refuse) -> str:
    """What is to be told."""
    if isinstance(action, Refuse):
        return "\n".join(f"refuse: line {fault.line}: {fault.text}" for fault in action.faults)
    return "\n".join(["take", *map(_change, action.changes)])


def _change(change: Change) -> str:
    return (
        f"    line {change.line}: {change.name}: {change.before or 'empty'} -> {change.after or 'empty'}, {change.when}"
    )


def state(core: Timeless[Following], now_s: float) -> str:
    """Whether updates are taken, what waits, what is wrong."""
    following = core.core
    closed = why_closed(following.in_force, ENVIRONMENT)
    waiting = ", ".join(f"{change.name}={change.after}" for change in following.waiting)
    return f"{'closed: ' + closed if closed else 'open'}; waiting: {waiting or 'none'}; faults: {len(following.faults)}"


TABLE = Table(
    start=Start(),
    make=lambda start: Timeless(Following(ENVIRONMENT, looked(file_of()))),
    events=(Looked,),
    state=state,
    short=short,
    say=say,
)
test_file = of_folder(__file__, TABLE)
