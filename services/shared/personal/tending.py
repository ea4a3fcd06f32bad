"""The round of a vault's owner: what another key sealed, or is clear, is written anew, a little at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from services.shared.files.sealed.own import own_sealing
from services.shared.personal.moving import Tended
from services.shared.personal.vault import VaultError

logger = logging.getLogger(__name__)


async def tend_vault(tend: Callable[[], Awaitable[Tended | None]]) -> None:
    """For as long as the process runs; over at once where it has no keys. `tend`: one step, off the event loop; None
    where there is no vault yet."""
    loop, moved, told = asyncio.get_running_loop(), 0, ""
    while own_sealing().key_file:
        began_s = loop.time()
        try:
            tended = await tend()
        except VaultError as error:
            tended, said = None, str(error)
        else:
            said = _damage(tended) if tended is not None else ""
        if tended is not None:
            moved += tended.moved
            if not tended.is_done:
                await asyncio.sleep(loop.time() - began_s)  # others write meanwhile
                continue
        if moved:
            logger.info("personal columns of %d members are written anew, sealed as everything is now", moved)
        if said and said != told:
            logger.warning("%s", said)
        moved, told = 0, said
        await asyncio.sleep(own_sealing().reload_s)


def _damage(tended: Tended) -> str:
    if not tended.damaged:
        return ""
    return f"personal columns of {tended.damaged} members are damaged, and stay as they were sealed: bring back a copy"
