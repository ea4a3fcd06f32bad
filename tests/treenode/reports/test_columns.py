"""The registry of columns: it has what `Member` has, and a new entry goes through everything that takes columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2
from google.protobuf.message import Message

from fasttree.v1 import report_pb2, types_pb2
from services.treenode.imports.limits import ImportLimits
from services.treenode.imports.reading.header import Role, plan_columns
from services.treenode.reports.columns import COLUMNS, KIND_TEXTS, VOLUMES, Column, Kind, plain_column
from services.treenode.reports.copy.extents import catalogue_of, downline
from services.treenode.reports.copy.freeze import freeze, without_empty_places
from services.treenode.reports.encode.arrow import ArrowEncoder
from services.treenode.reports.encode.members import member_bytes
from services.treenode.reports.encode.single import MemberEncoder
from services.treenode.reports.order.pages import first_page
from services.treenode.reports.plan.choice import Catalogue, Choice, choose
from services.treenode.reports.plan.paging import sort_of
from services.treenode.reports.rows import FrozenRows
from services.treenode.tree import Tree
from tests.treenode.reports.genealogies import random_tree

#: A column that `Member` does not have for one of each kind that it has; what it holds is what the known one holds.
TWINS = {
    "mentor_id": "sponsor_id",
    "host_id": "placement_id",
    "own_id": "member_id",
    "branch": "placement_leg",
    "sort": "kind",
    "standing": "status",
    "grade": "rank",
    "renewed_on": "joined_on",
    "depth": "level",
    "points": "pv",
    "team_points": "gv",
    "below": "downline_count",
}
FIRST_FREE_NUMBER = 1 + max(field.number for field in types_pb2.Member.DESCRIPTOR.fields)


def extended_member() -> type[Message]:
    """`Member` with a field more for each twin."""
    file = descriptor_pb2.FileDescriptorProto()
    types_pb2.DESCRIPTOR.CopyToProto(file)
    member = next(message for message in file.message_type if message.name == "Member")
    # Fields from 16 on have tags of two bytes.
    for number, (name, known) in enumerate(TWINS.items(), FIRST_FREE_NUMBER):
        field = member.field.add()
        field.CopyFrom(next(each for each in member.field if each.name == field_name(COLUMNS[known])))
        field.name, field.number = field.name.replace(known, name), number
        field.ClearField("json_name")
    pool = descriptor_pool.DescriptorPool()
    timestamp = descriptor_pb2.FileDescriptorProto()
    timestamp_pb2.DESCRIPTOR.CopyToProto(timestamp)
    pool.Add(timestamp)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("fasttree.v1.Member"))


def field_name(column: Column) -> str:
    assert column.field is not None
    return column.field.name


def fields_without_a_column(member: Any, columns: Mapping[str, Column]) -> list[str]:
    """Fields of a message that no entry has; `columns` holds what each import has for itself."""
    known = {field_name(column) for column in (*columns.values(), VOLUMES)}
    return [field.name for field in member.DESCRIPTOR.fields if field.name not in known | {"columns"}]


EXTENDED: Any = extended_member()
NEW = {
    name: plain_column(
        name, twin.kind, twin.where, twin.dtype, twin.values, arrow=twin.arrow, names=twin.names, member=EXTENDED
    )
    for name, known in TWINS.items()
    for twin in [COLUMNS[known]]
}


@pytest.fixture(scope="module")
def tree() -> Tree:
    """Of the members, and of some who left."""
    return random_tree(seed=3)


def extended(tree: Tree) -> Catalogue:
    """What the tree has, with the new columns."""
    return replace(catalogue_of(tree), plain={**COLUMNS, **NEW})


def choice_of(tree: Tree, which: types_pb2.Tree.ValueType) -> Choice:
    columns = [*COLUMNS, *NEW]
    return choose(report_pb2.ReportOptions(tree=which, columns=columns), extended(tree))


def rows_of(tree: Tree, choice: Choice) -> FrozenRows:
    return without_empty_places(freeze(tree, choice, downline(tree, choice, "")))


def messages(content: bytes) -> list[Any]:
    """Members as the extended message has them, from the bytes of an answer."""
    answer = report_pb2.ListDownlineResponse.FromString(content)
    return [EXTENDED.FromString(member.SerializeToString()) for member in answer.members]


def expect_twins(member: Any) -> None:
    for name, known in TWINS.items():
        assert getattr(member, field_name(NEW[name])) == getattr(member, field_name(COLUMNS[known])), name


def test_each_field_of_member_has_its_column() -> None:
    assert fields_without_a_column(types_pb2.Member, COLUMNS) == []
    assert fields_without_a_column(EXTENDED, COLUMNS) == [field_name(column) for column in NEW.values()]
    numbers = [column.field.number for column in COLUMNS.values() if column.field]
    assert numbers == sorted(numbers)


def test_a_column_without_a_field_is_named() -> None:
    with pytest.raises(KeyError, match="shoe_size"):
        plain_column("shoe_size", Kind.NUMBER, COLUMNS["rank"].where, arrow=pa.int16())


def test_all_columns_are_chosen_with_the_new_ones(tree: Tree) -> None:
    chosen = choose(report_pb2.ReportOptions(columns=["*"]), extended(tree))
    assert {column.name for column in chosen.plain} == {*COLUMNS, *NEW}


@pytest.mark.parametrize("which", [types_pb2.TREE_SPONSOR, types_pb2.TREE_PLACEMENT])
def test_a_new_column_goes_on_the_wire(tree: Tree, which: types_pb2.Tree.ValueType) -> None:
    choice = choice_of(tree, which)
    found = messages(member_bytes(rows_of(tree, choice), choice))
    assert len(found) > 40
    for member in found:
        expect_twins(member)


@pytest.mark.parametrize("which", [types_pb2.TREE_SPONSOR, types_pb2.TREE_PLACEMENT])
def test_a_new_column_is_in_the_answer_for_one_member(tree: Tree, which: types_pb2.Tree.ValueType) -> None:
    choice, encoder = choice_of(tree, which), MemberEncoder()
    ids = [text.decode() for text in rows_of(tree, choice).id_texts(COLUMNS["member_id"])]
    for member_id in ids[:40]:
        (member,) = messages(encoder.encode(tree, choice, member_id))
        assert member.own_id == member_id
        expect_twins(member)


def test_a_new_column_is_in_the_stream_for_programs(tree: Tree) -> None:
    choice = choice_of(tree, types_pb2.TREE_SPONSOR)
    rows = rows_of(tree, choice)
    encoder = ArrowEncoder(rows, choice)
    content = encoder.head() + bytes(encoder.encode(rows))
    table = pa.ipc.open_stream(content).read_all()
    for name, known in TWINS.items():
        assert table.schema.field(name).type == COLUMNS[known].arrow, name
        assert table[name].to_pylist() == table[known].to_pylist(), name


@pytest.mark.parametrize("name", NEW)
def test_rows_are_sorted_by_a_new_column(tree: Tree, name: str) -> None:
    choice, catalogue = choice_of(tree, types_pb2.TREE_SPONSOR), extended(tree)
    rows = rows_of(tree, choice)
    pages = []
    for column in (name, TWINS[name]):
        sort = sort_of(report_pb2.SortKey(column=column, descending=True), catalogue)
        page = first_page(rows, sort, None, 50)
        assert page.next_key is not None
        pages.append((page.rows.id_texts(COLUMNS["member_id"]).tolist(), page.next_key))
    assert pages[0] == pages[1]


def test_what_no_kernel_copies_is_named(tree: Tree) -> None:
    wrong = replace(COLUMNS["rank"], name="wrong", dtype=np.int64)
    choice = replace(choice_of(tree, types_pb2.TREE_SPONSOR), columns=(wrong,))
    with pytest.raises(ValueError, match="column wrong: no kernel copies int16 to int64"):
        rows_of(tree, choice)
    nowhere = replace(COLUMNS["rank"], name="nowhere", values=None)
    with pytest.raises(ValueError, match="column nowhere: nothing says where"):
        rows_of(tree, replace(choice, columns=(nowhere,)))


def test_what_no_encoder_writes_is_named(tree: Tree) -> None:
    odd = replace(COLUMNS["gv"], name="odd", kind=Kind.VOLUMES)
    choice = replace(choice_of(tree, types_pb2.TREE_SPONSOR), columns=(odd,))
    rows = rows_of(tree, choice)
    with pytest.raises(ValueError, match="column odd: no Arrow column is made of volumes"):
        ArrowEncoder(rows, choice)
    with pytest.raises(ValueError, match="column odd: no field is written from volumes"):
        member_bytes(rows, choice)


@pytest.mark.parametrize("name", COLUMNS)
def test_no_import_has_a_further_column_of_that_name(name: str) -> None:
    limits = ImportLimits()
    header = list(dict.fromkeys((*limits.required_columns, "placement_id", name)))
    planned = plan_columns(header, ("PV",), ("2026-11",), limits)
    assert [column.name for column in planned if column.role is Role.FURTHER] == []


def test_kinds_are_called_what_the_proto_calls_them() -> None:
    assert KIND_TEXTS == ("", "distributor", "customer")
