"""What stops a tree before an update, so that a node can halt there and serve on.

Every update is applied, held or rejected, whatever is in it; no content of an update is meant to lead here. It is for a
defect of this program, and for an update that this build can't know the effect of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.shared.domain.sentences import plain

if TYPE_CHECKING:
    from services.treenode.tree.held import NotApplied

#: Characters of a defect's own words that are told.
_WORDS_MAX = 200


class StopBeforeError(Exception):
    """This build does not know what the update does (a later rule version, say). The text says what to do.

    Raised while an update is looked at, before anything is changed.
    """


class UnknownVersionError(StopBeforeError):
    """This build does not know what updates mean from here on: the build is at fault, and no update."""


class HeldUpdateError(Exception):
    """Carries out which held update was tried as the engine failed."""

    def __init__(self, position: int, error: Exception) -> None:
        super().__init__(str(error))
        self.position = position
        self.error = error


class UpdateFailedError(Exception):
    """The engine could not take the update at `position`; those before it are in the tree.

    Attributes:
        position: The update before which the tree stops.
        fault_position: The update at fault: the same, or a held one that it releases; 0: this build is.
        reason: Why, in one line.
        is_whole: Whether the tree is as it was before the update. If not, it must not be seen or saved any more.
        not_applied: Those of the call that were held or rejected before.
    """

    def __init__(self, position: int, error: Exception, not_applied: list[NotApplied], *, is_whole: bool) -> None:
        cause = error.error if isinstance(error, HeldUpdateError) else error
        self.position = position
        self.fault_position = error.position if isinstance(error, HeldUpdateError) else position
        self.reason = defect(cause)
        if isinstance(cause, StopBeforeError):
            self.reason = str(cause)
        if isinstance(cause, UnknownVersionError):
            self.fault_position = 0
        self.is_whole = is_whole
        self.not_applied = not_applied
        super().__init__(f"update {self.fault_position or position} can't be taken: {self.reason}")


def defect(error: Exception) -> str:
    """An error that should not have been, in one line."""
    words = str(error)
    cut = words if len(words) <= _WORDS_MAX else words[:_WORDS_MAX] + "…"
    return f"a defect of this program: {type(error).__name__}" + (f": {plain(cut)}" if cut else "")
