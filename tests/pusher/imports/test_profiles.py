"""A company's own file is written anew when it is taken, or refused with all that is not as its profile says."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fasttree.client import Client, Endpoints, InvalidArgumentError, UploadOptions
from fasttree.v1 import pusher_pb2, types_pb2
from services.pusher.app import Pusher
from services.shared.files.checksums import file_sha256
from tests.newcomer_file import FILE_NAME, NAMES, newcomer_csv
from tests.pusher.running_pusher import running_pusher
from tests.shared.packing.archives import zipped, zstd
from tests.waiting import until

PROFILE = pusher_pb2.ImportProfile(columns=NAMES, separator=";", date_format="MM/DD/YYYY", decimal="1,234.50")


def _endpoints(pusher: Pusher) -> Endpoints:
    return Endpoints(pusher=f"127.0.0.1:{pusher.server.port}")


async def _upload(pusher: Pusher, path: Path, profile: pusher_pb2.ImportProfile) -> types_pb2.ImportManifest:
    async with Client(_endpoints(pusher)) as client:
        return await client.upload_import(path, UploadOptions(profile=profile))


async def test_a_file_of_another_form_is_kept_in_that_of_imports(tmp_path: Path) -> None:
    own = tmp_path / FILE_NAME
    own.write_bytes(newcomer_csv())
    async with running_pusher(tmp_path) as pusher:
        manifest = await _upload(pusher, own, PROFILE)
        kept = pusher.kept.files.path(manifest)
        assert kept.read_bytes().startswith(
            b"member_id,sponsor_id,placement_id,placement_leg,KIND,STATUS,RANK,joined_on,"
        )
        assert (manifest.size_bytes, manifest.sha256) == (kept.stat().st_size, file_sha256(kept))
        assert manifest.uploaded_sha256 == file_sha256(own)
        assert manifest.uploaded_as.endswith('separator ";", days as MM/DD/YYYY, numbers as 1,234.50')
        assert manifest.file_name == FILE_NAME
        assert pusher.kept.files.problem(manifest) is None
        assert list(pusher.kept.files.incoming.iterdir()) == []


@pytest.mark.parametrize(("pack", "name"), [(zstd, "own.csv.zst"), (lambda text: zipped(("own.csv", text)), "own.zip")])
async def test_a_packed_file_of_another_form_is_kept_as_imports_are_packed(
    pack: Callable[[bytes], bytes], name: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(pack(newcomer_csv()))
    (tmp_path / FILE_NAME).write_bytes(newcomer_csv())
    async with running_pusher(tmp_path) as pusher:
        manifest = await _upload(pusher, tmp_path / name, PROFILE)
        plain = await _upload(pusher, tmp_path / FILE_NAME, PROFILE)
        assert manifest.format == types_pb2.IMPORT_FORMAT_UNSPECIFIED, "nodes find it by themselves"
        packed = pusher.kept.files.path(manifest).read_bytes()
        assert gzip.decompress(packed) == pusher.kept.files.path(plain).read_bytes()


async def test_a_zip_of_the_form_of_imports_is_kept_as_it_is(tmp_path: Path) -> None:
    content = zipped(("members.csv", b"member_id,sponsor_id,status,rank,joined_on,pv\n1,,A,1,,0\n"))
    (tmp_path / "members.zip").write_bytes(content)
    async with running_pusher(tmp_path) as pusher, Client(_endpoints(pusher)) as client:
        manifest = await client.upload_import(tmp_path / "members.zip", UploadOptions())
        assert pusher.kept.files.path(manifest).read_bytes() == content
        assert manifest.format == types_pb2.IMPORT_FORMAT_UNSPECIFIED


@pytest.mark.parametrize(
    ("content", "profile", "told"),
    [
        (zipped(("a.csv", b"id\n1\n"), ("b.csv", b"id\n2\n")), {"separator": ";"}, 'holds 2 files, "a.csv", "b.csv"'),
        (zstd(b"id;pv\n1;1.5\n" * 99)[:-3], {"separator": ";"}, "zstd stream is damaged or was cut off"),
        (gzip.compress(b"id;pv\n1;1.5\n", mtime=0)[:-3], {"separator": ";"}, "gzip stream is damaged or was cut off"),
        (b"DISTRIBUTOR_ID\n1\n", {"columns": {"member_id": "ID"}}, 'has no column "ID"; it has "DISTRIBUTOR_ID"'),
        (
            b"id;pv\n1;1.5\n2;x\n",
            {"separator": ";", "decimal": "1.234,50"},
            "2 rows are not as the profile says: 2 x column pv",
        ),
        (b"PAR1" + bytes(20), {"separator": ";"}, "a profile is for CSV"),
        (b"id\n1\n", {"separator": "::"}, 'profile: separator: "::" is none'),
        (b"id\n1\n", {"date_format": "M/D/Y"}, 'profile: date_format: "M/D/Y" is none'),
        (b"id\n1\n", {"columns": {"member_id": "a", "sponsor_id": "A"}}, "stands there twice"),
    ],
)
async def test_what_is_refused_leaves_nothing_behind(
    content: bytes, profile: dict[str, Any], told: str, tmp_path: Path
) -> None:
    (tmp_path / "own.csv").write_bytes(content)
    async with running_pusher(tmp_path) as pusher:
        with pytest.raises(InvalidArgumentError) as refused:
            await _upload(pusher, tmp_path / "own.csv", pusher_pb2.ImportProfile(**profile))
        assert told in refused.value.message
        assert refused.value.reason in ("PROFILE_INVALID", "FILE_NOT_OF_PROFILE")
        assert list(pusher.kept.files.incoming.iterdir()) == []
        assert pusher.catalog.newest(1) == []


async def test_a_file_of_the_form_of_imports_is_kept_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_bytes(b"\xef\xbb\xbfMember_ID\r\n1\r\n")
    async with running_pusher(tmp_path) as pusher:
        manifest = await _upload(pusher, tmp_path / "own.csv", pusher_pb2.ImportProfile(separator=","))
        assert pusher.kept.files.path(manifest).read_bytes() == (tmp_path / "own.csv").read_bytes()
        assert (manifest.uploaded_as, manifest.uploaded_sha256) == ("", b"")


TOML = b"""\xef\xbb\xbfseparator = ";"
date_format = "MM/DD/YYYY"
decimal = "1,234.50"
[columns]
member_id = "DISTRIBUTOR_ID"
sponsor_id = "ENROLLER_ID"
joined_on = "ENROLL_DATE"
"""


async def test_a_kept_profile_goes_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_bytes(newcomer_csv())
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "office.toml").write_bytes(TOML)
    (tmp_path / "profiles" / "odd.toml").write_text("separator = 5")
    async with running_pusher(tmp_path) as pusher, Client(_endpoints(pusher)) as client:
        manifest = await client.upload_import(tmp_path / "own.csv", UploadOptions(profile_name="office"))
        assert manifest.uploaded_as.startswith("member_id=DISTRIBUTOR_ID, ")
        for name, told in (
            ("odd", "odd.toml: separator: write a text, in quotes"),
            ("none", "there is no profile none"),
            ("none", "kept are odd, office"),
            ("../office", "is no profile's name"),
            ("done", "is no profile's name"),
        ):
            with pytest.raises(InvalidArgumentError) as refused:
                await client.upload_import(tmp_path / "own.csv", UploadOptions(profile_name=name))
            assert told in refused.value.message
        with pytest.raises(InvalidArgumentError, match="not both"):
            options = UploadOptions(profile_name="office", profile=PROFILE)
            await client.upload_import(tmp_path / "own.csv", options)


async def test_a_folder_of_a_kept_profile_is_watched(tmp_path: Path) -> None:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "office.toml").write_bytes(TOML)
    uploads = tmp_path / "uploads"
    times: dict[str, Any] = {"upload_poll_s": 0.05, "upload_stable_s": 0.1, "upload_marker_settle_s": 0.0}
    async with running_pusher(tmp_path, upload_folder=str(uploads), **times) as pusher:
        for name, content in (("own.csv", newcomer_csv()), ("bad.csv", b"DISTRIBUTOR_ID;ENROLL_DATE\n")):
            (uploads / "office" / name).write_bytes(content)
            (uploads / "office" / f"{name}.done").write_bytes(b"")
        refused = uploads / "office" / "refused" / "bad.csv.result.txt"
        await until(lambda: refused.exists() and pusher.catalog.newest(1) != [], "one taken, one refused")
        assert 'the header has no column "ENROLLER_ID"' in refused.read_text()
        (taken,) = pusher.catalog.newest(2)
        assert (taken.manifest.file_name, taken.manifest.uploaded_as[:10]) == ("own.csv", "member_id=")


async def test_a_profile_that_is_kept_later_has_its_folder_from_then_on(tmp_path: Path) -> None:
    uploads, kept = tmp_path / "uploads", tmp_path / "profiles"
    (tmp_path / "elsewhere").mkdir()
    times: dict[str, Any] = {"upload_poll_s": 0.05, "upload_stable_s": 0.1, "upload_marker_settle_s": 0.0}
    async with running_pusher(tmp_path, upload_folder=str(uploads), **times) as pusher:
        (uploads / "link").symlink_to(tmp_path / "elsewhere")
        kept.mkdir()
        for name in ("link", "office"):
            (kept / f"{name}.toml").write_bytes(TOML)
        await until((uploads / "office" / "done").exists, "the folder")
        (kept / "office.toml").rename(kept / "office.bak")
        (uploads / "office" / "first.csv").write_bytes(newcomer_csv())
        (uploads / "office" / "first.csv.done").write_bytes(b"")
        refused = uploads / "office" / "refused" / "first.csv.result.txt"
        await until(refused.exists, "the refusal of a file whose profile was taken away")
        assert "there is no profile office" in refused.read_text()
        (kept / "office.bak").rename(kept / "office.toml")
        (uploads / "office" / FILE_NAME).write_bytes(newcomer_csv())
        (uploads / "office" / f"{FILE_NAME}.done").write_bytes(b"")
        await until(lambda: pusher.catalog.newest(1) != [], "the file")
        (taken,) = pusher.catalog.newest(2)
        assert (taken.manifest.file_name, taken.manifest.uploaded_as[:10]) == (FILE_NAME, "member_id=")
    assert list((tmp_path / "elsewhere").iterdir()) == []


async def test_a_kept_profile_is_told(tmp_path: Path) -> None:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "office.toml").write_bytes(TOML)
    async with (
        running_pusher(tmp_path) as pusher,
        Client(Endpoints(pusher=f"127.0.0.1:{pusher.server.port}")) as client,
    ):
        told = await client.get_import_profile("office")
        assert (dict(told.columns)["member_id"], told.separator) == ("DISTRIBUTOR_ID", ";")
        assert (told.date_format, told.decimal) == ("MM/DD/YYYY", "1,234.50")
        for name in ("nothing", "../office", "x" * 1_000_000):
            with pytest.raises(InvalidArgumentError) as refused:
                await client.get_import_profile(name)
            assert refused.value.reason == "PROFILE_INVALID"
