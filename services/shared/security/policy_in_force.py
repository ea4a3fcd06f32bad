"""The policy that calls are judged by now: a file that is followed, or the one that is shipped."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from services.shared.security.audit.log import note_change
from services.shared.security.audit.records import Kind
from services.shared.security.policy import Policy, read_policy
from services.shared.security.settings import TlsError
from services.shared.security.stamps import stamp

logger = logging.getLogger(__name__)


class PolicyInForce:
    """Any thread may ask.

    Args:
        file: Its path; empty: `shipped` says it, for good.

    Raises:
        TlsError: The file can't be used.
    """

    def __init__(self, file: str, shipped: Callable[[], Policy]) -> None:
        self._file = file
        self._stamp = stamp(file) if file else None
        self.now = read_policy(Path(file)) if file else shipped()
        #: What is wrong with the file as it is now.
        self.problem = ""

    def look(self) -> bool:
        """Whether another policy is in force since. Blocks: it reads the disk."""
        if not self._file:
            return False
        found = stamp(self._file)
        if found == self._stamp:
            return False
        self._stamp = found
        try:
            self.now = read_policy(Path(self._file))
        except TlsError as error:
            self.problem = f"{error}; the policy of before goes on"
            logger.error("TLS: %s", self.problem)
            note_change(Kind.POLICY, "INVALID_ARGUMENT", str(error), policy=self.now.content.name)
            return False
        self.problem = ""
        logger.info("TLS: the policy is another one: %s", self.now.content.name)
        note_change(Kind.POLICY, "OK", policy=self.now.content.name, details={"sha256": self.now.digest})
        return True

    async def run(self, reload_s: float) -> None:
        """Follows the file."""
        while True:
            await asyncio.sleep(reload_s)
            await asyncio.to_thread(self.look)
