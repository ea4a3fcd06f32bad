"""The command's tables against the node's registry of columns: the command may not import it."""

from __future__ import annotations

from fasttree.client.forms.members import KNOWN_COLUMNS, Rows, enum_names
from fasttree.command.reports.rows import DEFAULT_COLUMNS
from fasttree.v1 import types_pb2
from services.treenode.reports import columns as registry
from services.treenode.reports.columns import COLUMNS, Kind


def test_the_command_knows_the_columns_that_nodes_have() -> None:
    assert {name: field.name for name, field in KNOWN_COLUMNS.items()} == {
        column.name: column.field.name for column in COLUMNS.values() if column.field
    }
    assert list(KNOWN_COLUMNS) == list(COLUMNS)


def test_the_command_shows_what_nodes_show_but_for_the_kind() -> None:
    assert list(DEFAULT_COLUMNS) == [column.name for column in registry.DEFAULT_COLUMNS if column.name != "kind"]


def test_cells_are_written_by_kind() -> None:
    member = types_pb2.Member(
        member_id="A",
        placement_leg=2,
        kind=types_pb2.MEMBER_KIND_CUSTOMER,
        rank=3,
        pv_hundredths=-1250,
        columns={"x": "y"},
    )
    names = [*COLUMNS, "x"]
    (row,) = Rows(names).json([member])
    decimals = {name for name in names if isinstance(row[name], str) and "." in row[name]}
    assert decimals == {column.name for column in COLUMNS.values() if column.kind is Kind.HUNDREDTHS}
    assert (row["pv"], row["gv"], row["kind"], row["placement_leg"], row["x"]) == ("-12.50", "0.00", "customer", 2, "y")
    for column in COLUMNS.values():
        if column.kind is Kind.ENUM:
            assert column.field is not None
            assert column.field.enum_type is not None
            assert ("", *enum_names(column.field.enum_type).values()) == registry.enum_texts(column.field)
