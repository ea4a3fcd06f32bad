"""Profiles that are kept beside the pusher, as NAME.toml in a folder: upload folders and the API name them."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Final

from services.shared.domain.sentences import quoted
from services.shared.mapping.profile import PROFILE_BYTES_MAX, Profile, ProfileError, parse_profile

NAMES_MAX: Final = 64
_NAME = re.compile(r"(?!done\Z|refused\Z)[A-Za-z0-9_-]{1,32}")
_SUFFIX = ".toml"


class KeptProfiles:
    """The folder; it may be absent or come later. Both methods wait for the disk: run them in a thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> list[str]:
        """Those that can be named, the first 64 by name. Raises OSError."""
        found = sorted(path.stem for path in self._folder.glob("*" + _SUFFIX) if _NAME.fullmatch(path.stem))
        return found[:NAMES_MAX]

    def read(self, name: str) -> Profile:
        """One of them, as it is now. Raises ProfileError, which names the file and the mend."""
        if not _NAME.fullmatch(name):
            raise ProfileError(f"{quoted(name)} is no profile's name: use 1 to 32 of A-Z a-z 0-9 _ -")
        path = self._folder / (name + _SUFFIX)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            kept = f"; kept are {', '.join(names)}" if (names := self.names()) else ""
            raise ProfileError(f"there is no profile {name} ({path}: {error.strerror}){kept}: put it there") from None
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ProfileError(f"{path} is no regular file: put the file itself there")
            with os.fdopen(os.dup(descriptor), "rb") as file:
                content = file.read(PROFILE_BYTES_MAX + 1)
        finally:
            os.close(descriptor)
        try:
            return parse_profile(content)
        except ProfileError as error:
            raise ProfileError(f"{path}: {error}") from None
