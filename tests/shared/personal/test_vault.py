"""The vault: what is kept, copied and erased, and what is in its files then."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from services.shared.personal.tokens import is_token
from services.shared.personal.vault import Cell, Change, Vault, VaultError

ANNA = [Cell("a", "name", "Anna Andersson"), Cell("a", "phone", "+46 70 111")]
BERT = Cell("b", "name", "Bert Bengtsson")


def opened(folder: Path) -> Vault:
    folder.mkdir(exist_ok=True)
    return Vault(folder / "personal.db")


def bytes_of(folder: Path) -> bytes:
    """All that any file there has."""
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


def test_the_same_value_has_the_same_token_and_nobody_else_s_has(tmp_path: Path) -> None:
    vault = opened(tmp_path)
    name, phone = vault.put(ANNA)
    assert is_token(name)
    assert vault.put(ANNA) == [name, phone]
    other, column, empty = vault.put(
        [Cell("b", "name", "Anna Andersson"), Cell("a", "alias", "Anna Andersson"), Cell("a", "name", "")]
    )
    assert len({name, phone, other, column}) == 4
    assert empty == ""
    assert vault.last == 4
    assert vault.revealed([name, "plain", "", phone]) == ["Anna Andersson", "plain", "", "+46 70 111"]
    vault.close()
    again = opened(tmp_path)
    assert again.put(ANNA) == [name, phone]
    assert again.last == 4


def test_what_is_erased_is_in_no_file_of_it_and_of_its_copy(tmp_path: Path) -> None:
    vault, copy = opened(tmp_path / "pusher"), opened(tmp_path / "node")
    tokens = vault.put([*ANNA, BERT])
    copy.take(vault.changes(0, 10), vault.last)
    assert copy.revealed(tokens) == ["Anna Andersson", "+46 70 111", "Bert Bengtsson"]
    for folder in ("pusher", "node"):
        assert b"Anna Andersson" in bytes_of(tmp_path / folder)
    assert vault.erase("a", "e-1") == (4, 2)
    assert copy.revealed(tokens)[0] == "Anna Andersson"
    copy.take(vault.changes(copy.last, 10), vault.last)
    for each, folder in ((vault, "pusher"), (copy, "node")):
        assert each.revealed(tokens) == ["", "", "Bert Bengtsson"]
        left = bytes_of(tmp_path / folder)
        assert b"Bert Bengtsson" in left
        assert not any(value in left for value in (b"Anna", b"Andersson", b"+46 70 111"))
    assert vault.erase("a", "e-2")[1] == 0


def test_a_file_does_not_bring_back_who_was_erased_an_update_does(tmp_path: Path) -> None:
    vault = opened(tmp_path)
    before = vault.put(ANNA, of_a_file=True)
    vault.erase("a", "e-1")
    assert vault.put([*ANNA, BERT], of_a_file=True)[:2] == ["", ""]
    (after,) = vault.put(ANNA[:1])
    assert after not in before
    assert vault.put(ANNA, of_a_file=True) == [after, ""], "what an update has brought, and nothing else"
    assert vault.revealed(before) == ["", ""]
    assert vault.values_of("a") == 1


def test_a_token_is_known_without_being_kept_until_its_member_is_erased(tmp_path: Path) -> None:
    vault = opened(tmp_path)
    assert vault.tokens(ANNA) == ["", ""]
    tokens = vault.put(ANNA)
    assert vault.tokens(ANNA) == tokens
    vault.erase("a", "e-1")
    assert vault.tokens(ANNA) == ["", ""]
    assert vault.values_of("a") == 0


@pytest.mark.parametrize("seed", [1, 3, 5, 6])
def test_among_many_pages_nothing_of_whom_is_erased_is_left(tmp_path: Path, seed: int) -> None:
    """Pages that are split, joined and given back have parts of what was there, in gaps that nobody overwrites: values
    and salts of members who come, are erased among others, come again, and are erased at last."""
    vault, copy, chance = opened(tmp_path / "pusher"), opened(tmp_path / "node"), random.Random(seed)
    members = [f"m{number}" for number in range(200)]
    cells = [
        Cell(member_id, f"column-{number}", f"<{member_id}>" * chance.choice((1, 10, 150)))
        for member_id in members
        for number in range(3)
    ]
    chance.shuffle(cells)
    secrets: dict[str, set[bytes]] = {each: set() for each in members}

    def follow() -> None:
        for change in (changes := vault.changes(copy.last, 1 << 30)):
            secrets[change.member_id] |= {change.salt} - {b""}
        copy.take(changes, vault.last)

    for begin in range(0, len(cells), 60):
        vault.put(cells[begin : begin + 60])
        follow()
        for member_id in chance.sample(members, 8):
            vault.erase(member_id, f"e-{member_id}-{begin}")
    gone = chance.sample(members, 120)
    for member_id in gone:
        vault.erase(member_id, f"e-{member_id}")
    follow()
    for folder, each in (("pusher", vault), ("node", copy)):
        left = bytes_of(tmp_path / folder)
        kept = {member_id for member_id in members if each.values_of(member_id)}
        assert kept.isdisjoint(gone)
        assert len(kept) > 30
        assert {member_id for member_id in members if f"<{member_id}>".encode() in left} == kept
        assert [member_id for member_id in gone if any(salt in left for salt in secrets[member_id])] == []


def test_a_copy_that_begins_late_hears_of_nothing_that_is_gone(tmp_path: Path) -> None:
    vault, copy = opened(tmp_path / "pusher"), opened(tmp_path / "node")
    vault.put([*ANNA, BERT])
    number, _ = vault.erase("a", "e-1")
    assert [(each.number, each.member_id, each.value) for each in vault.changes(0, 10)] == [
        (3, "b", "Bert Bengtsson"),
        (4, "a", ""),
    ]
    for one in vault.changes(0, 1) + vault.changes(3, 1):
        copy.take([one], one.number)
    copy.take([Change(4, "a")], 4)  # told twice
    assert copy.last == number == 4


def test_a_copy_can_be_put_in_the_place_of_the_vault(tmp_path: Path) -> None:
    vault, copy = opened(tmp_path / "pusher"), opened(tmp_path / "node")
    vault.erase("c", "e-1")
    tokens = vault.put([*ANNA, BERT])
    copy.take(vault.changes(0, 10), vault.last)
    assert copy.tokens([*ANNA, BERT]) == tokens
    assert copy.put([BERT, Cell("c", "name", "Cecilia")], of_a_file=True) == [tokens[2], ""]
    assert copy.not_logged() == []
    assert copy.last == vault.last


def test_an_erasure_is_known_until_the_log_has_it(tmp_path: Path) -> None:
    vault = opened(tmp_path)
    assert vault.erasure("a") is None
    number, _ = vault.erase("a", "e-1")
    assert vault.not_logged() == [("e-1", "a")]
    vault.logged("e-1", 17)
    assert vault.not_logged() == []
    assert vault.erasure("a") == (number, "e-1", 17)
    assert vault.erase("a", "e-2") == (number + 1, 0)
    assert vault.not_logged() == [("e-2", "a")]
    assert [each.number for each in vault.changes(0, 10)] == [number + 1], "the newest says all that there is to say"


def test_what_is_no_vault_is_told_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "personal.db").write_bytes(b"something else" * 1_000)
    with pytest.raises(VaultError, match=r"personal.db: it is no database; bring back a whole copy"):
        opened(tmp_path)


def test_a_write_that_another_one_s_reading_holds_up_is_refused_and_the_next_goes_on(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "personal.db", wait_s=0.01)
    with closing(sqlite3.connect(tmp_path / "personal.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM meta").fetchall()
        with pytest.raises(VaultError, match="another process has it"):
            vault.put([BERT])
        assert vault.last == 0
    (token,) = vault.put([BERT])
    assert vault.revealed([token]) == [BERT.value]
    vault.close()
