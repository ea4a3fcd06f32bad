"""What a caller is told whose write the log did not take."""

from __future__ import annotations

from services.pusher.log.store import LogSealedError, LogStoreError, StoreFullError
from services.shared.serving.errors import DataLossError, FailedPreconditionError, FastTreeError, ResourceExhaustedError


def error_of(error: LogStoreError, what: str) -> FastTreeError:
    """`what`: could not be done."""
    if isinstance(error, StoreFullError):
        return ResourceExhaustedError(f"{what}: {error}")
    if isinstance(error, LogSealedError):
        return FailedPreconditionError(f"{what}: {error}", reason="LOG_SEALED")
    return DataLossError(f"{what}: {error}", reason="LOG_DAMAGED")
