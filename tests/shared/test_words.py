"""Errors of the system and of libraries, in words for people."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

import pytest

from services.shared.domain.sentences import plain, quoted, system_words, with_mend
from services.shared.files.sqlite_words import sqlite_with_mend, sqlite_words


def test_an_error_of_the_system_is_its_file_and_its_words(tmp_path: Path) -> None:
    with pytest.raises(OSError) as raised:  # noqa: PT011 - whichever the system gives
        (tmp_path / "nothing").read_bytes()
    assert system_words(raised.value) == f"{tmp_path / 'nothing'}: No such file or directory"
    assert system_words(OSError("can't listen on host:1")) == "can't listen on host:1"
    assert system_words(ValueError("x")) == "x"


@pytest.mark.parametrize(
    ("number", "mend"),
    [
        (errno.ENOSPC, "make room there"),
        (errno.EDQUOT, "make room there"),
        (errno.EACCES, "mend the rights there"),
        (errno.EROFS, "have it mounted so that it can be written"),
        (errno.ENOENT, "bring that folder back"),
        (errno.ENOTDIR, "move that file away"),
        (errno.EMFILE, "allow this process more open files"),
        (errno.EIO, "look after that disk"),
    ],
)
def test_an_error_of_the_system_is_told_with_what_ends_it(number: int, mend: str) -> None:
    """Whoever is told to make room where a right is lacking looks in the wrong place."""
    error = OSError(number, os.strerror(number), "/state/imports/7")
    assert with_mend(error) == f"/state/imports/7: {os.strerror(number)}; {mend}"
    assert with_mend(OSError("can't write")) == "can't write; look after that disk"


@pytest.mark.parametrize("name", [b"\xff.csv", b"M\xe4rz.csv", "M\u00e4rz.csv".encode(), b"a\nb", b"\xed\xa0\x80"])
def test_any_name_on_a_disk_can_be_written_into_a_log(name: bytes) -> None:
    """Where it is no UTF-8, its bytes are told."""
    for told in (plain(os.fsdecode(name)), quoted(os.fsdecode(name))):
        assert told.encode().decode().isprintable()
    assert plain(os.fsdecode(b"\xff.csv")) == "\\xff.csv"
    assert plain("\ud800") == "\\xd800"


def test_what_is_no_database_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    path.write_bytes(b"x" * 4096)
    connection = sqlite3.connect(path)
    with pytest.raises(sqlite3.DatabaseError) as raised:
        connection.execute("SELECT * FROM log")
    connection.close()
    assert sqlite_with_mend(raised.value) == "it is no database; bring back a whole copy"


def test_what_nobody_thought_of_stays_in_the_librarys_words() -> None:
    connection = sqlite3.connect(":memory:")
    with pytest.raises(sqlite3.Error) as raised:
        connection.execute("SELECT * FROM nowhere")
    connection.close()
    assert sqlite_words(raised.value) == "no such table: nowhere"
