"""`htelevox.log`: a line for each hit of a sender, as DataTrax's people know it. Of a member it has the id alone."""

from __future__ import annotations

from typing import Final

from services.datatrax.messages.senders.sender import Answer, Letter
from services.shared.debug.debug_log import DebugLog

HITS_LOG: Final = "htelevox.log"


def log_hit(log: DebugLog, letter: Letter, answer: Answer, took_s: float) -> None:
    """A sender has answered."""
    said = f": {answer.reason}" if answer.reason else ""
    log.write([f"{letter.channel} {letter.key} {answer.word.name.lower()}{said} in {1_000 * took_s:.0f} ms"])
