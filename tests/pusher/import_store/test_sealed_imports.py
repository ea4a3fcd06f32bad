"""Import files of a pusher with keys: sealed on its disk; in a store that others read, what is in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.pusher.import_store.imports import ImportObjects
from services.pusher.import_store.settings import ImportStoreSettings
from services.pusher.imports.files import ImportFiles
from services.shared.files.sealed.names import IMPORT_FILE, MAGIC
from services.shared.files.sealed.own import keys_for_now
from services.shared.objects.folder import FolderObjects
from services.shared.serving.errors import DataLossError
from tests.shared.files.sealed.own_keys import content, keys

TEXT = b"member_id,sponsor_id\n" + b"".join(b"quetzal-%d,\n" % number for number in range(400))
PART_BYTES = 1_000


async def test_a_file_is_sealed_on_this_disk_and_put_as_it_came(tmp_path: Path) -> None:
    (tmp_path / "mount").mkdir()
    (tmp_path / "own.csv").write_bytes(TEXT)
    objects = FolderObjects(ImportStoreSettings(import_folder=str(tmp_path / "mount")).place, "company")
    with keys_for_now(keys()):
        files, store = ImportFiles(tmp_path / "imports", 1 << 20), ImportObjects(objects, PART_BYTES, 2)
        part, manifest = await files.copy_in(tmp_path / "own.csv", "members.csv")
        manifest.import_id = 5
        assert manifest.size_bytes == len(TEXT)
        assert part.read_bytes().startswith(MAGIC)
        assert content(part, IMPORT_FILE) == TEXT
        await store.keep(manifest, part)
        files.keep(part, manifest)
        assert files.problem(manifest) is None
        kept = files.path(manifest)
        assert b"quetzal" not in kept.read_bytes()
    with keys_for_now(keys("two")):  # another pusher's
        assert b"".join([piece async for piece in store.read(manifest, 0)]) == TEXT
        assert "can't be opened: " in (ImportFiles(tmp_path / "imports", 1 << 20).problem(manifest) or "")
        with pytest.raises(DataLossError, match="sealed by key one"):
            await store.keep(manifest, kept)
    data = bytearray(kept.read_bytes())
    data[-1] ^= 1
    kept.write_bytes(data)
    with keys_for_now(keys()):
        assert "is damaged" in (files.problem(manifest) or "")
        with pytest.raises(DataLossError, match="not what was sealed"):
            await store.keep(manifest, kept)
