"""Import files in: uploaded, found in the watched folder, or taken again for a rollback."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec

from fasttree.v1 import pusher_pb2, types_pb2
from services.pusher.import_store.kept import KeptImports
from services.pusher.imports.catalog import ImportCatalog
from services.pusher.imports.events import ImportAdded
from services.pusher.imports.since_export import SinceExport
from services.pusher.log.store import LogStore
from services.pusher.personal.opening import PusherVault
from services.shared.domain.sentences import with_mend
from services.shared.mapping.canonical import KnownColumns
from services.shared.mapping.kept import KeptProfiles
from services.shared.mapping.profile import Profile, ProfileError, profile_of
from services.shared.rules import Rules
from services.shared.serving.errors import (
    FailedPreconditionError,
    FastTreeError,
    InvalidArgumentError,
    ResourceExhaustedError,
    UnavailableError,
)

logger = logging.getLogger(__name__)

_HEAR_OUT_S = 1.0


class ImportIntake:
    """Every way by which an import comes to be. `tell` hears of each, once it is on disk."""

    def __init__(
        self,
        store: LogStore,
        kept: KeptImports,
        catalog: ImportCatalog,
        since_export: SinceExport,
        known: Callable[[], KnownColumns],
        profiles: KeptProfiles,
        tell: Callable[[ImportAdded], None],
    ) -> None:
        """`known`: what the rules at the log's end say of columns."""
        self._store, self._kept, self._catalog, self._tell = store, kept, catalog, tell
        self._files = kept.files
        self._known, self.profiles = known, profiles
        self._since_export = since_export

    async def upload(self, requests: AsyncIterator[pusher_pb2.UploadImportRequest]) -> types_pb2.ImportManifest:
        """Takes an uploaded file. Raises as UploadImport in the proto."""
        try:
            return await self._upload(requests)
        except FastTreeError:
            # A client that is still writing when the call ends sees that as a broken call, not the reason for it.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_HEAR_OUT_S):
                    async for _ in requests:
                        pass
            raise

    async def _upload(self, requests: AsyncIterator[pusher_pb2.UploadImportRequest]) -> types_pb2.ImportManifest:
        first = await anext(requests, None)
        if first is None or first.WhichOneof("part") != "header":
            raise InvalidArgumentError("the first message must be the header", field="part")
        header = first.header
        with _profile_errors():
            profile = await asyncio.to_thread(self._profile_of, header)
        # From the start of the upload: what is pushed while the bytes come is not in the file.
        position, remark = header.as_of_position, ""
        if not header.HasField("as_of_position"):
            position = self.position
            age_s = header.file_age_ms / 1e3 if header.HasField("file_age_ms") else None
            remark = await asyncio.to_thread(self._since_export.remark, position, age_s)
            if remark and header.ask_first:
                raise FailedPreconditionError(remark, reason="UPDATES_SINCE_EXPORT", field="as_of_position")
        await self._kept.check()
        part, manifest = await self._files.receive(header, requests)
        try:
            part, manifest = await self._in_form(part, manifest, profile)
        except OSError as error:
            raise ResourceExhaustedError(f"{header.file_name} can't be written: {with_mend(error)}") from error
        manifest.as_of_position, manifest.remark = position, remark
        return await self._add(part, manifest)

    async def _in_form(
        self, part: Path, manifest: types_pb2.ImportManifest, profile: Profile
    ) -> tuple[Path, types_pb2.ImportManifest]:
        """The file in the form of imports. Raises as `ImportFiles.rewritten`."""
        known = self._known()
        if profile.is_canonical and not known.personal:
            return part, manifest
        part, manifest = await self._files.rewritten(part, manifest, profile, known)
        if self._known().personal != known.personal:
            await asyncio.to_thread(self._files.discard, part)
            raise UnavailableError(f"a column became personal while {manifest.file_name} was taken: send it again")
        return part, manifest

    def _profile_of(self, header: pusher_pb2.UploadImportHeader) -> Profile:
        """The form that the header says. Raises ProfileError."""
        form = header.profile
        if header.profile_name:
            if header.HasField("profile"):
                raise ProfileError("give it, or the name of one that is kept, not both")
            return self.profiles.read(header.profile_name)
        return profile_of(dict(form.columns), form.separator, form.date_format, form.decimal)

    async def kept_profile(self, name: str) -> pusher_pb2.ImportProfile:
        """One that is kept beside the pusher. Raises as GetImportProfile in the proto."""
        with _profile_errors():
            profile = await asyncio.to_thread(self.profiles.read, name)
        return pusher_pb2.ImportProfile(**msgspec.structs.asdict(profile))

    def _remark_of(self, file: Path, position: int) -> str:
        return self._since_export.remark(position, time.time() - file.stat().st_mtime)

    @property
    def position(self) -> int:
        """The position that a file is taken at when nobody says another."""
        return self._store.ends().last

    async def take(
        self, file: Path, file_name: str, as_of_position: int, *, named: bool = True, profile: str = ""
    ) -> types_pb2.ImportManifest:
        """Takes a file of this machine. `named`: somebody said the position. `profile`: the name of a kept one.
        Raises OSError, ProfileError, and as UploadImport.
        """
        await self._kept.check()
        form = await asyncio.to_thread(self.profiles.read, profile) if profile else Profile()
        remark = "" if named else await asyncio.to_thread(self._remark_of, file, as_of_position)
        part, manifest = await self._files.copy_in(file, file_name)
        part, manifest = await self._in_form(part, manifest, form)
        manifest.as_of_position, manifest.remark = as_of_position, remark
        return await self._add(part, manifest)

    async def roll_back(self) -> types_pb2.ImportManifest:
        """Takes the import before the one in force again. Raises as RollbackImport in the proto."""
        manifest = await self._catalog.add_again()
        self._added(manifest)
        return manifest

    async def _add(self, part: Path, received: types_pb2.ImportManifest) -> types_pb2.ImportManifest:
        try:
            manifest = await self._catalog.add(received, partial(self._kept.keep, part))
        finally:
            await asyncio.to_thread(self._files.discard, part)
        self._added(manifest)
        return manifest

    def _added(self, manifest: types_pb2.ImportManifest) -> None:
        logger.info(
            "import %d: %s, %d bytes, as of position %d",
            manifest.import_id,
            manifest.file_name,
            manifest.size_bytes,
            manifest.as_of_position,
        )
        if manifest.remark:
            logger.warning("import %d: %s", manifest.import_id, manifest.remark)
        self._tell(ImportAdded(manifest.import_id))


@contextlib.contextmanager
def _profile_errors() -> Iterator[None]:
    """A profile that can't be is the caller's to mend. Raises InvalidArgumentError."""
    try:
        yield
    except ProfileError as error:
        raise InvalidArgumentError(f"profile: {error}", reason="PROFILE_INVALID", field="profile") from error


def known_columns(rules: Rules, vault: PusherVault) -> KnownColumns:
    """What rules say of columns. `vault`: where the values of those that are personal go."""
    kinds = {column.name: column.kind for column in rules.columns}
    return KnownColumns(rules.volume_types, kinds, tuple(sorted(rules.personal)), str(vault.path), vault.wait_s)
