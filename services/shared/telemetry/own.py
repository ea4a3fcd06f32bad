"""The tracer of this process: one, as it has one identity and one log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.shared.telemetry.settings import TelemetrySettings

if TYPE_CHECKING:
    from services.shared.telemetry.figures.reading import NewestReading
    from services.shared.telemetry.sending import Sending
    from services.shared.telemetry.tracer import Tracer

#: What a process that ends gives its last spans, in seconds.
_LAST_S = 1.0


class _Process:
    tracer: Tracer | None = None
    sending: Sending | None = None


def begin(settings: TelemetrySettings, service: str, cluster: str) -> None:
    """From now on this process tells of itself, where the settings say so; ends what it did before.

    Raises:
        OSError, TelemetryError: A file that they name can't be read.
    """
    end()
    if not settings.on:
        return
    # What a process without telemetry does not wait for.
    from services.shared.telemetry.sending import Sending
    from services.shared.telemetry.tracer import Tracer

    tracer = Tracer(settings)
    _Process.sending = Sending(tracer, service, cluster)
    _Process.tracer = tracer
    _Process.sending.start()


def own_tracer() -> Tracer | None:
    """None: nothing is told."""
    return _Process.tracer


def own_figures() -> NewestReading | None:
    """Where figures are put that a collector gets; None: none does."""
    return None if _Process.sending is None else _Process.sending.figures


def end() -> None:
    """Sends what waits, for a moment, and no more."""
    sending, _Process.tracer, _Process.sending = _Process.sending, None, None
    if sending is not None:
        sending.stop(_LAST_S)
