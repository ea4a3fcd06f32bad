"""Tokens in the tree, values in every report of whom a rule lets, by either server; none once the member is erased."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fasttree.v1 import report_pb2
from services.shared.personal.vault import Cell, Vault
from services.treenode.tree import Tree
from tests.treenode.reports.conftest import SMALL_LIMITS
from tests.treenode.reports.genealogies import config
from tests.treenode.reports.personal.test_right import (
    ALL,
    PHONE,
    REPORTS,
    ask,
    columns_of,
    declared,
    enrolled,
)
from tests.treenode.reports.scope.world import Served, arrow_of

OTHER = "+46 70 456 åäö"


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path / "personal.db")


@pytest.fixture(params=["nghttp2", "grpcio"])
async def served(tmp_path: Path, vault: Vault, request: pytest.FixtureRequest) -> AsyncIterator[Served]:
    tokens = vault.put([Cell("a", "phone", PHONE), Cell("b", "phone", OTHER)])
    tree = Tree.empty(config())
    marked = [declared("phone", personal=True), declared("shirt", personal=False)]
    tree.apply(1, [*marked, enrolled("a", phone=tokens[0], shirt=tokens[0]), enrolled("b", "a", phone=tokens[1])])
    async with Served(tree, tmp_path, request.param, SMALL_LIMITS, reveal=vault.revealed) as running:
        yield running


@pytest.mark.parametrize("call", sorted(REPORTS))
async def test_every_report_has_values(served: Served, vault: Vault, call: str) -> None:
    token = vault.tokens([Cell("a", "phone", PHONE)])[0]
    of_a, of_b = {"phone": PHONE, "shirt": token}, {"phone": OTHER}
    shown = columns_of(await ask(served, "reporter", call, REPORTS[call](ALL)))
    assert shown
    assert all(each in (of_a, of_b) for each in shown), "and what only looks like a token elsewhere is as it is"
    vault.erase("a", "e-1")
    del of_a["phone"]
    erased = columns_of(await ask(served, "reporter", call, REPORTS[call](ALL)))
    assert len(erased) == len(shown)
    assert all(each in (of_a, of_b) for each in erased)


async def test_arrow_has_them(served: Served, vault: Vault) -> None:
    request = report_pb2.StreamDownlineRequest(options=ALL, format=report_pb2.ROW_FORMAT_ARROW)
    rows, _ = arrow_of(await ask(served, "reporter", "StreamDownline", request))
    assert [row["phone"] for row in rows] == [PHONE, OTHER]
    vault.erase("b", "e-1")
    rows, _ = arrow_of(await ask(served, "reporter", "StreamDownline", request))
    assert [row["phone"] or "" for row in rows] == [PHONE, ""]
