"""What an S3-compatible store can do wrong: answers lost, servers that are killed or silent, keys that are wrong."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from bench.servers.s3_server import SECRET_KEY, S3Server
from fasttree.v1 import types_pb2
from services.pusher.import_store.imports import ImportObjects
from services.pusher.import_store.opening import open_imports
from services.pusher.import_store.settings import ImportStoreSettings
from services.pusher.settings import PusherSettings
from services.shared.config.load import SettingsError, load_settings
from services.shared.objects.objects import StoreAwayError
from services.shared.objects.places import bucket_and_prefix
from services.shared.objects.s3 import S3Objects
from tests.object_store import proxy, s3_settings
from tests.shared.http2.certificates import Authority

PART_BYTES = 50_000
FILE = bytes(range(256)) * 1_000
PARTS = -(-len(FILE) // PART_BYTES)
MANIFEST = types_pb2.ImportManifest(
    import_id=1, file_name="members.csv", size_bytes=len(FILE), sha256=hashlib.sha256(FILE).digest()
)


def objects_of(server: S3Server, folder: Path, **more: Any) -> S3Objects:
    return S3Objects(ImportStoreSettings(**s3_settings(server, folder, **more)).place, "company")


def written(folder: Path) -> Path:
    path = folder / "members.csv"
    path.write_bytes(FILE)
    return path


async def read(objects: S3Objects) -> bytes:
    imports = ImportObjects(objects, PART_BYTES, 1)
    return b"".join([piece async for piece in imports.read(MANIFEST, 0)])


async def test_an_answer_that_is_lost_after_the_put_is_found_out(s3: S3Server, tmp_path: Path) -> None:
    async with proxy(s3) as between:
        objects = objects_of(s3, tmp_path, import_endpoint=between.endpoint, import_retries=5)
        assert await objects.sizes("") == {}
        between.loses_answers = 1
        name = "000001-ab/00000-cd"
        await objects.put_new(name, b"what was put")  # whether by this call is not known
        assert between.lost == 1
        assert await objects.get(name, 100) == b"what was put"
        between.loses_answers = 3
        await ImportObjects(objects, PART_BYTES, 2).keep(MANIFEST, written(tmp_path))
        assert between.lost == 4
        assert await read(objects) == FILE


async def test_a_silent_store_is_given_up_and_goes_on(s3: S3Server, tmp_path: Path) -> None:
    async with proxy(s3) as between:
        patience = {"import_request_timeout_s": 0.2, "import_retries": 0}
        objects = objects_of(s3, tmp_path, import_endpoint=between.endpoint, **patience)
        between.is_silent = True
        for asked in (objects.sizes(""), objects.put_new("a-1/0", b"x"), objects.get("a-1/0", 10)):
            with pytest.raises(StoreAwayError, match=rf"{between.endpoint}: (it does not|no) answer"):
                await asked
        between.is_silent = False
        patient = objects_of(s3, tmp_path, import_endpoint=between.endpoint)
        assert await patient.put_new("a-1/0", b"x")


async def test_a_server_that_is_killed_in_the_middle_of_an_upload_has_what_it_said_it_has(
    s3: S3Server, tmp_path: Path
) -> None:
    killed = False

    class Killing(S3Objects):
        async def put_new(self, name: str, data: bytes) -> bool:
            nonlocal killed
            if not killed and len(await self.sizes("")) == 3:
                killed = True
                await asyncio.to_thread(s3.kill)
            return await super().put_new(name, data)

    settings = ImportStoreSettings(**s3_settings(s3, tmp_path, import_retries=0))
    imports = ImportObjects(Killing(settings.place, "company"), PART_BYTES, 1)
    try:
        with pytest.raises(StoreAwayError, match="it does not answer"):
            await imports.keep(MANIFEST, written(tmp_path))
        assert killed
    finally:
        await asyncio.to_thread(s3.start)
    objects = S3Objects(structs.replace(settings, import_retries=10).place, "company")
    before = await objects.sizes("")
    assert len(before) == 3
    await ImportObjects(objects, PART_BYTES, 1).keep(MANIFEST, written(tmp_path))
    after = await objects.sizes("")
    assert len(after) == PARTS + 1
    assert {name: after[name] for name in before} == before
    assert await read(objects) == FILE


async def test_keys_that_are_wrong_are_told_without_them(s3: S3Server, tmp_path: Path) -> None:
    objects = objects_of(s3, tmp_path)
    keys = tmp_path / "credentials"
    good = keys.read_text()
    keys.write_text(good.replace(SECRET_KEY, "wrong-secret"))
    for asked in (objects.sizes(""), objects.put_new("a-1/0", b"x"), objects.get("a-1/0", 10)):
        with pytest.raises(StoreAwayError, match=r"access is denied \(SignatureDoesNotMatch\)") as caught:
            await asked
        assert "wrong-secret" not in f"{caught.value!r}{caught.value.__cause__!r}"
    keys.write_text("wrong-secret")
    with pytest.raises(
        StoreAwayError, match=r"there are no keys for it: set pusher\.import_credentials_file"
    ) as caught:
        await objects_of_file(s3, tmp_path, keys).sizes("")
    assert "wrong-secret" not in f"{caught.value!r}{caught.value.__cause__!r}"
    keys.write_text(good)
    assert await objects_of_file(s3, tmp_path, keys).sizes("") == {}


def objects_of_file(server: S3Server, folder: Path, keys: Path) -> S3Objects:
    (folder / "other").mkdir(exist_ok=True)
    settings = s3_settings(server, folder / "other", import_credentials_file=str(keys), import_retries=0)
    return S3Objects(ImportStoreSettings(**settings).place, "company")


async def test_keys_come_from_the_environment_too(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "fasttree")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    assert await objects_of(s3, tmp_path, import_credentials_file="").sizes("") == {}


async def test_a_store_is_asked_by_tls_and_only_one_that_is_vouched_for(s3: S3Server, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    certificate = authority.signed("store")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate.chain, certificate.key)
    async with proxy(s3, tls) as between:
        place = {"import_endpoint": between.endpoint, "import_retries": 0}
        vouched = objects_of(s3, tmp_path, import_ca_file=str(authority.root), **place)
        assert await vouched.put_new("a-1/0", b"x")
        with pytest.raises(StoreAwayError, match="look after it, its address and its certificate"):
            await objects_of(s3, tmp_path, **place).sizes("")
    settings = PusherSettings.of(state_folder=str(tmp_path), **s3_settings(s3, tmp_path, import_ca_file="/nowhere.pem"))
    with pytest.raises(SettingsError, match=r"pusher\.import_ca_file: /nowhere\.pem: No such file"):
        open_imports(settings, "company")


async def test_a_bucket_that_is_not_there_is_told(s3: S3Server, tmp_path: Path) -> None:
    objects = objects_of(s3, tmp_path, import_url="s3://nobodys-bucket/prefix")
    for asked in (objects.sizes(""), objects.get("a-1/0", 10)):
        with pytest.raises(StoreAwayError, match=r"s3://nobodys-bucket/prefix at .*: there is no such bucket"):
            await asked


def test_without_obstore_the_mend_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "services.shared.objects.s3")
    monkeypatch.setitem(sys.modules, "obstore", None)
    settings = PusherSettings.of(state_folder=str(tmp_path), import_store="s3", import_url="s3://company")
    with pytest.raises(SettingsError, match=r"s3 needs obstore, .* pip install ha-fasttree\[objects\]"):
        open_imports(settings, "company")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"import_store": "s3"}, "import_url.*must name the bucket"),
        ({"import_store": "s3", "import_url": "s3://company", "import_folder": "/mnt"}, "import_folder.*must be empty"),
        ({"import_url": "s3://company"}, "import_store.*must be .s3."),
        ({"import_store": "gcs"}, "folder or s3"),
        ({"import_url": "s3://x"}, "s3://BUCKET/PREFIX"),
        ({"import_endpoint": "http://store.example.com:9000"}, "import_endpoint.*must begin with https://"),
        ({"import_endpoint": "ftp://store"}, "https://HOST"),
    ],
)
def test_settings_that_can_not_be_are_told(given: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load_settings(PusherSettings, "pusher", None, {f"pusher.{name}": value for name, value in given.items()})


def test_a_buckets_address_is_taken_apart() -> None:
    assert bucket_and_prefix("s3://company") == ("company", "")
    assert bucket_and_prefix("s3://company/a/b/") == ("company", "a/b")
