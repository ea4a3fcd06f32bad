"""Which logs may have personal columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fasttree.v1 import types_pb2
from services.pusher.log.settings import LogSettings

#: Pushers of a log on servers take turns, and what the next one must have is not on its disk.
NO_VAULT: Final = (
    "personal columns need a log in SQLite (pusher.log_store): a log on servers has no vault (docs/security.md, "
    "`Personal columns`)"
)


def has_vault(settings: LogSettings) -> bool:
    """Whether there is a vault beside the log."""
    return settings.log_store == "sqlite"


def vault_asked(
    settings: LogSettings, untimely: Callable[[types_pb2.Update], str | None]
) -> Callable[[types_pb2.Update], str | None]:
    """Why the door does not take a change of the rules: as `untimely` says, and where a log without a vault would get
    personal columns."""

    def asked(update: types_pb2.Update) -> str | None:
        return NO_VAULT if update.column_declared.personal and not has_vault(settings) else untimely(update)

    return asked
