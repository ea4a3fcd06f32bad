"""An import's file as the pusher has it: on its disk, and in the store that all pushers see, where there is one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from pathlib import Path

from fasttree.v1 import pusher_pb2, types_pb2
from services.pusher.import_store.imports import ImportObjects
from services.pusher.imports.files import ImportFiles
from services.shared.domain.sentences import system_words
from services.shared.files.chunks import CHUNK_BYTES, make_chunk
from services.shared.files.downloads import check_offset, serve_chunks
from services.shared.files.import_source import HeldImport
from services.shared.objects.objects import ObjectDamagedError, ObjectMissingError, StoreAwayError
from services.shared.serving.errors import DataLossError, FastTreeError, NotFoundError

logger = logging.getLogger(__name__)


class KeptImports:
    """The files of imports. With a store, one is kept once it is there; this disk has copies of those that are needed,
    as far as it has room.

    Args:
        files: The folder on this machine.
        store: None: the folder is all that there is.
        look_s: How often the store is looked at, in seconds.
    """

    def __init__(self, files: ImportFiles, store: ImportObjects | None, look_s: float) -> None:
        self.files, self.store = files, store
        self._look_s = look_s
        #: Why the store can't be used, or what it lacks; empty where all is well.
        self.problem = ""
        #: SHA-256 of each file that the store was found to have.
        self._seen: set[bytes] = set()
        #: Why a file that is in the store could not be copied here, by its SHA-256: until somebody takes it out of
        #: the store, it is not read again.
        self._not_copied: dict[bytes, str] = {}
        self._reached_s = float("-inf")

    @property
    def place(self) -> str:
        """Where files are kept, for people."""
        return str(self.files.folder) if self.store is None else self.store.objects.place

    def told(self) -> pusher_pb2.ImportsKept:
        """The same for whoever asks where the pusher stands."""
        return pusher_pb2.ImportsKept(place=self.place, shared=self.store is not None, problem=self.problem)

    def begun(self) -> KeptImports:
        """The same, for a pusher that begins to take files: nobody else receives into the folder any more."""
        self.files.remove_leftovers()
        return self

    # -- in

    async def check(self) -> None:
        """Before a file is taken in that could not be kept. Raises StoreAwayError where the store was away, and is."""
        if self.store is not None and self.problem:
            with self._noting():
                await self.store.whole()

    async def keep(self, part: Path, manifest: types_pb2.ImportManifest) -> None:
        """Keeps a file that was taken in, durable on this disk as `part`, in the store first.

        Raises OSError, and as `ImportObjects.keep`.
        """
        if self.store is not None:
            with self._noting():
                await self.store.keep(manifest, part)
            self._seen.add(manifest.sha256)
        await asyncio.to_thread(self.files.keep, part, manifest)

    async def keep_again(self, old: types_pb2.ImportManifest, new: types_pb2.ImportManifest) -> None:
        """Keeps the file of an import that has no `unfit`, for another one too. Raises as `keep`."""
        path = self.files.path(old)
        is_here = await asyncio.to_thread(path.exists)
        if self.store is not None and new.sha256 not in self._seen:
            with self._noting():
                if await self.store.problem(old) is not None:
                    await self.store.keep(new, path)
            self._seen.add(new.sha256)
        if is_here or self.store is None:
            await asyncio.to_thread(self.files.link, old, new)

    # -- out

    async def unfit(self, manifest: types_pb2.ImportManifest) -> str | None:
        """What keeps the file from being used again, as the end of a sentence; None: nothing. Raises StoreAwayError."""
        here = await asyncio.to_thread(self.files.problem, manifest)
        if here is None or self.store is None:
            return here
        with self._noting():
            return await self.store.problem(manifest)

    async def chunks(self, held: HeldImport, offset: int) -> AsyncIterator[types_pb2.Chunk]:
        """The file from an offset on, from this disk or else the store. Raises as `serve_chunks`; StoreAwayError."""
        manifest, path = held
        if self.store is None or await asyncio.to_thread(path.exists):
            async for chunk in serve_chunks(path, offset, manifest.size_bytes):
                yield chunk
            return
        check_offset(offset, manifest.size_bytes)
        try:
            with self._noting():
                async for data in self.store.read(manifest, offset):
                    for begin in range(0, len(data), CHUNK_BYTES):
                        chunk = make_chunk(offset, data[begin : begin + CHUNK_BYTES])
                        yield chunk
                        offset += len(chunk.data)
        except ObjectMissingError:
            text = f"the file of import {manifest.import_id} is neither on this pusher's disk nor in {self.place}"
            raise NotFoundError(text, value=path.name) from None

    # -- what is there, and what may go

    async def run(self, needed: Callable[[], Sequence[types_pb2.ImportManifest]]) -> None:
        """Looks after the store, for as long as the pusher is active. `needed`: the imports that may be asked for."""
        if self.store is None:
            return
        while True:
            await self.look(needed())
            await asyncio.sleep(self._look_s)

    async def look(self, needed: Sequence[types_pb2.ImportManifest]) -> None:
        """Puts into the store what this disk alone has, and onto this disk what it lacks; says what is wrong."""
        assert self.store is not None
        try:
            whole = await self.store.whole()
            self._seen &= whole
            self._not_copied = {sha256: why for sha256, why in self._not_copied.items() if sha256 in whole}
            problems = [problem for manifest in needed if (problem := await self._settle(manifest))]
        except (FastTreeError, OSError) as error:
            problems = [system_words(error)]
        self._note("; ".join(problems))

    async def _settle(self, manifest: types_pb2.ImportManifest) -> str:
        """One import; returns what is wrong with its file in the store. Raises StoreAwayError, OSError and others."""
        assert self.store is not None
        path = self.files.path(manifest)
        if manifest.sha256 not in self._seen:
            problem = await self.store.problem(manifest)
            if problem is not None:
                if await asyncio.to_thread(self.files.problem, manifest) is not None:
                    return f"the file of import {manifest.import_id} {problem}"
                logger.info("the file of import %d goes to %s", manifest.import_id, self.place)
                try:
                    await self.store.keep(manifest, path)
                except DataLossError as error:  # what stands there can't be put anew: no word about the others
                    return f"the file of import {manifest.import_id} is damaged: {error}"
            self._seen.add(manifest.sha256)
        if await asyncio.to_thread(path.exists):
            self._not_copied.pop(manifest.sha256, None)
        elif manifest.sha256 not in self._not_copied:
            await self._copy_here(manifest)
        return self._not_copied.get(manifest.sha256, "")

    async def _copy_here(self, manifest: types_pb2.ImportManifest) -> None:
        """A copy on this disk; it does without where there is no room. Raises StoreAwayError."""
        assert self.store is not None
        try:
            async with contextlib.aclosing(self.store.read(manifest, 0)) as pieces:
                await self.files.copy_of(manifest, pieces)
        except ObjectMissingError:
            self._seen.discard(manifest.sha256)  # removed just now: the next look says so
        except DataLossError as error:
            self._not_copied[manifest.sha256] = f"the file of import {manifest.import_id} is damaged: {error}"
        except StoreAwayError:
            raise
        except (FastTreeError, OSError) as error:
            self._not_copied[manifest.sha256] = ""
            logger.warning("import %d is not copied to this disk: %s", manifest.import_id, system_words(error))
        else:
            logger.info("import %d: its file was copied from %s", manifest.import_id, self.place)

    async def lacks(self, newest: Iterable[types_pb2.ImportManifest]) -> str:
        """What would be missing here if this pusher became active; empty where nothing would."""
        if self.store is None:
            missing = await asyncio.to_thread(self._not_here, newest)
            if not missing:
                return ""
            return f"lacks the file of import {', '.join(missing)}: a node that needs it gets it from its peers only"
        try:
            now_s = asyncio.get_running_loop().time()
            if self.problem or now_s - self._reached_s >= self._look_s:
                self._seen &= await self.store.whole()
                self._reached_s = now_s
            for manifest in newest:
                if manifest.sha256 not in self._seen:
                    if (problem := await self.store.problem(manifest)) is not None:
                        return f"the file of import {manifest.import_id} {problem}"
                    self._seen.add(manifest.sha256)
        except FastTreeError as error:
            self._note(str(error))
        else:
            self._note("")
        return self.problem

    def _not_here(self, manifests: Iterable[types_pb2.ImportManifest]) -> list[str]:
        return [f"{each.import_id}" for each in manifests if not self.files.path(each).exists()]

    async def forget(
        self, here: Iterable[types_pb2.ImportManifest], needed: Iterable[types_pb2.ImportManifest], newest_id: int
    ) -> list[str]:
        """Removes files that nothing needs; returns their names.

        Args:
            here: The imports whose files stay on this disk.
            needed: Those whose files stay in the store, as the log itself says.
            newest_id: The newest import that is in the log.

        Raises:
            OSError, StoreAwayError: What is left is removed another time.
        """
        removed = await asyncio.to_thread(self.files.remove_all_but, [self.files.path(each) for each in here])
        if self.store is not None:
            needed_files = {each.sha256 for each in needed}
            with self._noting():
                removed += await self.store.forget(newest_id, needed_files)
            self._seen &= needed_files
        return removed

    @contextlib.contextmanager
    def _noting(self) -> Iterator[None]:
        """What the store says of itself is told at once, not at the next look alone."""
        try:
            yield
        except (StoreAwayError, ObjectDamagedError) as error:
            self._note(str(error))
            raise

    def _note(self, problem: str) -> None:
        if problem and problem != self.problem:
            logger.error("%s", problem)
        elif self.problem and not problem:
            logger.info("the store of import files is well again")
        self.problem = problem
