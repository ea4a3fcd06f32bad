"""The upload folder and, in it, a folder for each profile that is kept beside the pusher, from when it is kept."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from services.pusher.imports.uploads.folder import UploadFolder
from services.shared.domain.sentences import system_words
from services.shared.serving.background import Background

logger = logging.getLogger(__name__)

#: Each look is one of a folder with a few names.
_LOOK_S = 1.0


class UploadFolders:
    """All that are watched. One that has begun is watched for as long as the pusher runs: where its profile is taken
    away, its files are refused with that reason.

    Args:
        profiles: The names of those that are kept; waits for the disk.
        make: The watching of a folder whose files are of a profile's form ("": that of imports); waits for the disk.

    Raises:
        OSError: The folder can't be made.
    """

    def __init__(
        self,
        folder: Path,
        profiles: Callable[[], list[str]],
        make: Callable[[Path, str], UploadFolder],
        background: Background,
        *,
        poll_s: float,
    ) -> None:
        self._folder, self._profiles, self._make, self._background = folder, profiles, make, background
        self._poll_s = max(poll_s, _LOOK_S)
        self._begun: set[str] = set()
        #: Said of a profile's folder, or of them all under "", so that the same is not said at every look.
        self._said: dict[str, str] = {}
        #: Those that are there at the start.
        self._first = [("", make(folder, "")), *self._new()]

    async def run(self) -> None:
        """For as long as the pusher runs."""
        self._begin(self._first)
        while True:
            await asyncio.sleep(self._poll_s)
            self._begin(await asyncio.to_thread(self._new))

    def _begin(self, folders: list[tuple[str, UploadFolder]]) -> None:
        for profile, folder in folders:
            self._background.start(folder.run(), f"watches the upload folder {profile}".rstrip())
            if profile:
                logger.info("%s: takes files of the profile %s", self._folder / profile, profile)

    def _new(self) -> list[tuple[str, UploadFolder]]:
        """Folders of profiles that were not kept at the last look."""
        try:
            names = self._profiles()
        except OSError as error:
            self._say("", f"the profiles can't be looked for: {system_words(error)}; tries again")
            return []
        found = []
        for profile in names:
            folder = self._folder / profile
            if profile in self._begun:
                continue
            if folder.is_symlink():  # it would lead to whatever the pusher may read
                self._say(profile, f"{folder} is a link: make it a folder")
                continue
            try:
                found.append((profile, self._make(folder, profile)))
                self._begun.add(profile)
            except OSError as error:
                self._say(profile, f"{folder} can't be watched: {system_words(error)}; tries again")
        return found

    def _say(self, profile: str, line: str) -> None:
        if self._said.get(profile) != line:
            self._said[profile] = line
            logger.error("%s", line)
