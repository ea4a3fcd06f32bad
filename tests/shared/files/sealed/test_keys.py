"""Files of keys: read whole or refused in words, and followed."""

from __future__ import annotations

import asyncio
import base64
import functools
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from services.shared.files.sealed import own
from services.shared.files.sealed.errors import SealKeyError
from services.shared.files.sealed.keys import new_key_line, parse_keys, read_keys
from services.shared.files.sealed.own import (
    begin_sealing,
    follow_keys,
    key_to_seal,
    own_keys,
    sealing_problem,
    watch_needs,
)
from services.shared.files.sealed.records import key_id_of, opened_frames, sealed_frames
from services.shared.files.sealed.settings import SealingSettings
from services.shared.personal.needed import keys_lacking
from services.shared.wire.record import encode_frames
from tests.shared.files.sealed.own_keys import sealed_file
from tests.waiting import until

GOOD = base64.b64encode(bytes(range(32))).decode()


def written(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_the_first_key_seals_and_all_are_known(tmp_path: Path) -> None:
    file = written(tmp_path / "state.keys", "# of the east\n\nnew " + GOOD + " # since May\n" + new_key_line("old"))
    keys = read_keys(file)
    assert (keys.first.key_id, keys.ids) == ("new", ["new", "old"])
    assert "AAEC" not in f"{keys.first!r} {keys.first}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "there is no key in it: bring it back from a copy, or, where nothing was sealed, remove it"),
        ("one", "of A-Z a-z 0-9 . _ -: bring the line back from a copy, or put a # before it where it is no key"),
        (f"one two {GOOD}", "line 1: it is not `ID KEY`"),
        (f"../x {GOOD}", "line 1: it is not `ID KEY`"),
        (f"{'x' * 33} {GOOD}", "line 1: it is not `ID KEY`"),
        (
            "one AAAA",
            "key one is not 32 bytes as base64: bring its line back from a copy, or remove it",
        ),
        (f"one {GOOD}!", "key one is not 32 bytes as base64"),
        (f"one {GOOD}\none {GOOD}", "line 2: key one is there twice"),
        (
            "".join(f"k{number} {GOOD}\n" for number in range(65)),
            "64 keys: remove those that nothing needs (`fast",
        ),
        ("#" * 70_000, "so it is no file of keys: name the one that `fasttree keys init` made"),
        (f"\ufeffone {GOOD}", "line 1: it begins with a byte order mark (BOM): save the file as plain text"),
    ],
    ids=["empty", "no-key", "three-words", "path", "long-id", "short", "no-base64", "twice", "many", "long", "bom"],
)
def test_what_is_no_file_of_keys_is_refused_without_a_word_of_a_key(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SealKeyError) as error:
        read_keys(written(tmp_path / "state.keys", text))
    assert words in str(error.value)
    assert str(error.value).startswith("sealing.key_file = ")
    assert GOOD[:20] not in str(error.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(SealKeyError, match="chmod 600"):
        read_keys(written(tmp_path / "state.keys", f"one {GOOD}", mode))


@pytest.mark.parametrize(("mode", "is_taken"), [(0o440, True), (0o640, True), (0o660, False), (0o604, False)])
def test_root_may_give_a_file_by_its_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, is_taken: bool
) -> None:
    """As Kubernetes does with a Secret, for a user of another number."""
    file = written(tmp_path / "state.keys", f"one {GOOD}", mode)
    fstat = os.fstat
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "fstat", lambda descriptor: _of_root(fstat(descriptor)))
    if is_taken:
        assert read_keys(file).ids == ["one"]
    else:
        with pytest.raises(SealKeyError, match="chmod 600"):
            read_keys(file)


def _of_root(found: os.stat_result) -> os.stat_result:
    return os.stat_result([*found[:4], 0, *found[5:]])


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SealKeyError, match=r"No such file or directory: bring it back, or name another; .*`fast"):
        read_keys(tmp_path / "none")
    with pytest.raises(SealKeyError, match="no regular file"):
        read_keys(tmp_path)


def test_an_id_stands_for_one_key(tmp_path: Path) -> None:
    before = parse_keys(f"one {GOOD}".encode(), "it")
    other = parse_keys(new_key_line("one").encode(), "it")
    with pytest.raises(SealKeyError, match="key one is another one than it was"):
        other.with_those_of(before)


def test_a_process_that_seals_no_more_opens_what_was_sealed(tmp_path: Path) -> None:
    file = written(tmp_path / "state.keys", f"one {GOOD}\n")
    frames = encode_frames(1, [b"a"])
    try:
        begin_sealing(SealingSettings(key_file=str(file)))
        stored = sealed_frames(1, frames)
        assert key_id_of(stored[0]) == "one"
        begin_sealing(SealingSettings(key_file=str(file), seals=False))
        assert key_to_seal() is None
        assert sealed_frames(1, frames) is frames
        assert opened_frames(1, stored[0]) == frames[0]
    finally:
        begin_sealing(SealingSettings())


async def test_what_is_written_to_the_file_counts_from_then_on(tmp_path: Path) -> None:
    file = written(tmp_path / "state.keys", f"one {GOOD}\n")
    try:
        begin_sealing(SealingSettings(key_file=str(file), reload_s=0.001))
        following = asyncio.create_task(follow_keys())
        new = written(tmp_path / "new", new_key_line("two"))  # without the old one
        new.rename(file)
        await until(lambda: (key := key_to_seal()) is not None and key.key_id == "two", "the new key seals")
        keys = own_keys()
        assert keys is not None
        assert keys.ids == ["two", "one"]  # what it sealed can be read until the process ends
        written(tmp_path / "new", "nonsense").rename(file)
        written(tmp_path / "new", new_key_line("three")).rename(file)
        await until(lambda: (key := key_to_seal()) is not None and key.key_id == "three", "the third key seals")
        following.cancel()
    finally:
        begin_sealing(SealingSettings())


async def test_a_file_that_can_t_be_used_any_more_is_told_and_its_return_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each is a process that would not start anew, though it goes on."""
    file = written(tmp_path / "state.keys", f"one {GOOD}\n")
    caplog.set_level("INFO")
    try:
        begin_sealing(SealingSettings(key_file=str(file), reload_s=0.001))
        following = asyncio.create_task(follow_keys())
        steps: list[tuple[Callable[[], object], Callable[[], object], str]] = [
            (lambda: file.rename(tmp_path / "away"), lambda: (tmp_path / "away").rename(file), "No such file"),
            (lambda: file.chmod(0o644), lambda: file.chmod(0o600), "others may use it too (0644)"),
        ]
        for spoil, mend, words in steps:
            caplog.clear()
            spoil()
            await until(functools.partial(_is_the_problem, words), words)
            assert "goes on with key one, and would not start anew" in caplog.text
            mend()
            await until(lambda: not sealing_problem(), "it is good again")
            assert "state.keys can be used again" in caplog.text
            key = key_to_seal()
            assert key is not None
            assert key.key_id == "one"
        following.cancel()
    finally:
        begin_sealing(SealingSettings())


async def test_a_key_that_is_taken_out_while_something_needs_it_is_told_until_nothing_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(own, "NEEDS_EVERY_S", 0.0)
    monkeypatch.setattr(own, "_SHARE_OF_TIME", 1.0)
    caplog.set_level("INFO")
    file = written(tmp_path / "state.keys", f"one {GOOD}\n")
    snapshots = tmp_path / "state" / "snapshots"
    (snapshots / "aside").mkdir(parents=True)
    try:
        begin_sealing(SealingSettings(key_file=str(file), reload_s=0.001))
        watch_needs(tmp_path / "state", keys_lacking)
        keys = own_keys()
        assert keys is not None
        for path in (snapshots / "1-2.snapshot", snapshots / "aside" / "1-1.snapshot"):
            sealed_file(path, b"x", keys)
        following = asyncio.create_task(follow_keys())
        old, two = file.read_text(), new_key_line("two")
        written(tmp_path / "new", two + old).rename(file)
        await until(lambda: (key := key_to_seal()) is not None and key.key_id == "two", "the new key seals")
        assert not sealing_problem()
        written(tmp_path / "new", two).rename(file)
        await until(lambda: bool(sealing_problem()), "the old one is needed")
        assert sealing_problem() == (
            f"sealing.key_file = {file}: it lacks key one, by which something is sealed yet: put the line back"
        )
        assert caplog.text.count("goes on with it, and would not start anew") == 1
        written(tmp_path / "new", two + old).rename(file)
        await until(lambda: not sealing_problem(), "it is there again")
        written(tmp_path / "new", two).rename(file)
        await until(lambda: bool(sealing_problem()), "it is gone again")
        (snapshots / "1-2.snapshot").unlink()
        await until(lambda: not sealing_problem(), "nothing needs it any more")
        await until(lambda: caplog.text.count("has every key that something needs") == 2, "each end is told")
        following.cancel()
    finally:
        begin_sealing(SealingSettings())


def _is_the_problem(words: str) -> bool:
    return words in sealing_problem()
