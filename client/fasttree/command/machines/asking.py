"""Two files in a cluster's folder: what is asked of it for a machine, and how the machines stand.

The one who asks writes `machine-asked.json`; the cluster does it, writes `machines.json`, and removes the first.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fasttree.command.session import CommandError
from services.shared.files.durable import discard, write_durably, write_new_durably

#: What may be done to a machine.
ACTIONS = ("kill", "stop", "start", "empty")


@dataclass(frozen=True)
class Asked:
    """Something to be done."""

    action: str
    machine: str


@dataclass(frozen=True)
class MachineStates:
    """How they stand: running, stopped or killed, by name; the parts of each; what went wrong with what was asked."""

    states: dict[str, str]
    parts: dict[str, list[str]]
    problem: str = ""


class MachineFiles:
    """The two files in a folder."""

    def __init__(self, folder: Path) -> None:
        self._asked = folder / "machine-asked.json"
        self._states = folder / "machines.json"

    def forget(self) -> None:
        """Removes both: of a cluster that does not run, or has no machines."""
        discard(self._asked)
        discard(self._states)

    def ask(self, asked: Asked) -> None:
        """Raises CommandError where something else is under way."""
        if not write_new_durably(self._asked, json.dumps(asdict(asked)).encode()):
            raise CommandError("something else is being done to a machine: wait for it, and try again")

    def asked(self) -> Asked | None:
        """What is to be done now; None: nothing."""
        found = _read(self._asked)
        return Asked(str(found.get("action")), str(found.get("machine"))) if found is not None else None

    def done(self) -> None:
        """It was done, or was given up."""
        discard(self._asked)

    def write(self, states: MachineStates) -> None:
        """How they stand now. Raises OSError."""
        write_durably(self._states, json.dumps(asdict(states), indent=1).encode())

    def states(self) -> MachineStates | None:
        """None: this is no cluster of machines, or it does not run."""
        found = _read(self._states)
        if found is None:
            return None
        try:
            return MachineStates(**found)
        except TypeError:
            raise CommandError(f"{self._states} is damaged: start `fasttree up` anew") from None


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise CommandError(f"{path} can't be read: {error}; start `fasttree up` anew") from None
    return found if isinstance(found, dict) else {}
