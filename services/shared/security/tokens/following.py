"""This process's tokens: keys and what is revoked as their files, or an address, have them at the time."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from pathlib import Path

from services.shared.backoff import Backoff, Waits
from services.shared.config.text_file import read_text_file
from services.shared.security.settings import TlsError
from services.shared.security.stamps import Stamp, stamp
from services.shared.security.tokens.bearer import Bearer
from services.shared.security.tokens.fetching import KeysError, fetch
from services.shared.security.tokens.keys import BYTES_MAX, Keys, read_keys
from services.shared.security.tokens.revocation import Revoked, read_revoked
from services.shared.security.tokens.settings import TokenSettings
from services.shared.security.tokens.verifying import Verifier

logger = logging.getLogger(__name__)


class Tokens:
    """Used on the process's event loop.

    Raises:
        TlsError: A file can't be used. An address need not answer yet: until it does, every token is refused.
    """

    def __init__(self, settings: TokenSettings, clock: Callable[[], float] = time.time) -> None:
        self.settings = settings
        #: Set where a token names a key that is not known.
        self._wanted = asyncio.Event()
        self._verifier = Verifier(settings, clock, self._wanted.set)
        self._stamps: dict[str, Stamp] = {place: stamp(place) for place in self._files()}
        #: What is wrong with each place as it is now.
        self._problems: dict[str, str] = {}
        keys = None if settings.by_url else self._read_keys()
        self._verifier.use(keys=keys, revoked=self._read_revoked())
        logger.info("tokens: of %s, by the keys of %s", settings.issuer, settings.keys)

    @property
    def problems(self) -> list[str]:
        """What is wrong with its files, or the address, as they are now, a line each."""
        return list(self._problems.values())

    def bearer(self, authorization: str) -> Bearer:
        """As of `Verifier`."""
        return self._verifier.bearer(authorization)

    async def run(self) -> None:
        """Follows files, and asks the address."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_files())
            if self.settings.by_url:
                group.create_task(self._follow_address())

    async def _follow_files(self) -> None:
        while True:
            await asyncio.sleep(self.settings.reload_s)
            await self.look()

    async def look(self) -> bool:
        """Whether other files are in force since."""
        stamps = await asyncio.to_thread(lambda: {place: stamp(place) for place in self._files()})
        changed = [place for place, now in stamps.items() if now != self._stamps[place]]
        self._stamps = stamps
        used = False
        for place in changed:
            try:
                if place == self.settings.revoked:
                    self._verifier.use(revoked=await asyncio.to_thread(self._read_revoked))
                else:
                    self._verifier.use(keys=await asyncio.to_thread(self._read_keys))
            except TlsError as error:
                self._problems[place] = f"{error}; what was there before goes on"
                logger.error("tokens: %s", self._problems[place])
                continue
            self._problems.pop(place, None)
            logger.info("tokens: %s is another one", place)
            used = True
        return used

    async def _follow_address(self) -> None:
        settings = self.settings
        waits = Waits(
            Backoff(settings.keys_pause_s, max(settings.keys_refresh_s, settings.keys_pause_s), random.random)
        )
        while True:
            try:
                self._verifier.use(keys=await fetch(settings))
            except KeysError as error:
                on = "the keys of before go on" if self._verifier.has_keys else "no token is taken until there are some"
                self._problems[settings.keys] = f"{error}; {on}"
                logger.error("tokens: %s", self._problems[settings.keys])
                wait_s = waits.next_s()
            else:
                self._problems.pop(settings.keys, None)
                waits.reset()
                wait_s = settings.keys_refresh_s
            # What was wanted until now has come, or does not.
            self._wanted.clear()
            # However many tokens name keys that nobody knows, the address is not asked more often than this.
            pause_s = min(wait_s, settings.keys_pause_s)
            await asyncio.sleep(pause_s)
            try:
                async with asyncio.timeout(wait_s - pause_s):
                    await self._wanted.wait()
            except TimeoutError:
                continue

    def _files(self) -> list[str]:
        named = [self.settings.revoked, "" if self.settings.by_url else self.settings.keys]
        return [place for place in named if place]

    def _read_keys(self) -> Keys:
        path = self.settings.keys_path
        try:
            return read_keys(read_text_file(path, BYTES_MAX), str(path))
        except OSError as error:
            raise TlsError(f"{path}: can't read the issuer's keys: {error.strerror or error}") from None

    def _read_revoked(self) -> Revoked:
        return read_revoked(Path(self.settings.revoked)) if self.settings.revoked else Revoked()
