"""A client's token: where it is found, what is refused, and one that is changed while calls are made."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from fasttree.client import Client, Endpoints, EndpointsError, TokenFile, TokenFileError
from fasttree.client.calls import tokens
from fasttree.client.calls.channels import Channels
from fasttree.client.calls.tls import TlsFiles
from fasttree.client.calls.tokens import Token
from tests.fakes.cluster import fake_cluster
from tests.shared.security.tokens.issuer import Issuer


def write(path: Path, token: str) -> TokenFile:
    new = path.with_suffix(".new")
    new.write_text(token + "\n")
    os.replace(new, path)
    return TokenFile(path=str(path))


def test_who_says_it_first_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "endpoints.json").write_text(json.dumps({"vip": "localhost:1", "token_file": "me.token"}))
    endpoints = Endpoints.read(tmp_path / "endpoints.json")
    assert endpoints.token == TokenFile(path=str(tmp_path / "me.token"))
    assert Client(endpoints).token == endpoints.token
    assert Client(Endpoints(vip="localhost:1")).token is None
    monkeypatch.setenv(tokens.VARIABLE, str(tmp_path / "other.token"))
    assert Client(endpoints).token == TokenFile(path=str(tmp_path / "other.token"))
    mine = TokenFile(path="mine", in_clear=True)
    assert Client(endpoints, token=mine).token == mine
    for each in (endpoints, Endpoints(vip="a:1", token=TokenFile(path=str(tmp_path / "x"), in_clear=True))):
        each.write(tmp_path / "again.json")
        assert Endpoints.read(tmp_path / "again.json") == each


@pytest.mark.parametrize("content", [{"token_file": 7}, {"token_file": "x", "token_in_clear": "yes"}])
def test_an_endpoints_file_that_names_no_file_is_refused(content: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "endpoints.json").write_text(json.dumps(content))
    with pytest.raises(EndpointsError, match="token_file must be a text"):
        Endpoints.read(tmp_path / "endpoints.json")


def test_a_file_without_a_token_is_refused_and_not_shown(tmp_path: Path) -> None:
    with pytest.raises(TokenFileError, match="can't read the token: No such file"):
        TokenFile(path=str(tmp_path / "none")).read()
    with pytest.raises(TokenFileError, match="no regular file"):
        TokenFile(path=str(tmp_path)).read()
    for text in ("", "secret", "a.b", "a.b.c.d", "a..c", "a.b.c\nd.e.f", "ä.b.c", "x" * 9_000, '{"secret": "a.b.c"}'):
        with pytest.raises(TokenFileError, match="there is no token in it") as raised:
            write(tmp_path / "token", text).read()
        assert not text or text not in str(raised.value)


@pytest.mark.parametrize(
    ("address", "goes"),
    [
        ("127.0.0.1:50200", True), ("localhost:1", True), ("[::1]:1", True), ("127.0.0.2:1", True),
        ("10.0.0.1:1", False), ("ftsp01.example.com:1", False), ("localhost.example.com:1", False),
        ("[2001:db8::1]:1", False), ("", False),
    ],
)  # fmt: skip
async def test_in_clear_a_token_stays_on_this_machine(address: str, goes: bool, tmp_path: Path) -> None:
    file = write(tmp_path / "token", Issuer().token())
    if goes:
        channels = Channels(None, file)
        channels.to(address)
        await channels.close()
        return
    with pytest.raises(TokenFileError, match="will not send a token to") as raised:
        Channels(None, file).to(address)
    assert "\n" not in str(raised.value)
    file.check_way(address, by_tls=True)
    TokenFile(path=file.path, in_clear=True).check_way(address, by_tls=False)


def test_a_changed_file_is_sent_and_a_damaged_one_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "_LOOK_S", 0.0)
    issuer = Issuer()
    first, second = issuer.token(jti="1"), issuer.token(jti="2")
    token = Token(write(tmp_path / "token", first))
    assert token.metadata() == (("authorization", f"Bearer {first}"),)
    write(tmp_path / "token", second)
    assert token.metadata() == (("authorization", f"Bearer {second}"),)
    write(tmp_path / "token", "nothing")
    assert token.metadata() == (("authorization", f"Bearer {second}"),)
    assert second not in repr(token.file)


def test_an_authority_alone_will_do_where_a_token_says_who_calls(tmp_path: Path) -> None:
    (tmp_path / "endpoints.json").write_text(json.dumps({"vip": "a:1", "tls": {"ca": "ca.crt"}}))
    assert Endpoints.read(tmp_path / "endpoints.json").tls == TlsFiles(
        certificate="", key="", ca=str(tmp_path / "ca.crt")
    )
    (tmp_path / "endpoints.json").write_text(json.dumps({"vip": "a:1", "tls": {"ca": "ca.crt", "key": "x.key"}}))
    with pytest.raises(EndpointsError, match="or ca alone"):
        Endpoints.read(tmp_path / "endpoints.json")


async def test_in_another_s_name_a_call_brings_that_token_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[list[str]] = []
    async with fake_cluster() as cluster:

        async def note(_: Any, context: Any) -> None:
            heard.append([value for name, value in context.invocation_metadata() if name == "authorization"])

        monkeypatch.setattr(cluster.reports, "_fail", note)
        async with Client(cluster.endpoints, token=write(tmp_path / "token", "my.own.token")) as client:
            other = client.in_name_of("some.body.else")
            for each in (client, other, client):
                await each.reports.get_member("m0")
            await other.close()  # they are the client's connections
            await client.reports.get_member("m0")
    own, given = ["Bearer my.own.token"], ["Bearer some.body.else"]
    assert heard == [own, given, own, own]
