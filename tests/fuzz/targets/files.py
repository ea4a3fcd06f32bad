"""What stands in files that others write: imports as CSV, states of a node, profiles of columns.

Parquet is not among them: of some damage Arrow's own code ends its process (a C++ exception that nothing takes, which
fuzzing found). Files are read in a process of their own, whose end refuses the file: tests/treenode/imports.
"""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from functools import partial

from services.shared.files.sealed.errors import SealDamagedError, SealKeyError
from services.shared.files.sealed.keys import parse_keys
from services.shared.files.sealed.names import state_name
from services.shared.files.sealed.own import keys_for_now
from services.shared.files.sealed.reading import ContentFile
from services.shared.files.sealed.records import opened_frames, sealed_frames
from services.shared.files.sealed.writing import SealedWriter
from services.shared.mapping.canonical import KnownColumns, MappingError, rewrite
from services.shared.mapping.profile import Profile, ProfileError, parse_profile, profile_of
from services.shared.packing.packed import Packing
from services.shared.packing.writing import pack
from services.shared.wire.record import encode_frames
from services.treenode.imports.reading import FileFormat, ImportLimits, ImportRefusedError, read_import
from services.treenode.snapshots.state_file import (
    MAGIC,
    StateDamagedError,
    check_state,
    map_state,
    read_label,
    read_state,
    write_state_to,
)
from services.treenode.tree import Tree
from services.treenode.tree.state import StateError
from tests.fuzz.target import Run, Target, scratch
from tests.fuzz.targets.calls import small_tree

_LIMITS = ImportLimits(
    unpacked_bytes=8 << 20, unpack_free_bytes=1 << 20, page_bytes=1 << 20, line_bytes=1 << 16, rows=1_000, threads=1
)
_HEAD = "member_id,sponsor_id,placement_id,placement_leg,status,rank,joined_on,pv,city\n"
_ROWS = 'A,,,,ACTIVE,3,2020-01-01,10.50,Oslo\nB,A,A,1,ACTIVE,2,2021-02-28,,"Be,rgen"\nC,A,A,2,LAPSED,1,2022-12-31,-7,\n'
_CSV = (_HEAD + _ROWS).encode()
_PREFIX = struct.Struct("<8sQQI")


def _imports(kind: FileFormat) -> Run:
    path = scratch()

    def run(data: bytes) -> None:
        path.write_bytes(data)
        table = read_import(path, kind, ("PV", "CV"), ("2026-11", "2026-10"), _LIMITS)
        assert 0 < len(table.member_ids) <= _LIMITS.rows

    return run


def _packed(packing: Packing) -> bytes:
    path = scratch()
    pack(io.BytesIO(_CSV), path, packing, "tree.csv")
    return path.read_bytes()


def _state() -> bytes:
    meta, arrays = small_tree().state()
    path = scratch()
    with path.open("w+b") as file:
        write_state_to(file.fileno(), {"import_id": 1, "position": 0}, meta, arrays)
    return path.read_bytes()


def _states() -> Run:
    path = scratch()

    def run(data: bytes) -> None:
        path.write_bytes(data)
        read_label(path)
        check_state(path)
        map_state(path)
        state = read_state(path)
        Tree.from_state(state.meta, state.arrays)

    return run


def _headers_of_states() -> Run:
    """Headers whose checksum is right: what another node, or whoever can write a file, may say."""
    whole = _state()
    _, offset, _, _ = _PREFIX.unpack(whole[: _PREFIX.size])
    take = _states()

    def run(data: bytes) -> None:
        prefix = _PREFIX.pack(MAGIC, offset, len(data), zlib.crc32(data))
        take(prefix + whole[_PREFIX.size : offset] + data)

    return run


def _header(whole: bytes) -> bytes:
    _, offset, length, _ = _PREFIX.unpack(whole[: _PREFIX.size])
    return whole[offset : offset + length]


def _columns(profile: Profile) -> Run:
    source, target = scratch("source"), scratch("target")

    def run(data: bytes) -> None:
        source.write_bytes(data)
        rewrite(source, target, profile, KnownColumns())

    return run


def _profiles() -> Run:
    return parse_profile


def _sealed(content: bytes) -> bytes:
    path = scratch()
    with path.open("w+b") as file:
        writer = SealedWriter.new(file.fileno(), _KEYS.first, _NAMED, chunk_bytes=64)
        writer.write(content)
        writer.finish()
    return path.read_bytes()


def _seals() -> Run:
    """What is sealed: by others, or changed by whoever can write a file."""
    path = scratch()

    def run(data: bytes) -> None:
        path.write_bytes(data)
        with keys_for_now(_KEYS), ContentFile(path, _NAMED) as file:
            assert len(file.read(1 << 20)) <= len(data)

    return run


def _sealed_records() -> Run:
    def run(data: bytes) -> None:
        with keys_for_now(_KEYS):
            assert len(opened_frames(1, data)) <= len(data)

    return run


def _record() -> bytes:
    with keys_for_now(_KEYS):
        return b"".join(sealed_frames(1, encode_frames(1, [b"one", b"two"])))


_KEY_LINE = b"one " + b"QUJD" * 10 + b"QUI=\n"
_KEYS = parse_keys(_KEY_LINE, "state.keys")
_NAMED = state_name("1-2.snapshot")
_OWN = profile_of({"member_id": "ID", "joined_on": "ENROLLED"}, ";", "MM/DD/YYYY", "1,234.50")
TARGETS = [
    Target(
        "files.import-csv",
        partial(_imports, FileFormat.CSV),
        (ImportRefusedError,),
        lambda: [_CSV, b"\xef\xbb\xbf" + _CSV],
    ),
    Target(
        "files.import-packed",
        partial(_imports, FileFormat.DETECT),
        (ImportRefusedError, OSError),
        lambda: [_packed(packing) for packing in Packing if packing is not Packing.NONE],
    ),
    Target("files.keys", lambda: lambda data: parse_keys(data, "state.keys"), (SealKeyError,), lambda: [_KEY_LINE]),
    Target("files.sealed", _seals, (SealKeyError, SealDamagedError), lambda: [_sealed(bytes(200)), _sealed(b"")]),
    Target("files.sealed-records", _sealed_records, (SealKeyError, SealDamagedError), lambda: [_record()]),
    Target("files.states", _states, (StateDamagedError, StateError), lambda: [_state()], 65_536),
    Target(
        "files.state-headers", _headers_of_states, (StateDamagedError, StateError), lambda: [_header(_state())], 16_384
    ),
    Target(
        "files.profiles",
        _profiles,
        (ProfileError,),
        lambda: [b'separator=";"\ndecimal="1.234,50"\n[columns]\nmember_id="ID"\n'],
    ),
    Target(
        "files.columns-of-a-profile",
        partial(_columns, _OWN),
        (MappingError, OSError),
        lambda: [b'ID;ENROLLED;sponsor_id;pv\nA;12/31/2020;;"1,234.50"\n', gzip.compress(b"ID;pv\nA;1\n", mtime=0)],
    ),
]
