"""Secrets go, whatever stands around them; of a log's words those stay that are ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttree.command.bundle.scrubbing import GONE, Scrubber, without_secrets
from fasttree.command.bundle.vocabulary import vocabulary

_JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbm5hIn0.c2lnbmF0dXJl-_x"


@pytest.fixture(scope="module")
def scrubber() -> Scrubber:
    return Scrubber(vocabulary(), {"n1", "ft-node-7.example.com"})


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://ft:pa55@db:5432/x?sslmode=require", f"postgresql://{GONE}@db:5432/x?sslmode=require"),
        ("nats://seed@host:4222", f"nats://{GONE}@host:4222"),
        ("host=db password=pa55 user=ft", f"host=db password={GONE} user=ft"),
        ("password='pa 55' user=ft", f"password={GONE} user=ft"),
        ('{"client_secret": "pa55", "a": 1}', f'{{"client_secret": {GONE}, "a": 1}}'),
        ("api-key: pa55\nnext", f"api-key: {GONE}\nnext"),
        ("X-Api-Key=pa55", f"X-Api-Key={GONE}"),
        (f"authorization: Bearer {_JWT}", f"authorization: {GONE} {GONE}"),
        (f"asked with {_JWT} by", f"asked with {GONE} by"),
        ("Authorization Basic dXNlcjpwYTU1", f"Authorization Basic {GONE}"),
        ("AKIAIOSFODNN7EXAMPLE!", f"{GONE}!"),
        ("a\n-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\nb", f"a\n{GONE}\nb"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\ncut off", GONE),
        ("log_password_file is /etc/ft/pw", "log_password_file is /etc/ft/pw"),
    ],
    ids=[
        "dsn", "user_alone", "conninfo", "quoted", "json", "header", "upper", "bearer", "token", "basic", "access_key",
        "pem", "pem_cut_off", "a_file_of_one",
    ],
)  # fmt: skip
def test_a_secret_goes(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


@given(st.text("abcXYZ019!#$%^*-_.~+", min_size=6), st.sampled_from(["postgresql", "nats", "https", "s3+http"]))
def test_a_password_in_an_address_goes_whatever_it_is(password: str, scheme: str) -> None:
    assert password not in without_secrets(f"can't reach {scheme}://someone:{password}@host:1/x").replace(
        "host:1/x", ""
    )


@pytest.mark.parametrize(
    "line",
    [
        "2026-11-28 00:08:03,884 INFO treenode services.treenode.imports.loading: serves from import 1: 800 members",
        "node n1 of cluster: reports on 127.0.0.1:31541, instant on ft-node-7.example.com",
        "OSError: No space left on device",
        "epoch 4: n1 is primary, position 17 at 00:08:03.251Z, digest 2059512019a32a3a",
    ],
    ids=["import", "places", "system", "figures"],
)
def test_what_is_ours_stays(scrubber: Scrubber, line: str) -> None:
    assert scrubber.sentence(line) == line


@pytest.mark.parametrize(
    "said",
    ["Schmidt-Kowalczyk", "anna.schmidt@example.org", "O'Brien", '"anything at all"', "ORDER-77x", "Żółć", "漢字"],
)
def test_what_is_said_of_members_goes(scrubber: Scrubber, said: str) -> None:
    shown = scrubber.sentence(f"import 3: the member {said} is not known at position 5")
    assert said.strip('"') not in shown
    assert shown.startswith("import 3: the member ")
    assert shown.endswith(" at position 5")


def test_a_members_number_goes_and_a_position_stays(scrubber: Scrubber) -> None:
    assert scrubber.sentence("member 4711 below sponsor 4712") == f"member {GONE} below sponsor {GONE}"
    assert scrubber.sentence("position 4711") == "position 4711"


def test_in_json_every_text_is_looked_at(scrubber: Scrubber) -> None:
    status = {"imports": [{"file_name": "anna.csv", "reason": 'the sponsor "4712" is not there'}], "n": 3, "ok": True}
    assert scrubber.value(status) == {
        "imports": [{"file_name": f"{GONE}.csv", "reason": f'the sponsor "{GONE}" is not there'}],
        "n": 3,
        "ok": True,
    }
