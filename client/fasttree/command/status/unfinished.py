"""What a drill has to undo, written down beside the endpoints file before it changes anything.

So one whose command was killed is told by `fasttree status`, and taken back by `fasttree drill --undo`.
"""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from fasttree.client.drill.drill import Unfinished
from fasttree.client.status.problems import Problem
from fasttree.command.session import DEFAULT_NAMESPACE, CommandError, Session

if TYPE_CHECKING:
    from services.console.drills.journal import Journal

#: An unfinished drill, and when it began (ms of the wall clock).
Left = tuple[Unfinished, int]


def record_folder(session: Session) -> Path:
    """Of the drills on that cluster. Raises CommandError where none is named."""
    if session.context is None:
        return session.endpoints_file().parent / "drill"
    # A way into Kubernetes has no folder that outlives the command.
    states = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state")
    cluster = quote(f"{session.context} {session.namespace or DEFAULT_NAMESPACE}", safe=" ").replace(" ", "+")
    return states / "ha-fasttree" / "drills" / cluster


def open_journal(session: Session) -> Journal:
    """For one drill at a time. Raises EndpointsError; CommandError where there is one, or nothing can be written."""
    from services.console.drills.journal import Journal
    from services.shared.serving.process import StartupError

    session.endpoints()  # else a folder would be made where a name is mistyped
    folder = record_folder(session)
    try:
        return Journal(folder)
    except StartupError as error:
        raise CommandError(
            f"a drill is under way, or what it does can't be written down in {folder}: {error}"
        ) from None


def said(left: Left) -> str:
    """What is not as it was."""
    drill, begun_ms = left
    begun = datetime.datetime.fromtimestamp(begun_ms / 1_000, datetime.UTC)
    return (
        f"a drill of {begun:%Y-%m-%d %H:%M} UTC was killed in the middle: its member {drill.name[:32]} may be in the "
        f"tree, and {drill.primary} was primary before it; `fasttree drill --undo` takes that back"
    )


def problems(session: Session) -> list[Problem]:
    """Those of drills from here, whose command is gone."""
    folder = record_folder(session)
    if not os.path.isdir(folder):  # nothing of the console's need be loaded
        return []
    from services.console.drills.journal import RecordDamagedError, left_in

    try:
        left = left_in(folder)
    except RecordDamagedError as error:
        return [Problem(text=str(error), alert="FastTreeDrillNotUndone", fault=True)]
    return [] if left is None else [Problem(text=said(left), alert="FastTreeDrillNotUndone", fault=True)]
