"""Objects as files of a folder that several machines see, such as a mount of NFS."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import stat
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, TypeVar

from services.shared.domain.sentences import NO_ROOM, with_mend
from services.shared.files.durable import make_folder, remove_durably, remove_empty_folder, write_new_durably
from services.shared.objects.objects import ObjectDamagedError, ObjectMissingError, StoreAwayError
from services.shared.objects.places import Place
from services.shared.serving.errors import ResourceExhaustedError

Result = TypeVar("Result")

logger = logging.getLogger(__name__)

#: Of one object, where the folder of all of them can be looked through: somebody else's file, a bad block.
_OF_ONE = (errno.EACCES, errno.EPERM, errno.EIO)
#: Opening a socket, or a link that leads to itself.
_NO_FILE = (errno.ENXIO, errno.ELOOP)


class FolderObjects:
    """See `Objects`. A mount that hangs holds up threads of its own, and nothing else of the process.

    Args:
        place: Its folder has to be there; it is never made: where it should be a mount, an empty one would be on this
            machine. A call may take its `request_timeout_s`.
        cluster: Its objects stand in a folder of that name.
    """

    def __init__(self, place: Place, cluster: str) -> None:
        self._above = Path(place.folder).absolute()
        self._folder = self._above / cluster
        self.place = str(self._above)
        self._store = place.words_of(self.place)
        self._timeout_s = place.request_timeout_s
        #: Folders of objects that were told: they can't be looked through.
        self._told: set[Path] = set()
        self._threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="objects")

    def full_name(self, name: str) -> str:
        return str(self._folder / name)

    async def put_new(self, name: str, data: bytes) -> bool:
        def put() -> bool:
            path = self._folder / name
            make_folder(path.parent)
            return write_new_durably(path, data)

        return await self._run(put)

    async def get(self, name: str, bytes_max: int) -> bytes:
        def get() -> bytes:
            try:
                with _open_regular(self._folder / name) as file:
                    size_bytes = os.fstat(file.fileno()).st_size
                    if size_bytes > bytes_max:
                        raise ObjectDamagedError(
                            f"{self.full_name(name)} has {size_bytes} bytes, it should have {bytes_max} at most"
                        )
                    return file.read(bytes_max)
            except OSError as error:
                if not self._is_of_one(error):
                    raise
                mend = "look after its rights and its disk"
                raise ObjectDamagedError(f"{self.full_name(name)} can't be read: {error.strerror}; {mend}") from error

        try:
            return await self._run(get)
        except FileNotFoundError:
            raise ObjectMissingError(name) from None

    async def sizes(self, prefix: str) -> dict[str, int]:
        return await self._run(lambda: self._sizes(self._folder / prefix if prefix else self._folder))

    def _sizes(self, folder: Path) -> dict[str, int]:
        found: dict[str, int] = {}
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        found |= self._sizes(Path(entry.path))
                    else:
                        name = str(Path(entry.path).relative_to(self._folder))
                        found[name] = entry.stat(follow_symlinks=False).st_size
        except FileNotFoundError:  # removed meanwhile, or nothing was put there yet
            return found
        except OSError as error:
            if folder == self._folder or not self._is_of_one(error):
                raise
            if folder not in self._told:
                logger.warning("%s can't be looked through: %s; it is passed over", folder, error.strerror)
            self._told.add(folder)
            return {}
        self._told.discard(folder)
        return found

    def _is_of_one(self, error: OSError) -> bool:
        """Whether it says nothing of the other objects."""
        if error.errno not in _OF_ONE:
            return False
        try:
            with os.scandir(self._folder):
                return os.access(self._folder, os.R_OK | os.X_OK)
        except OSError:
            return False

    async def remove(self, names: Sequence[str]) -> None:
        def remove() -> None:
            for name in names:
                remove_durably(self._folder / name)
            for folder in {(self._folder / name).parent for name in names}:
                if folder != self._folder:
                    remove_empty_folder(folder)

        await self._run(remove)

    async def _run(self, work: Callable[[], Result]) -> Result:
        """Runs it in a thread, for as long as it may take. Raises StoreAwayError, and FileNotFoundError of `work`."""

        def checked() -> Result:
            if not self._above.is_dir():
                if self._above.exists():
                    raise StoreAwayError(self._store, "it is no folder; name one, or put one there")
                raise StoreAwayError(
                    self._store, "the folder is not there; mount it, or make it if this is the first use"
                )
            return work()

        try:
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.get_running_loop().run_in_executor(self._threads, checked)
        except TimeoutError as error:
            raise StoreAwayError(self._store, f"no answer in {self._timeout_s:g} s; look after the mount") from error
        except FileNotFoundError:
            raise
        except OSError as error:
            if error.errno in NO_ROOM:
                raise ResourceExhaustedError(f"{self.place} is full: {with_mend(error)}") from error
            raise StoreAwayError(self._store, with_mend(error)) from error


def _open_regular(path: Path) -> BinaryIO:
    """What stands under an object's name and is none is damage of this object, and of no other: a pipe that is opened
    as a file would hold up its thread for good, and the whole store would count as away.

    Raises ObjectDamagedError, OSError.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if error.errno not in _NO_FILE:
            raise
        raise ObjectDamagedError(f"{path} is no file: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ObjectDamagedError(f"{path} is no file")
    return os.fdopen(descriptor, "rb")
