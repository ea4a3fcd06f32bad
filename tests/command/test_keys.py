"""`fasttree keys`: files of keys made, given new keys and looked for in state folders; bad input changes nothing."""

from __future__ import annotations

import asyncio
import datetime
from pathlib import Path

import pytest

from services.pusher.log.sqlite import SqliteLog
from services.shared.files.sealed.keys import Keys, new_key_line, read_keys
from services.shared.files.sealed.names import state_name
from services.shared.files.sealed.own import keys_for_now
from services.shared.personal.vault import Cell, Vault
from tests.command.fasttree_command import FastTree
from tests.pusher.updates import ids_and_contents, orders
from tests.shared.files.sealed.own_keys import sealed_file


def written(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


def secrets_of(path: Path) -> list[str]:
    return [line.split()[1] for line in path.read_text().splitlines() if line and not line.startswith("#")]


def state_of(folder: Path, keys: Keys) -> Path:
    """A folder as `fasttree up` has it: a pusher's with ten sealed and ten clear records, two personal values sealed
    and one clear, and a node's."""
    node, pusher = folder / "n1" / "snapshots", folder / "pusher"
    for each in (node, pusher):
        each.mkdir(parents=True)
    sealed_file(node / "1-2.snapshot", b"state", keys, named=state_name("1-2.snapshot"))
    (node / "1-1.snapshot").write_bytes(b"FTSTATE1")
    store = SqliteLog(pusher).claim_alone()
    ids, contents = ids_and_contents(orders(0, 20))
    store.append(ids[:10], contents[:10])
    vault = Vault(pusher / "personal.db")
    vault.put([Cell("a", "name", "Anna")])
    with keys_for_now(keys):
        store.append(ids[10:], contents[10:])
        vault.follow_key()
        vault.put([Cell("b", "name", "Bert"), Cell("b", "phone", "+46 70 111")])
    store.close()
    vault.close()
    return folder


async def test_a_file_is_made_and_gets_new_keys(fasttree: FastTree, tmp_path: Path) -> None:
    file = tmp_path / "state.keys"
    ran = await fasttree("keys", "init", str(file), "--id", "one", "--json")
    assert (ran.code, ran.json) == (0, {"file": str(file), "keys": ["one"]})
    assert mode_of(file) == 0o600
    first = secrets_of(file)
    ran = await fasttree("keys", "rotate", str(file), "--id", "two", "--json")
    assert (ran.code, ran.json) == (0, {"file": str(file), "keys": ["two", "one"]})
    assert (read_keys(file).ids, secrets_of(file)[1:]) == (["two", "one"], first)
    ran = await fasttree("keys", "rotate", str(file))  # named by the day
    today = datetime.datetime.now(datetime.UTC).date()
    assert read_keys(file).first.key_id in {(today - datetime.timedelta(days=ago)).isoformat() for ago in (0, 1)}
    assert "seals from now on" in ran.out
    assert mode_of(file) == 0o600
    for secret in secrets_of(file):
        assert secret not in ran.out + ran.err
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith("state")] == ["state.keys"]


async def test_a_link_stays_one_and_comments_stay(fasttree: FastTree, tmp_path: Path) -> None:
    file, link = written(tmp_path / "real", "# of the east\n" + new_key_line("one")), tmp_path / "link"
    link.symlink_to(file)
    ran = await fasttree("keys", "rotate", str(link), "--id", "two")
    assert ran.code == 0, ran.err
    assert link.is_symlink()
    assert read_keys(file).ids == ["two", "one"]
    assert "# of the east" in file.read_text()


async def test_two_at_one_time_leave_both_keys(fasttree: FastTree, tmp_path: Path) -> None:
    file = written(tmp_path / "state.keys", new_key_line("one"))
    ran = await asyncio.gather(*(fasttree("keys", "rotate", str(file), "--id", f"k{number}") for number in range(4)))
    assert [each.code for each in ran] == [0] * 4
    assert set(read_keys(file).ids) == {"one", "k0", "k1", "k2", "k3"}


@pytest.mark.parametrize(
    ("text", "mode", "arguments", "words"),
    [
        (None, 0o600, ("rotate", "FILE"), "No such file"),
        (new_key_line("one"), 0o600, ("init", "FILE"), "fasttree keys rotate"),
        (new_key_line("one"), 0o600, ("rotate", "FILE", "--id", "one"), "give the new one another id"),
        (new_key_line("one"), 0o600, ("rotate", "FILE", "--id", "../x"), "1 to 32 of A-Z"),
        (new_key_line("one"), 0o644, ("rotate", "FILE"), "chmod 600"),
        ("one secretsecret\n", 0o600, ("rotate", "FILE"), "line 1: key one is not 32 bytes as base64"),
        ("".join(new_key_line(f"k{each}") for each in range(64)), 0o600, ("rotate", "FILE"), "more than 64 keys"),
        (None, 0o600, ("init", "FOLDER/none/state.keys"), "can't be written: No such file or directory: name one"),
        (None, 0o600, ("init", "FILE", "--id", "a b"), "1 to 32 of A-Z"),
        (None, 0o600, ("show", "--dir", "FOLDER/none"), "does not exist"),
        (None, 0o600, ("show", "--dir", "FOLDER", "--key-file", "FILE"), "No such file"),
        ("", 0o600, ("show", "--dir", "FOLDER", "--key-file", "FILE"), "there is no key in it"),
        (None, 0o600, ("show",), "name a node's or a pusher's by --dir"),
        ("x", 0o600, ("show", "--dir", "FOLDER"), "is no state folder, and has none in it: name a node's"),
    ],
    ids=[
        *("rotate-none", "init-there", "rotate-same", "rotate-path", "rotate-mode", "rotate-bad", "rotate-full"),
        *("init-folder", "init-id", "show-none", "show-no-keys", "show-empty-keys", "show-nowhere"),
        "show-no-state",
    ],
)
async def test_bad_input_is_one_line_and_changes_nothing(
    fasttree: FastTree, tmp_path: Path, text: str | None, mode: int, arguments: tuple[str, ...], words: str
) -> None:
    file = tmp_path / "state.keys"
    if text is not None:
        written(file, text, mode)
    given = [each.replace("FILE", str(file)).replace("FOLDER", str(tmp_path)) for each in arguments]
    ran = await fasttree("keys", *given)
    assert ran.code != 0
    assert words in ran.err
    assert "secretsecret" not in ran.err
    assert (file.read_text() if file.exists() else None) == text


async def test_what_is_sealed_by_which_key_is_shown(fasttree: FastTree, tmp_path: Path) -> None:
    file = written(tmp_path / "state.keys", new_key_line("one"))
    state = state_of(tmp_path / "state", read_keys(file))
    ran = await fasttree("keys", "show", "--dir", str(state), "--key-file", str(file), "--json")
    assert ran.code == 0, ran.err
    assert ran.json == {
        "sealed": [
            {"folder": str(state / "n1"), "key": "one", "files": 1, "records": 0, "values": 0, "is_here": True},
            {"folder": str(state / "pusher"), "key": "one", "files": 1, "records": 10, "values": 2, "is_here": True},
        ],
        "clear": [
            {"folder": str(state / "n1"), "files": 1, "records": 0, "values": 0},
            {"folder": str(state / "pusher"), "files": 1, "records": 10, "values": 1},
        ],
    }
    ran = await fasttree("keys", "show", "--dir", str(state / "n1"), "--json")
    assert [(each["key"], each["is_here"]) for each in ran.json["sealed"]] == [("one", None)]
    ran = await fasttree("keys", "show", "--dir", str(state))
    assert [line.split()[1:] for line in ran.out.splitlines()[1:] if "pusher" in line] == [
        ["one", "1", "10", "2"],
        ["(clear)", "1", "10", "1"],
    ]
    other = written(tmp_path / "other.keys", new_key_line("two"))
    ran = await fasttree("keys", "show", "--dir", str(state), "--key-file", str(other))
    assert ran.code == 1
    assert f"{other} lacks key one" in ran.err


async def test_a_folder_of_fasttree_up_stands_for_the_state_in_it(fasttree: FastTree, tmp_path: Path) -> None:
    file = written(tmp_path / "state.keys", new_key_line("one"))
    state = state_of(tmp_path / "state", read_keys(file))
    whole, inner = [(await fasttree("keys", "show", "--dir", str(each), "--json")).json for each in (tmp_path, state)]
    assert whole == inner
    assert len(whole["sealed"]) == 2


@pytest.mark.parametrize("folder", ["n1", "pusher"])
async def test_another_key_of_the_same_id_is_told(fasttree: FastTree, tmp_path: Path, folder: str) -> None:
    state = state_of(tmp_path / "state", read_keys(written(tmp_path / "state.keys", new_key_line("one"))))
    other = written(tmp_path / "other.keys", new_key_line("one"))
    ran = await fasttree("keys", "show", "--dir", str(state / folder), "--key-file", str(other), "--json")
    assert ran.code == 1
    assert f"{other} has another key one than the one by which something is sealed" in ran.err
    assert [each["is_here"] for each in ran.json["sealed"]] == [False]


async def test_what_is_too_damaged_to_tell_its_key_is_no_lack_of_one(fasttree: FastTree, tmp_path: Path) -> None:
    file = written(tmp_path / "state.keys", new_key_line("one"))
    snapshots = state_of(tmp_path / "state", read_keys(file)) / "n1" / "snapshots"
    (snapshots / "1-2.snapshot").write_bytes((snapshots / "1-2.snapshot").read_bytes()[:20])
    ran = await fasttree("keys", "show", "--dir", str(snapshots.parent), "--key-file", str(file), "--json")
    assert ran.code == 0, ran.err
    assert [(each["key"], each["is_here"]) for each in ran.json["sealed"]] == [("?", None)]


async def test_a_log_or_a_vault_that_can_t_be_read_is_told(fasttree: FastTree, tmp_path: Path) -> None:
    (tmp_path / "pusher").mkdir()
    (tmp_path / "pusher" / "log.db").write_bytes(b"no database" * 100)
    ran = await fasttree("keys", "show", "--dir", str(tmp_path / "pusher"))
    assert ran.code == 1
    assert "log.db can't be read as a log" in ran.err
    (tmp_path / "pusher" / "log.db").unlink()
    (tmp_path / "pusher" / "personal.db").write_bytes(b"no database" * 100)
    ran = await fasttree("keys", "show", "--dir", str(tmp_path / "pusher"))
    assert ran.code == 1
    assert "personal.db can't be read as a vault: it is no database" in ran.err


async def test_a_sealed_log_is_read_by_its_keys(fasttree: FastTree, tmp_path: Path) -> None:
    file = written(tmp_path / "state.keys", new_key_line("one"))
    pusher = str(state_of(tmp_path / "state", read_keys(file)) / "pusher")
    ran = await fasttree("log", "verify", "--key-file", str(file), "--folder", pusher)
    assert ran.code == 0, ran.err
    for keys, words in (
        ((), "no keys are named: set sealing.key_file"),
        (("--key-file", str(tmp_path / "none")), "No such file"),
        (("--key-file", str(written(tmp_path / "other", new_key_line("one")))), "another key one"),
    ):
        ran = await fasttree("log", "verify", *keys, "--folder", pusher)
        assert ran.code == 1
        assert words in ran.err
