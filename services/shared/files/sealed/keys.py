"""Keys by their ids, as a file has them: a line each, `ID KEY`, the key as base64 of 32 bytes; the first one seals.

The file is the owner's alone: whoever else may read it has everything that it seals.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import os
import re
import stat
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from services.shared.files.sealed.errors import SealKeyError

KEY_BYTES: Final = 32
#: Beside the key, what says that it is the right one.
CHECK_BYTES: Final = 16
SALT_BYTES: Final = 32
KEY_ID_BYTES_MAX: Final = 32
KEYS_MAX: Final = 64
_FILE_BYTES_MAX: Final = 64 << 10
KEY_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")


class Key:
    """One key. Never in a log, a text or a representation."""

    __slots__ = ("_secret", "key_id")

    def __init__(self, key_id: str, secret: bytes) -> None:
        self.key_id, self._secret = key_id, secret

    def derived(self, salt: bytes, purpose: bytes) -> tuple[bytes, bytes]:
        """A key for that purpose and salt alone, `KEY_BYTES` long, and `CHECK_BYTES` by which the key is told from
        another of the same id (HKDF-SHA256)."""
        made = HKDF(SHA256(), KEY_BYTES + CHECK_BYTES, salt, purpose).derive(self._secret)
        return made[:KEY_BYTES], made[KEY_BYTES:]

    def is_same(self, other: Key) -> bool:
        """Whether both are one key, whatever their ids."""
        return self._secret == other._secret

    def line(self) -> str:
        """As a file of keys has it."""
        return _line(self.key_id, self._secret)

    def __repr__(self) -> str:
        return f"Key({self.key_id!r})"


class Keys:
    """Keys by id; the first one seals."""

    def __init__(self, keys: list[Key], place: str) -> None:
        """`place`: the setting and the file, for people."""
        self.first = keys[0]
        self.place = place
        self._by_id = {key.key_id: key for key in keys}

    @property
    def ids(self) -> list[str]:
        """The first one first."""
        return list(self._by_id)

    def get(self, key_id: str) -> Key | None:
        """The key of that id."""
        return self._by_id.get(key_id)

    def lines(self) -> list[str]:
        """As a file of them has them, the first one first."""
        return [key.line() for key in self._by_id.values()]

    def with_those_of(self, before: Keys) -> Keys:
        """These, and behind them what was there before: what they sealed is open to this process until it ends.

        Raises SealKeyError where an id stands for another key than it did.
        """
        for key_id, key in self._by_id.items():
            known = before.get(key_id)
            if known is not None and not known.is_same(key):
                raise SealKeyError(f"{self.place}: key {key_id} is another one than it was: give the new one a new id")
        old = [key for key_id, key in before._by_id.items() if key_id not in self._by_id]
        return Keys([*self._by_id.values(), *old], self.place)


def parse_keys(data: bytes, place: str) -> Keys:
    """Keys of a file's content. Raises SealKeyError, without a byte of a key in it."""
    if len(data) > _FILE_BYTES_MAX:
        raise SealKeyError(
            f"{place}: it has more than {_FILE_BYTES_MAX} bytes, so it is no file of keys: name the one that "
            "`fasttree keys init` made"
        )
    keys: list[Key] = []
    for number, line in enumerate(data.split(b"\n"), 1):
        words = line.split(b"#", 1)[0].split()
        if not words:
            continue
        keys.append(_key_of(words, f"{place}: line {number}"))
        if len(keys) > KEYS_MAX:
            raise SealKeyError(
                f"{place}: it has more than {KEYS_MAX} keys: remove those that nothing needs (`fasttree keys show`)"
            )
        if keys[-1].key_id in {key.key_id for key in keys[:-1]}:
            raise SealKeyError(f"{place}: line {number}: key {keys[-1].key_id} is there twice: keep one of its lines")
    if not keys:
        raise SealKeyError(
            f"{place}: there is no key in it: bring it back from a copy, or, where nothing was sealed, remove it and "
            "make one with `fasttree keys init`"
        )
    return Keys(keys, place)


def keys_of_lines(lines: list[str], place: str) -> Keys:
    """What `Keys.lines` gave. Raises SealKeyError."""
    return Keys([_key_of(line.encode().split(), place) for line in lines], place)


def _key_of(words: list[bytes], where: str) -> Key:
    if words[0].startswith(codecs.BOM_UTF8):
        raise SealKeyError(f"{where}: it begins with a byte order mark (BOM): save the file as plain text, without one")
    key_id = words[0].decode("ascii", "replace")
    if len(words) != 2 or KEY_ID.fullmatch(key_id) is None:
        raise SealKeyError(
            f"{where}: it is not `ID KEY`, with an id of 1 to {KEY_ID_BYTES_MAX} of A-Z a-z 0-9 . _ -: bring the line "
            "back from a copy, or put a # before it where it is no key"
        )
    try:
        secret = base64.b64decode(words[1], validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) != KEY_BYTES:
        raise SealKeyError(
            f"{where}: key {key_id} is not {KEY_BYTES} bytes as base64: bring its line back from a copy, or remove it "
            "where nothing was sealed by it: `fasttree keys rotate` makes a new key"
        )
    return Key(key_id, secret)


def read_keys(file: Path, setting: str = "sealing.key_file") -> Keys:
    """The keys of a file. Blocks.

    Raises:
        SealKeyError: It can't be read, is others' too, or is none.
    """
    place = f"{setting} = {file}" if setting else str(file)
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise SealKeyError(f"{place}: it is no regular file: name one, as `fasttree keys init` makes it")
            if found.st_mode & _others(found.st_uid):
                mode = stat.S_IMODE(found.st_mode)
                raise SealKeyError(f"{place}: others may use it too ({mode:04o}): chmod 600 {file}, and renew its keys")
            data = os.read(descriptor, _FILE_BYTES_MAX + 1)
        finally:
            os.close(descriptor)
    except FileNotFoundError as error:
        raise SealKeyError(
            f"{place}: can't read it: {error.strerror}: bring it back, or name another; where nothing was sealed "
            f"yet, make one with `fasttree keys init {file}`"
        ) from None
    except OSError as error:
        raise SealKeyError(f"{place}: can't read it: {error.strerror}: give it to this user, or name another") from None
    return parse_keys(data, place)


def _others(owner: int) -> int:
    """Rights that nobody else may have. Where root gives a file to this user, as Kubernetes does with a Secret, it does
    so by the group, which may read it."""
    is_given = owner == 0 and os.geteuid() != 0
    return stat.S_IRWXO | (stat.S_IWGRP | stat.S_IXGRP if is_given else stat.S_IRWXG)


def new_key_line(key_id: str) -> str:
    """A line of a file of keys, with a new key."""
    return _line(key_id, os.urandom(KEY_BYTES))


def _line(key_id: str, secret: bytes) -> str:
    return f"{key_id} {base64.b64encode(secret).decode()}\n"
