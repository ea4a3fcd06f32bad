"""Packed files, good ones and ones that can't be opened."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterator
from typing import NamedTuple

import pyarrow as pa


def zipped(*files: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip archive of these."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        for name, content in files:
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return made.getvalue()


def zstd(content: bytes) -> bytes:
    packed: bytes = pa.Codec("zstd").compress(content, asbytes=True)
    return packed


class Unopenable(NamedTuple):
    """A file that must be refused."""

    name: str
    content: bytes
    #: Of the reason.
    words: str


def unopenable(content: bytes) -> Iterator[Unopenable]:
    """Archives of this text that are spoilt, each in one way. `content`: some kilobytes that don't pack to nothing."""
    good = zipped(("members.csv", content))
    packed = zstd(content)
    damaged = "damaged or was cut off"
    yield Unopenable(
        "zip: two files", zipped(("a.csv", content), ("b.csv", b"x")), '2 files, "a.csv", "b.csv": pack one'
    )
    many = [(f"{number}.csv", b"x") for number in range(9)]
    yield Unopenable("zip: many files", zipped(*many), '9 files, "0.csv", "1.csv", "2.csv", …: pack one file')
    yield Unopenable("zip: only a folder", zipped(("members/", b"")), "holds no file")
    yield Unopenable("zip: cut in half", good[: len(good) // 2], damaged)
    yield Unopenable("zip: without its last byte", good[:-1], damaged)
    yield Unopenable("zip: its first bytes alone", good[:4] + bytes(60), damaged)
    middle = len(good) // 2
    yield Unopenable("zip: a byte changed", good[:middle] + bytes([good[middle] ^ 255]) + good[middle + 1 :], damaged)
    yield Unopenable("zip: another checksum", _with_checksum(good, 7), damaged)
    yield Unopenable("zip: another name before its file", good.replace(b"members.csv", b"mambers.csv", 1), damaged)
    yield Unopenable("zip: with a password", _with_flag(good, 1), "has a password")
    yield Unopenable("zip: by bzip2", zipped(("a.csv", content), method=zipfile.ZIP_BZIP2), "by method 12: pack it by")
    yield Unopenable("zip: by lzma", zipped(("a.csv", content), method=zipfile.ZIP_LZMA), "by method 14")
    yield Unopenable("zip: by a method of nobody", _with_method(good, 99), "by method 99")
    yield Unopenable("zip: a list of two mebibytes", _with_long_list(good, 2 << 20), "list of files is longer than any")
    yield Unopenable("zip: a list that is nowhere", _with_list_at(good, 0xFFFFFFF0), damaged)
    yield Unopenable("zip in zip", zipped(("members.zip", good)), "packed again: pack it once")
    yield Unopenable("zstd in zip", zipped(("members.csv.zst", packed)), "packed again")
    yield Unopenable("zip in zstd", zstd(good), "packed again")
    yield Unopenable("zstd: cut in half", packed[: len(packed) // 2], damaged)
    yield Unopenable("zstd: without its last byte", packed[:-1], damaged)
    yield Unopenable("zstd: its first bytes alone", packed[:4] + bytes(60), damaged)
    yield Unopenable("zstd: something behind it", packed + b"garbage", damaged)
    # A window of 2 GiB: who unpacks it would need so much memory.
    yield Unopenable("zstd: a window of gibibytes", packed[:4] + b"\x00\xa8" + packed[6:], damaged)


def _end_at(archive: bytes) -> int:
    return archive.rindex(b"PK\x05\x06")


def _list_at(archive: bytes) -> int:
    return archive.index(b"PK\x01\x02")


def _with_checksum(archive: bytes, checksum: int) -> bytes:
    at = _list_at(archive) + 16
    return archive[:14] + struct.pack("<L", checksum) + archive[18:at] + struct.pack("<L", checksum) + archive[at + 4 :]


def _with_flag(archive: bytes, flag: int) -> bytes:
    at = _list_at(archive) + 8
    return archive[:6] + struct.pack("<H", flag) + archive[8:at] + struct.pack("<H", flag) + archive[at + 2 :]


def _with_method(archive: bytes, method: int) -> bytes:
    at = _list_at(archive) + 10
    return archive[:8] + struct.pack("<H", method) + archive[10:at] + struct.pack("<H", method) + archive[at + 2 :]


def _with_long_list(archive: bytes, size: int) -> bytes:
    """The list begins earlier than it did, with zeros before it: it says that it takes so much."""
    at, end = _list_at(archive), _end_at(archive)
    listed = archive[at:end] + bytes(size - (end - at))
    last = bytearray(archive[end:])
    last[12:16] = struct.pack("<L", len(listed))
    return archive[:at] + listed + bytes(last)


def _with_list_at(archive: bytes, place: int) -> bytes:
    end = _end_at(archive) + 16
    return archive[:end] + struct.pack("<L", place) + archive[end + 4 :]
