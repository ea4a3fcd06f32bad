"""The doors through which a value comes into a tree, each with what became of it.

Every door is given one member, "case" (or the id that is tried), below "1" in both trees, that has the value in the
field that is tried, and two more beside it that are plain. A door answers with the value as the tree has it, or with
None where it was refused: the two beside it are taken by the engine all the same.
"""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fasttree.v1 import report_pb2, types_pb2
from services.shared.domain.amounts import amount_text
from services.shared.domain.updates import update_problem
from services.shared.rules import Rules, rules_of
from services.shared.wire.record import content_bytes
from services.treenode.imports.reading import ImportRefusedError, read_import
from services.treenode.reports.copy.extents import catalogue_of
from services.treenode.reports.encode.single import MemberEncoder
from services.treenode.reports.plan.choice import choose
from services.treenode.tree import Tree
from tests.shared.domain.corpus import Field
from tests.treenode.tree import reads

Value = str | int
#: What a door makes of a value; None: it was refused.
Door = Callable[[Field, Value], Value | None]

CONFIG = rules_of(("PV",), ("2026-11",))
_FURTHER = (Field.TEXT, Field.INTEGER, Field.DECIMAL, Field.DATE)
#: How a header declares the further columns: what is not declared is a text.
_DECLARED = {Field.INTEGER: "points:integer", Field.DECIMAL: "ratio:decimal", Field.DATE: "since:date"}
#: The other columns of files.
_COLUMNS = ("member_id", "sponsor_id", "placement_id", "placement_leg", "kind", "status", "rank", "joined_on", "pv")
_ROOT = {"member_id": "1", "note": "a text", "points": "1", "ratio": "1.5", "since": "2026-01-31"}
_BESIDE = ("before", "after")
_LINKS = (Field.SPONSOR_ID, Field.PLACEMENT_ID)


def case_id(field: Field, value: Value) -> str:
    """The member that has the value."""
    return str(value) if field is Field.MEMBER_ID else "case"


# --- updates ----------------------------------------------------------------------------------------------------------


def updates_of(field: Field, value: Value) -> list[types_pb2.Update]:
    """Updates of which the last one holds the value; those before it make room for it."""
    member_id = case_id(field, value)
    enrolled = types_pb2.MemberEnrolled(member_id=member_id, sponsor_id="1", placement_id="1")
    if field in (Field.AMOUNT, Field.PERIOD):
        posted = types_pb2.VolumePosted(member_id=member_id, amount_hundredths=1)
        setattr(posted, "amount_hundredths" if field is Field.AMOUNT else field, value)
        return [_enrol(enrolled), types_pb2.Update(update_id="order", volume_posted=posted)]
    _set(enrolled, field, value)
    return [*_above(field, value), _enrol(enrolled)]


def _enrol(enrolled: types_pb2.MemberEnrolled) -> types_pb2.Update:
    return types_pb2.Update(update_id="enrol", member_enrolled=enrolled)


def _set(message: types_pb2.MemberEnrolled | types_pb2.MemberChanged, field: Field, value: Value) -> None:
    if field is Field.COLUMN_NAME:
        message.columns[str(value)] = "x"
    elif field in _FURTHER:
        message.columns[field] = str(value)
    else:
        setattr(message, field, value)


def _above(field: Field, value: Value) -> list[types_pb2.Update]:
    """Whom the case goes below."""
    if field not in _LINKS or value in ("", "case"):
        return []
    return [types_pb2.Update(update_id="above", member_enrolled=types_pb2.MemberEnrolled(member_id=str(value)))]


def changes_of(field: Field, value: Value) -> list[types_pb2.Update]:
    """The same where the value comes later, to a member that is there; for fields that can be changed."""
    enrol = _enrol(types_pb2.MemberEnrolled(member_id="case", sponsor_id="1", placement_id="1"))
    if field in _LINKS or field is Field.PLACEMENT_LEG:
        tree = types_pb2.TREE_SPONSOR if field is Field.SPONSOR_ID else types_pb2.TREE_PLACEMENT
        moved = types_pb2.MemberMoved(member_id="case", tree=tree)
        if field is Field.PLACEMENT_LEG:
            moved.new_parent_id, moved.placement_leg = "1", int(value)
        else:
            moved.new_parent_id = str(value)
        return [enrol, *_above(field, value), types_pb2.Update(update_id="move", member_moved=moved)]
    changed = types_pb2.MemberChanged(member_id="case")
    _set(changed, field, value)
    return [enrol, types_pb2.Update(update_id="change", member_changed=changed)]


def pushed(field: Field, value: Value) -> Value | None:
    """The pusher's check of the form, then the engine, with the bytes that the log would have."""
    updates = updates_of(field, value)
    if update_problem(updates[-1]) is not None:
        return None
    decoded = [types_pb2.Update.FromString(content_bytes(update)) for update in updates]
    return _engine(field, value, decoded)


def applied(field: Field, value: Value) -> Value | None:
    """The engine, with whatever may stand in a log."""
    return _engine(field, value, updates_of(field, value))


def applied_later(field: Field, value: Value) -> Value | None:
    """The engine, with a change to a member that is there; what only an enrolment can have comes by one."""
    if field in (Field.MEMBER_ID, Field.AMOUNT, Field.PERIOD):
        return applied(field, value)
    return _engine(field, value, changes_of(field, value))


def _engine(field: Field, value: Value, updates: list[types_pb2.Update]) -> Value | None:
    """The last update alone, and amid others of its kind, as the engine takes them by the batch: both say the same."""
    outcomes = []
    for beside in (False, True):
        tree = _tree_for(field, value)
        tree.apply(tree.position + 1, updates[:-1])
        batch = [updates[-1]]
        if beside:
            first, last = (_beside(updates[-1], name) for name in _BESIDE)
            batch = [first, updates[-1], last]
        rejected = tree.rejected_count
        tree.apply(tree.position + 1, batch)
        tree.validate()
        assert tree.held_count == 0
        assert tree.rejected_count - rejected <= 1
        outcomes.append(value_in(tree, field, value) if tree.rejected_count == rejected else None)
        if beside and updates[-1].HasField("member_enrolled"):
            assert all(reads.row_of(tree, name) >= 0 for name in _BESIDE)
    assert outcomes[0] == outcomes[1]
    return outcomes[0]


def _beside(update: types_pb2.Update, name: str) -> types_pb2.Update:
    """A plain update of the same kind."""
    if update.HasField("member_enrolled"):
        return types_pb2.Update(update_id=name, member_enrolled=types_pb2.MemberEnrolled(member_id=name))
    if update.HasField("volume_posted"):
        return types_pb2.Update(
            update_id=name, volume_posted=types_pb2.VolumePosted(member_id="1", amount_hundredths=0)
        )
    return types_pb2.Update(update_id=name, member_changed=types_pb2.MemberChanged(member_id="1"))


def _tree_for(field: Field, value: Value) -> Tree:
    """A tree with "1", and with what the value needs, where a good file can give it: its column, its period."""
    rows = [_ROOT]
    if field is Field.COLUMN_NAME:
        tree = _read_csv([*_FURTHER, _written(value)], [_ROOT | {_written(value): "a text"}])
    elif field is Field.PERIOD:
        rules = rules_of(("PV",), tuple(dict.fromkeys(("2026-11", str(value)))))
        tree = _read_csv([*_FURTHER, f"pv:{value}"], [_ROOT], rules)
    else:
        return Tree.from_table(_table(_write_csv, _FURTHER, rows), CONFIG, 1, 0)
    return tree if tree is not None else Tree.from_table(_table(_write_csv, _FURTHER, rows), CONFIG, 1, 0)


# --- files ------------------------------------------------------------------------------------------------------------


def read_csv(field: Field, value: Value) -> Value | None:
    """An import file, CSV."""
    return _file(_write_csv, field, value)


def read_parquet(field: Field, value: Value) -> Value | None:
    """An import file, Parquet, every column a text."""
    return _file(_write_parquet, field, value)


def read_typed_parquet(field: Field, value: Value) -> Value | None:
    """An import file, Parquet, numbers and amounts as such."""
    return _file(_write_typed_parquet, field, value)


FILE_DOORS: Mapping[str, Door] = {"csv": read_csv, "parquet": read_parquet, "typed parquet": read_typed_parquet}
UPDATE_DOORS: Mapping[str, Door] = {"pushed": pushed, "applied": applied, "applied later": applied_later}


def _file(write: Callable[..., None], field: Field, value: Value) -> Value | None:
    row = {"member_id": case_id(field, value), "sponsor_id": "1", "placement_id": "1"}
    further: list[str] = list(_FURTHER)
    rows = [_ROOT]
    if field is Field.COLUMN_NAME:
        further.append(_written(value))
        row[_written(value)] = "x"
    elif field is Field.PERIOD:
        further.append(f"pv:{value}")
        row[f"pv:{value}"] = "0.01"
    elif field is Field.AMOUNT:
        row[field] = amount_text(int(value))
    elif field is Field.KIND:
        row[field] = {1: "distributor", 2: "customer"}.get(int(value), str(value))
    else:
        row[field] = str(value)
    if field in _LINKS and value not in ("", "case"):
        rows = [*rows, {"member_id": str(value)}]
    rows += [{"member_id": _BESIDE[0]}, row, {"member_id": _BESIDE[1]}]
    try:
        table = _table(write, further, rows)
    except ImportRefusedError:
        return None
    tree = Tree.from_table(table, CONFIG, 1, 0)
    tree.validate()
    return value_in(tree, field, value)


def _header(name: str) -> str:
    """A column as a header writes it."""
    return _DECLARED.get(name, name)  # type: ignore[call-overload, no-any-return]


def _written(name: Value) -> str:
    """A further column of texts as a header writes it."""
    return f"{name}:text" if ":" in str(name) else str(name)


def _read_csv(further: list[str], rows: list[dict[str, str]], rules: Rules = CONFIG) -> Tree | None:
    try:
        return Tree.from_table(_table(_write_csv, further, rows), rules, 1, 0)
    except ImportRefusedError:
        return None


def _table(write: Callable[..., None], further: Any, rows: list[dict[str, str]]) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("import.csv" if write is _write_csv else "import.parquet")
        write(path, [*_COLUMNS, *further], rows)
        return read_import(path)


def _write_csv(path: Path, columns: list[str], rows: list[dict[str, str]]) -> None:
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="", lineterminator="\r\n")
    writer.writerow({name: _header(name) for name in columns})
    writer.writerows(rows)
    path.write_text(out.getvalue(), encoding="utf-8", newline="")


def _write_parquet(path: Path, columns: list[str], rows: list[dict[str, str]]) -> None:
    arrays = [pa.array([row.get(name, "") for row in rows], pa.string()) for name in columns]
    pq.write_table(pa.Table.from_arrays(arrays, names=[_header(name) for name in columns]), path)


def _write_typed_parquet(path: Path, columns: list[str], rows: list[dict[str, str]]) -> None:
    def array(name: str) -> Any:
        texts = [row.get(name) or None for row in rows]
        if name in (Field.RANK, Field.PLACEMENT_LEG):
            return pa.array([None if text is None else int(text) for text in texts], pa.int64())
        if name == Field.AMOUNT:
            return pa.array([None if text is None else Decimal(text) for text in texts], pa.decimal128(21, 2))
        if name == Field.INTEGER:
            return pa.array([None if text is None else int(text) for text in texts], pa.int64())
        if name == Field.DATE:
            return pa.array([None if text is None else date.fromisoformat(text) for text in texts], pa.date32())
        return pa.array(texts, pa.string())

    # A column's own type declares what it holds.
    own = (Field.INTEGER, Field.DATE)
    names = [name if name in own else _header(name) for name in columns]
    pq.write_table(pa.Table.from_arrays([array(name) for name in columns], names=names), path)


# --- what came of it --------------------------------------------------------------------------------------------------


def value_in(tree: Tree, field: Field, value: Value) -> Value:
    """The field of the member that has the value, as a report shows it."""
    options = report_pb2.ReportOptions(columns=["*"], period=str(value) if field is Field.PERIOD else "")
    encoded = MemberEncoder().encode(tree, choose(options, catalogue_of(tree)), case_id(field, value))
    member = report_pb2.GetMemberResponse.FromString(encoded).member
    if field is Field.PERIOD:
        return value if member.pv_hundredths == 1 else ""
    if field is Field.COLUMN_NAME:
        return next(name for name, text in member.columns.items() if text == "x")
    if field in _FURTHER:
        return member.columns.get(field, "")
    found: Value = member.pv_hundredths if field is Field.AMOUNT else getattr(member, field)
    return found
