"""`fasttree token`: an issuer's key and its tokens, and a leader who reads with one, by the command and the client,
from a node that believes it."""

from __future__ import annotations

import json
import random
import stat
from pathlib import Path
from typing import Any

import pytest

from fasttree.client import Client, Endpoints, NotFoundError, TokenFile, UnauthenticatedError
from fasttree.command.tokens.cluster_tokens import token_settings
from fasttree.v1 import report_pb2
from services.shared.config.load import load_settings, parse_overrides
from services.shared.security.tokens.settings import TokenSettings
from services.treenode.reports import ReportLimits
from tests.command.fasttree_command import FastTree
from tests.treenode.reports.genealogies import random_tree
from tests.treenode.reports.naive import SPONSOR
from tests.treenode.reports.scope.world import Served, World, random_leaders


async def as_json(fasttree: FastTree, *arguments: str) -> Any:
    ran = await fasttree("token", *arguments, "--json")
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


async def test_a_key_is_made_once_and_those_before_stay_known(fasttree: FastTree, tmp_path: Path) -> None:
    key = tmp_path / "tokens" / "issuer.key"
    made = await as_json(fasttree, "keys", "--key", str(key))
    assert made == {"key": str(key), "keys": str(tmp_path / "tokens/keys.json"), "made": True}
    first = key.read_bytes()
    assert not (await as_json(fasttree, "keys", "--key", str(key)))["made"]
    assert key.read_bytes() == first
    assert (await as_json(fasttree, "keys", "--key", str(key), "--anew"))["made"]
    assert key.read_bytes() != first
    listed = json.loads((tmp_path / "tokens/keys.json").read_text())["keys"]
    assert len(listed) == 2
    assert not any("d" in each for each in listed)
    for path in (key, key.with_name("keys.json"), key.parent):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    # The endpoints file that is named says which cluster's folder is meant.
    other = Path("elsewhere")
    assert (await as_json(fasttree, "issue", "--role", "reporter"))["token"]
    told = (await fasttree("token", "issue", "--role", "reporter", "--endpoints", str(other / "endpoints.json"))).err
    assert "whose key?" in told


async def test_a_token_is_written_over_nothing_but_a_token(fasttree: FastTree, tmp_path: Path) -> None:
    key, out = tmp_path / "issuer.key", tmp_path / "a.token"
    await as_json(fasttree, "keys", "--key", str(key))
    for _ in range(2):
        await as_json(fasttree, "issue", "--role", "reporter", "--key", str(key), "--out", str(out))
    for path in (key, key.with_name("keys.json")):
        before = path.read_bytes()
        ran = await fasttree("token", "issue", "--role", "reporter", "--key", str(key), "--out", str(path))
        assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)
        assert f"{path}: it is there and is no token, and is not written over: name another file" in ran.err
        assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("issue", "--role", "reporter"), "whose key?"),
        (("issue", "--role", "reporter", "--key", "{tmp}/none"), "is not there: `fasttree token keys --key"),
        (("issue", "--role", "leader", "--key", "{tmp}/none"), "--member-id goes with --role leader"),
        (("issue", "--role", "reporter", "--member-id", "7", "--key", "x"), "--member-id goes with --role leader"),
        (("issue", "--role", "reporter", "--key", "{tmp}/bad"), "is no private key for ES256"),
        (("issue", "--role", "node", "--key", "x"), "Invalid value for '--role'"),
        (("issue", "--role", "reporter", "--hours", "0", "--key", "x"), "--hours"),
    ],
)
async def test_what_cannot_be_is_refused_in_one_line(
    arguments: tuple[str, ...], said: str, fasttree: FastTree, tmp_path: Path
) -> None:
    (tmp_path / "bad").write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    ran = await fasttree("token", *(each.format(tmp=tmp_path) for each in arguments))
    assert ran.code in (1, 2)
    assert said in ran.err
    assert len(ran.err.splitlines()) == 1
    assert not ran.out


async def test_a_leader_reads_his_downline_with_a_token_in_a_file(fasttree: FastTree, tmp_path: Path) -> None:
    tree = random_tree(3, 60, 60)
    leader = random_leaders(random.Random(3), tree)[1]
    world = World(tree, SPONSOR, leader)
    overrides = parse_overrides(token_settings(tmp_path / "tokens", "dot-test"))
    believed = load_settings(TokenSettings, "tokens", None, overrides)
    key, file = str(tmp_path / "tokens/issuer.key"), tmp_path / "leader.token"
    issued = await as_json(
        fasttree, "issue", "--key", key, "--role", "leader", "--member-id", leader, "--out", str(file)
    )  # fmt: skip
    assert issued["file"] == str(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    async with Served(tree, tmp_path, "nghttp2", ReportLimits(), believed) as served:
        endpoints = Endpoints(vip=served.address)
        endpoints.write(fasttree.endpoints_path)
        seen = await fasttree("member", leader, "--token-file", str(file), "--json")
        assert [each["member_id"] for each in json.loads(seen.out)["members"]] == [leader]
        hidden = await fasttree("member", world.outside[0], "--token-file", str(file))
        assert hidden.code == 1
        assert f"no member {world.outside[0]}" in hidden.err
        # Whoever sends none is the operator of this machine.
        assert (await fasttree("member", world.outside[0])).code == 0
        async with Client(endpoints, token=TokenFile(path=str(file))) as client:
            request = report_pb2.StreamDownlineRequest()
            members = {
                each.member_id async for some in client.reports.stream_downline(request) for each in some.members
            }
            assert members == set(world.inside)
            assert (await client.reports.get_member(leader)).member.sponsor_id == ""
            with pytest.raises(NotFoundError, match="no member has this id"):
                await client.reports.get_member(world.outside[0])
        other = await as_json(
            fasttree, "issue", "--key", key, "--role", "leader", "--member-id", leader, "--audience", "another"
        )
        file.write_text(other["token"])
        async with Client(endpoints, token=TokenFile(path=str(file))) as client:
            with pytest.raises(UnauthenticatedError, match="log in again"):
                await client.reports.get_member(leader)
