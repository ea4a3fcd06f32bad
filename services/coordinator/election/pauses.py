"""An operator's wishes to pause and resume, fulfilled one after another."""

from services.coordinator.election.events import PauseAsked, PauseDone, PauseFailed, ResumeAsked


class PauseQueue:
    """Open wishes, the oldest first; each is answered exactly once."""

    def __init__(self) -> None:
        self._open: list[PauseAsked | ResumeAsked] = []

    @property
    def wanted(self) -> bool | None:
        """What the oldest open wish wants: paused or not; None where there is none."""
        return isinstance(self._open[0], PauseAsked) if self._open else None

    def add(self, asked: PauseAsked | ResumeAsked) -> None:
        """Takes a wish in."""
        self._open.append(asked)

    def fulfil(self, paused: bool) -> list[PauseDone]:
        """Answers those at the head that are durable now."""
        done = []
        while self.wanted == paused:
            done.append(PauseDone(request=self._open.pop(0).request, paused=paused))
        return done

    def refuse(self, message: str) -> list[PauseFailed]:
        """Answers all: the write failed."""
        failed = [PauseFailed(request=asked.request, message=message) for asked in self._open]
        self._open.clear()
        return failed
