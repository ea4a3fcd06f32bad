"""Columns of texts in order: as texts, or as the numbers that some of them are."""

from __future__ import annotations

import random
from dataclasses import replace
from decimal import Decimal

import grpc
import pytest

from fasttree.v1 import report_pb2
from services.treenode.tree import FurtherColumn, Tree
from tests.treenode.reports.conftest import Services
from tests.treenode.reports.genealogies import config, random_table, random_tree


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("as_number", [False, True])
async def test_texts_are_sorted_as_texts_or_as_numbers(services: Services, descending: bool, as_number: bool) -> None:
    numbers = ["-10.5", "-2", "-0", "000", "+0.5", "7", "07.0", "9", "10", "10.25", "1" + "0" * 39]
    others = ["", "1e3", "10 ", "9" * 41, "Zoë", "a", "é", "東京", "\U0001f600"]
    dice = random.Random(5)
    table = random_table(dice, 60)
    texts = dice.sample([*numbers, *others] * 3, 60)
    text_of = dict(zip((bytes(member_id).decode() for member_id in table.member_ids), texts, strict=True))
    tree = Tree.from_table(replace(table, further={"zip": FurtherColumn.of_texts(texts)}), config(), 1, 0)

    def place(member_id: str) -> tuple[int, Decimal, str]:
        text = text_of[member_id]
        first = int(descending)
        return (first, Decimal(text), "") if as_number and text in numbers else (1 - first, Decimal(0), text)

    # Ties go by member_id upwards in both directions, which a stable sort keeps.
    expected = sorted(sorted(text_of), key=place, reverse=descending)
    served = await services.start(tree)
    request = report_pb2.ListDownlineRequest(
        options=report_pb2.ReportOptions(columns=["member_id", "zip"]),
        sort=report_pb2.SortKey(column="zip", descending=descending, as_number=as_number),
        page_size=7,
    )
    found: list[str] = []
    while True:
        answer = await served.stub.ListDownline(request)
        found += [member.member_id for member in answer.members]
        request.page_token = answer.next_page_token
        if not answer.next_page_token:
            break
    assert found == expected


@pytest.mark.parametrize("column", ["", "status", "points", "renewed", "pv"])
async def test_only_texts_are_sorted_as_numbers(services: Services, column: str) -> None:
    served = await services.start(random_tree(1))
    sort = report_pb2.SortKey(column=column, as_number=True)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await served.stub.ListDownline(report_pb2.ListDownlineRequest(sort=sort))
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "sort.as_number is for columns of texts" in (refused.value.details() or "")
