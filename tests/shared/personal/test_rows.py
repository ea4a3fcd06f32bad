"""Import files: personal values go into the vault, tokens into the file, each row on its line."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from pathlib import Path
from unicodedata import normalize

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.shared.mapping.canonical import KnownColumns, MappingError, rewrite
from services.shared.mapping.profile import Profile
from services.shared.personal.names import meant
from services.shared.personal.tokens import is_token
from services.shared.personal.vault import Vault

FILE = """member_id,sponsor_id,PHONE,name:text,shirt
a,,+46 70 111,"Anna, Andersson",XL
b,a,,"Bert
Bengtsson",M

c,a,+46 70 333,,S
"""


KNOWN = KnownColumns(("PV",), {"phone": "text", "name": "text"}, ("name", "phone"))


def rewritten(tmp_path: Path, text: str, profile: Profile | None = None) -> list[str]:
    source, target = tmp_path / "source.csv", tmp_path / "target.csv"
    source.write_text(text)
    rewrite(source, target, profile or Profile(), replace(KNOWN, vault=str(tmp_path / "personal.db")))
    return target.read_text().splitlines()


def test_values_are_in_the_vault_and_tokens_in_the_file(tmp_path: Path) -> None:
    header, a, b, empty, c = rewritten(tmp_path, FILE)
    assert (header, empty) == ("member_id,sponsor_id,PHONE,name:text,shirt", "")
    cells = [row.split(",") for row in (a, b, c)]
    assert [(row[0], row[1], row[4]) for row in cells] == [("a", "", "XL"), ("b", "a", "M"), ("c", "a", "S")]
    tokens = [text for row in cells for text in row[2:4]]
    assert [bool(text) for text in tokens] == [True, True, False, True, True, False]
    assert all(map(is_token, filter(None, tokens)))
    vault = Vault(tmp_path / "personal.db")
    assert vault.revealed(tokens) == ["+46 70 111", "Anna, Andersson", "", "Bert\nBengtsson", "+46 70 333", ""]
    assert rewritten(tmp_path, FILE)[1] == a


def test_a_profile_s_names_count(tmp_path: Path) -> None:
    profile = Profile(columns={"member_id": "DIST", "phone": "TEL"}, separator=";")
    header, row = rewritten(tmp_path, "TEL;DIST\n111;a\n", profile)
    assert header == "phone,member_id"
    assert is_token(row.split(",")[0])


def test_a_value_that_can_t_be_kept_refuses_the_file_without_telling_it(tmp_path: Path) -> None:
    with pytest.raises(
        MappingError, match=r"^line 3: column phone: the text is too long, or holds a control"
    ) as refused:
        rewritten(tmp_path, "member_id,phone\na,1\nb,secret\x07\n")
    assert "secret" not in str(refused.value)


def test_a_row_of_which_nobody_can_tell_what_is_personal_refuses_the_file(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match=r"^line 3: it has 3 fields, the header 2: mend it in the file$"):
        rewritten(tmp_path, "member_id,phone\na,1\nb,+46 70, 111\n")
    with pytest.raises(MappingError, match=r'^line 1: the header has no column member_id: it has "member_id;phone"$'):
        rewritten(tmp_path, "member_id;phone\na;1\n")


def test_a_header_of_no_type_hides_nothing(tmp_path: Path) -> None:
    assert is_token(rewritten(tmp_path, "member_id,phone:number\na,1\n")[1].split(",")[1])


@pytest.mark.parametrize(
    ("declared", "header"),
    [
        pytest.param("ΟΔΟΣ", "ΟΔΟΣ:text", id="sigma-before-a-type"),
        pytest.param("Straße", "STRASSE", id="sharp-s-in-capitals"),
        pytest.param("isim", "İSİM:TEXT", id="dotted-capitals"),
        pytest.param("Adı", "ADI", id="dotless"),
        pytest.param("téléphone", "te\u0301le\u0301phone", id="composed-otherwise"),
        pytest.param("phone", "phone\u200b", id="unseen"),
        pytest.param("first name", "First\u00a0Name", id="another-blank"),
    ],
)
def test_a_name_that_a_reader_takes_for_the_column_hides_nothing(tmp_path: Path, declared: str, header: str) -> None:
    """Also where the file is refused for it: it lies about meanwhile."""
    source, target = tmp_path / "source.csv", tmp_path / "target.csv"
    source.write_text(f"member_id,{header},shirt\na,+46 70 111,XL\n")
    rewrite(source, target, Profile(), KnownColumns(personal=(declared,), vault=str(tmp_path / "personal.db")))
    _, token, shirt = target.read_text().splitlines()[1].split(",")
    assert (is_token(token), shirt) == (True, "XL")


def test_a_name_means_the_same_in_whatever_letters() -> None:
    """Of every letter that there are several of: what is one name by `str.lower` is one here."""
    for code in chain(range(0xD800), range(0xE000, 0x30000)):
        name = f"a{chr(code)}b"
        for other in {name.lower(), name.upper(), normalize("NFD", name)} - {name}:
            assert meant(other) == meant(name) == meant(meant(name)), hex(code)
    assert len({meant(chr(code)) for code in range(0x21, 0x7F)}) == 0x7F - 0x21 - 26


def test_what_has_no_such_columns_is_as_it_was(tmp_path: Path) -> None:
    assert rewritten(tmp_path, "member_id,shirt\na,XL\n") == ["member_id,shirt", "a,XL"]
    assert not (tmp_path / "personal.db").exists()


def parquet(tmp_path: Path, *columns: str) -> Path:
    path = tmp_path / "source.parquet"
    pq.write_table(pa.table({each: ["secret"] for each in columns}), path)
    return path


def test_parquet_is_taken_as_it_is_where_it_has_nothing_personal_else_refused_in_words(tmp_path: Path) -> None:
    target = tmp_path / "target"
    plain = parquet(tmp_path, "member_id", "shirt")
    assert rewrite(plain, target, Profile(), KNOWN).rows == 1
    assert target.read_bytes() == plain.read_bytes()
    target.unlink()
    refused = (
        r'^it is Parquet with what is personal \("Phone", "name"\), which is taken out of CSV alone: send it as CSV$'
    )
    with pytest.raises(MappingError, match=refused):
        rewrite(parquet(tmp_path, "member_id", "Phone", "name"), target, Profile(), KNOWN)
    (tmp_path / "source.parquet").write_bytes(b"PAR1 and no more of it")
    with pytest.raises(MappingError, match=r"can't be read as such: write it anew$"):
        rewrite(tmp_path / "source.parquet", target, Profile(), KNOWN)
    assert not target.exists()
