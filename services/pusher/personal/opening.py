"""The vault in a pusher's folder, for its threads."""

from __future__ import annotations

import threading
from pathlib import Path

from services.pusher.personal.settings import PersonalSettings
from services.shared.personal.vault import FILE_NAME, Vault, VaultError


class PusherVault:
    """Opened when it is first needed: without personal columns, never. From any thread."""

    def __init__(self, folder: Path, settings: PersonalSettings) -> None:
        self.path = folder / FILE_NAME
        self.wait_s = settings.personal_wait_s
        self._vault: Vault | None = None
        self._opening = threading.Lock()

    @property
    def is_there(self) -> bool:
        """Whether there was anything personal ever."""
        return self.path.exists()

    def opened(self) -> Vault:
        """Raises VaultError; blocks."""
        with self._opening:
            if self._vault is None:
                vault = Vault(self.path, wait_s=self.wait_s)
                try:
                    vault.follow_key()
                except VaultError:
                    vault.close()
                    raise
                self._vault = vault
            return self._vault

    def close(self) -> None:
        """Ends, once nobody uses it."""
        if self._vault is not None:
            self._vault.close()
