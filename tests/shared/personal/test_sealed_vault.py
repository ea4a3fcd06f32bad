"""A vault where there are keys: nothing of a member is in its files, every duty of it holds under each key and on the
way from one to another, and what is not what was sealed is refused.
"""

from __future__ import annotations

import random
import sqlite3
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from services.shared.files.sealed.errors import SealKeyError
from services.shared.files.sealed.keys import Keys
from services.shared.files.sealed.own import begin_sealing, keys_for_now
from services.shared.files.sealed.settings import SealingSettings
from services.shared.personal.needed import check_vault, values_by_key
from services.shared.personal.vault import Cell, Vault, VaultError
from tests.shared.files.sealed.own_keys import keys

ANNA = [Cell("anna-1", "name", "Anna Andersson"), Cell("anna-1", "phone", "+46 70 111")]
BERT = Cell("bert-2", "name", "Bert Bengtsson")
VALUES = [each.value for each in [*ANNA, BERT]]
#: All of these members that nobody may find without a key.
HIDDEN = ("anna-1", "bert-2", *VALUES)


@pytest.fixture(autouse=True)
def _sealed() -> Iterator[None]:
    with keys_for_now(keys("one")):
        yield


def opened(folder: Path) -> Vault:
    """As its owner does."""
    folder.mkdir(exist_ok=True)
    vault = Vault(folder / "personal.db")
    vault.follow_key()
    return vault


def in_files(folder: Path, *texts: str) -> set[str]:
    """Those of the texts that stand in any file there."""
    data = b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())
    return {text for text in texts if text.encode() in data}


def any_in_files(folder: Path, *pieces: bytes) -> bool:
    data = b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())
    return any(piece in data for piece in pieces)


@contextmanager
def only_opening(folder: Path, *ids: str) -> Iterator[None]:
    """The way back: keys of a file, which open what there is, and nothing is sealed by them."""
    file = folder / "state.keys"
    file.touch(0o600)
    file.write_text(
        "".join(f"{each} {b64encode((b's' + each.encode()).ljust(32, bytes(1))).decode()}\n" for each in ids)
    )
    with keys_for_now(None):
        begin_sealing(SealingSettings(key_file=str(file), seals=False))
        try:
            yield
        finally:
            begin_sealing(SealingSettings())


def tended(vault: Vault, most: int = 200) -> int:
    """To the end; how many members were moved."""
    moved = 0
    while True:
        found = vault.tend(most)
        moved += found.moved
        assert found.damaged == 0
        if found.is_done:
            return moved


def altered(folder: Path, statement: str, *given: object) -> None:
    """As whoever may write the file can."""
    with closing(sqlite3.connect(folder / "personal.db")) as db, db:
        assert db.execute(statement, given).rowcount > 0


def version(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "personal.db")) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


def test_nothing_of_a_member_is_in_the_files_of_a_vault_and_its_copy(tmp_path: Path) -> None:
    vault = opened(tmp_path / "pusher")
    tokens = vault.put([*ANNA, BERT])
    assert vault.put([BERT, *ANNA]) == [tokens[2], *tokens[:2]]
    changes = vault.changes(0, 10)
    assert [(each.number, each.member_id, each.value) for each in changes] == [
        (1, "anna-1", "Anna Andersson"),
        (2, "anna-1", "+46 70 111"),
        (3, "bert-2", "Bert Bengtsson"),
    ]
    with keys_for_now(keys("east", secret=b"n")):  # each machine may have keys of its own
        copy = opened(tmp_path / "node")
        copy.take(changes, vault.last)
        assert copy.revealed(tokens) == VALUES
        assert copy.tokens([*ANNA, BERT]) == tokens
    for folder in ("pusher", "node"):
        assert in_files(tmp_path / folder, *HIDDEN) == set()
        assert not any_in_files(tmp_path / folder, *(each.salt for each in changes))
    vault.close()
    again = opened(tmp_path / "pusher")
    assert again.revealed(tokens) == VALUES
    assert again.values_of("anna-1") == 2
    assert again.put(ANNA) == tokens[:2]


def test_erasing_does_what_it_does_in_clear_and_says_no_id(tmp_path: Path) -> None:
    vault, copy = opened(tmp_path / "pusher"), opened(tmp_path / "node")
    tokens = vault.put([*ANNA, BERT], of_a_file=True)
    copy.take(vault.changes(0, 10), vault.last)
    assert vault.erase("anna-1", "e-1") == (4, 2)
    copy.take(vault.changes(copy.last, 10), vault.last)
    for each in (vault, copy):
        assert each.revealed(tokens) == ["", "", "Bert Bengtsson"]
        assert each.put(ANNA, of_a_file=True) == ["", ""]
        assert each.erasure("anna-1") is not None
        assert each.erasure("bert-2") is None
        assert [(change.number, change.member_id, change.value) for change in each.changes(0, 10)] == [
            (3, "bert-2", "Bert Bengtsson"),
            (4, "anna-1", ""),
        ]
    assert vault.not_logged() == [("e-1", "anna-1")]
    vault.logged("e-1", 17)
    assert vault.not_logged() == copy.not_logged() == []
    for folder in ("pusher", "node"):
        assert in_files(tmp_path / folder, *HIDDEN) == set()


def test_what_is_erased_leaves_nothing_of_what_was_sealed(tmp_path: Path) -> None:
    vault = opened(tmp_path)
    vault.put([*ANNA, BERT])
    with closing(sqlite3.connect(tmp_path / "personal.db")) as db:
        rows = db.execute("SELECT value FROM kept WHERE number < 3 UNION ALL SELECT salt FROM salts").fetchall()
    vault.erase("anna-1", "e-1")
    vault.erase("bert-2", "e-2")
    assert len(rows) == 4
    assert not any_in_files(tmp_path, *(stored[-16:] for (stored,) in rows))


@pytest.mark.parametrize("way", ["sealed", "rotated", "to-clear"])
def test_among_many_pages_nothing_is_left_of_how_it_was_written_before(tmp_path: Path, way: str) -> None:
    """Rows of all sizes are written anew, some members at a time, while others write and erase between."""
    state = tmp_path / "state"
    chance, members = random.Random(7), [f"<member-{number}>" for number in range(60)]
    cells = [
        Cell(member_id, f"column-{number}", f"{member_id}:" * chance.choice((1, 10, 150)))
        for member_id in members
        for number in range(10)
    ]
    chance.shuffle(cells)
    with keys_for_now(None if way == "sealed" else keys("one")):
        vault = opened(state)
        for begin in range(0, len(cells), 100):
            vault.put(cells[begin : begin + 100])
        for number, member_id in enumerate(members[:10]):
            vault.erase(member_id, f"e-{number}")
        with closing(sqlite3.connect(state / "personal.db")) as db:
            before = [stored for (stored,) in db.execute("SELECT value FROM kept UNION ALL SELECT salt FROM salts")]
        # But for the blanks of whom was erased.
        tails = {(each.encode() if isinstance(each, str) else each)[-16:] for each in before if len(each) > 16}
        tails -= {b" " * 16, bytes(16)}
    with only_opening(tmp_path, "one") if way == "to-clear" else keys_for_now(keys("two", "one")):
        tokens = {cell: token for cell, token in zip(cells, vault.tokens(cells), strict=True) if token}
        assert len(tokens) == 500
        assert not vault.tend(7).is_done
        vault.put([Cell(members[55], "late", "x"), Cell("<new>", "late", "y")])  # the one moves before his turn
        vault.erase(members[50], "e-late")
        assert 30 < tended(vault, 7) < 60
        assert vault.revealed(list(tokens.values())) == [
            "" if cell.member_id == members[50] else cell.value for cell in tokens
        ]
        assert all(vault.erasure(each) for each in (*members[:10], members[50]))
        assert vault.put(cells[:100], of_a_file=True) == [
            "" if cell.member_id == members[50] else tokens.get(cell, "") for cell in cells[:100]
        ]
    left = values_by_key(state)
    assert left == {"" if way == "to-clear" else "two": 492}
    if way == "to-clear":
        assert version(state) == 1
    else:
        assert in_files(state, *members) == set()
    assert not any_in_files(state, *tails)


def test_a_vault_of_before_there_were_keys_is_one_to_older_programs_until_it_is_sealed(tmp_path: Path) -> None:
    with keys_for_now(None):
        vault = opened(tmp_path)
        tokens = vault.put([*ANNA, BERT])
        assert vault.tend() == (0, 0, True)
        assert version(tmp_path) == 1
        assert in_files(tmp_path, *HIDDEN) == set(HIDDEN)
        assert values_by_key(tmp_path) == {"": 3}
        vault.close()
    vault = opened(tmp_path)
    assert vault.put([Cell("carl-3", "name", "Carl Carlsson")])  # what is new is sealed at once
    assert in_files(tmp_path, "carl-3", "Carl Carlsson") == set()
    assert values_by_key(tmp_path) == {"": 3, "one": 1}
    assert tended(vault) == 2
    assert values_by_key(tmp_path) == {"one": 4}
    assert version(tmp_path) == 2
    assert vault.revealed(tokens) == VALUES
    assert in_files(tmp_path, *HIDDEN) == set()


def test_an_old_key_is_needed_for_as_long_as_anything_was_sealed_by_it(tmp_path: Path) -> None:
    vault = opened(tmp_path)
    tokens = vault.put([*ANNA, BERT])
    vault.erase("bert-2", "e-1")
    with keys_for_now(keys("two", "one")):
        vault.follow_key()
        vault.put([Cell("carl-3", "name", "Carl Carlsson")])
        assert values_by_key(tmp_path) == {"one": 2, "two": 1}
        assert not vault.tend(1).is_done
        assert "one" in values_by_key(tmp_path), "values, or the id of whom was erased, need it yet"
        tended(vault)
        assert values_by_key(tmp_path) == {"two": 3}
        vault.close()
    with keys_for_now(keys("two")):
        check_vault(tmp_path)
        vault = opened(tmp_path)
        assert vault.revealed(tokens) == [*VALUES[:2], ""]
        assert vault.erasure("bert-2") is not None
        assert vault.tend() == (0, 0, True)


def test_an_import_s_process_writes_by_what_is_in_force_and_changes_nothing_of_it(tmp_path: Path) -> None:
    """It may have read the file of keys before or after its pusher."""
    owner = opened(tmp_path)
    with keys_for_now(keys("two", "one")):
        Vault(tmp_path / "personal.db").put([BERT])
    assert values_by_key(tmp_path) == {"one": 1}
    with keys_for_now(keys("two", "one")):
        owner.follow_key()
        (token,) = owner.tokens([BERT])
    with keys_for_now(keys("one", "two")):
        other = Vault(tmp_path / "personal.db")
        assert other.put([BERT, *ANNA])[0] == token
    assert values_by_key(tmp_path) == {"one": 0, "two": 3}


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (None, r"personal\.db is sealed by key one, and no keys are named: set sealing\.key_file"),
        (keys("two"), r"personal\.db is sealed by key one, which is not in sealing\.key_file = state\.keys \(two\)"),
        (keys(secret=b"t"), r"personal\.db is sealed by another key one than the one in sealing\.key_file"),
    ],
    ids=["none", "lacking", "another"],
)
def test_without_the_right_key_nothing_is_opened_and_nothing_changes(
    tmp_path: Path, known: Keys | None, words: str
) -> None:
    vault = opened(tmp_path)
    (token,) = vault.put([BERT])
    vault.close()
    before = (tmp_path / "personal.db").read_bytes()
    with keys_for_now(known):
        with pytest.raises(SealKeyError, match=words):
            check_vault(tmp_path)
        if known is not None and known.ids == ["one"]:
            opened(tmp_path)  # by its id it is the one in force; whatever is opened says that it is not
        else:
            with pytest.raises(VaultError, match=words):
                opened(tmp_path)
        vault = Vault(tmp_path / "personal.db")
        for call in (
            lambda: vault.put(ANNA),
            lambda: vault.tokens([BERT]),
            lambda: vault.revealed([token]),
            lambda: vault.changes(0, 10),
            lambda: vault.erase("bert-2", "e-1"),
            lambda: vault.values_of("bert-2"),
        ):
            with pytest.raises(VaultError, match=words):
                call()
        vault.close()
    assert (tmp_path / "personal.db").read_bytes() == before
    assert values_by_key(tmp_path) == {"one": 1}


def test_rows_that_were_changed_or_swapped_are_refused_and_the_others_are_read(tmp_path: Path) -> None:
    for number, (statement, where) in enumerate(
        [
            ("UPDATE kept SET value = (SELECT value FROM kept WHERE number = 3) WHERE number = 1", "value 1"),
            ("UPDATE kept SET value = (SELECT value FROM kept WHERE number = 2) WHERE number = 1", "value 1"),
            ("UPDATE kept SET member_id = (SELECT member_id FROM kept WHERE number = 3) WHERE number = 1", "value 1"),
            ("UPDATE kept SET value = CAST(substr(value, 1, 20) || x'00' AS BLOB) WHERE number = 1", "value 1"),
            ("UPDATE kept SET value = x'' WHERE number = 1", "value 1"),
            ("UPDATE kept SET value = 'Bert Bengtsson' WHERE number = 1", "value 1"),
            ("UPDATE kept SET member_id = x'0000' WHERE number = 1", "a row"),
            ("UPDATE kept SET member_id = CAST(x'00000007' || substr(member_id, 5) AS BLOB) WHERE number = 1", "a row"),
            ("UPDATE secrets SET secret = CAST(substr(secret, 1, 100) AS BLOB) WHERE secret != x''", "the secret"),
        ]
    ):
        folder = tmp_path / str(number)
        vault = opened(folder)
        tokens = vault.put([*ANNA, BERT])
        vault.close()
        altered(folder, statement)
        vault = opened(folder) if where != "the secret" else Vault(folder / "personal.db")
        with pytest.raises(VaultError, match=rf"personal\.db: {where} .*is damaged.*; bring back a copy"):
            vault.values(tokens[:1])
        if where != "the secret":
            assert vault.values(tokens[1:]) == dict(zip(tokens[1:], VALUES[1:], strict=True))


def test_salts_that_were_swapped_are_refused_and_erasing_goes_on(tmp_path: Path) -> None:
    vault = opened(tmp_path)
    vault.put([*ANNA, BERT])
    altered(tmp_path, "UPDATE salts SET salt = (SELECT max(salt) FROM salts)")
    with pytest.raises(VaultError, match="a member's salt is damaged"):
        vault.put([*ANNA, BERT])
    with pytest.raises(VaultError, match="a member's salt is damaged"):
        vault.changes(0, 10)
    assert vault.erase("anna-1", "e-1")[1] == 2
    assert vault.erase("bert-2", "e-2")[1] == 1
    assert [each.member_id for each in vault.changes(0, 10)] == ["anna-1", "bert-2"]


def test_a_damaged_row_keeps_its_member_alone_from_being_written_anew(tmp_path: Path) -> None:
    vault = opened(tmp_path)
    tokens = vault.put([*ANNA, BERT, *(Cell(f"m{number}", "name", "x") for number in range(20))])
    altered(tmp_path, "UPDATE kept SET value = x'00' WHERE number = 2")
    with keys_for_now(keys("two", "one")):
        moved = damaged = 0
        while True:
            found = vault.tend(5)
            moved, damaged = moved + found.moved, found.damaged
            if found.is_done:
                break
        assert (moved, damaged) == (21, 1)
        assert values_by_key(tmp_path) == {"one": 2, "two": 21}
        assert vault.revealed([tokens[0], tokens[2]]) == [VALUES[0], VALUES[2]]
        vault.erase("anna-1", "e-1")
        assert tended(vault) == 0
    assert values_by_key(tmp_path) == {"two": 21}


def test_what_is_no_vault_is_told(tmp_path: Path) -> None:
    assert values_by_key(tmp_path) == {}
    (tmp_path / "personal.db").write_bytes(b"something else" * 1_000)
    check_vault(tmp_path)  # whoever opens it says so
    with pytest.raises(VaultError, match=r"personal\.db can't be read as a vault: it is no database"):
        values_by_key(tmp_path)
