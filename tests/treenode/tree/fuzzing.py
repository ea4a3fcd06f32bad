"""Updates with nasty values in every field, made from the API's own description: a new kind or field is met at once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from fasttree.v1 import types_pb2
from services.shared.rules import RULE_VERSION

#: How long each fuzz goes on, in seconds; `FASTTREE_FUZZ_S=1800` for a long one.
FUZZ_S = float(os.environ.get("FASTTREE_FUZZ_S", "10"))
#: The first seed; a failure names its own.
FIRST_SEED = int(os.environ.get("FASTTREE_FUZZ_SEED", "1"))
_EXAMPLES = 100

IDS = ["A", "B", "C", "D", "E", "K-12", "a-member-with-a-very-long-id-000"]
#: Values that have been trouble somewhere, for fields that nobody would expect them in too.
NASTY_TEXTS = [
    *("", " ", "\0", "\n", "a\tb", "\x7f", "é", "漢字", "\u202e", "\ud7ff", "\ufeff", "😀" * 16, "x" * 1025, "é" * 600),
    *(
        "1E1000000",
        "12E345678",
        "1e5",
        "-0",
        "+1",
        "--1",
        "1_000",
        " 7",
        "7 ",
        "٧",
        "NaN",
        "Infinity",
        "0x10",
        "1.",
        ".5",
    ),
    *(
        "9" * 40,
        "9" * 41,
        "9" * 5000,
        "-9223372036854775808",
        "9223372036854775807",
        "0." + "0" * 38,
        "0.0000001",
        "1.",
        ".5",
    ),
    *("2026-11", "2026-13", "2026-1", "0000-00", "9999-12", "2026-11-30", "2026-02-30", "0001-01-01", "9999-12-31"),
    *("'; DROP TABLE log; --", "{}", '"', "\\", "%s%n", "PV", "CV", "pv", "city", "team", "points", "ratio", "since"),
    *("fasttree/x", "A" * 32, "A" * 33, "A" * 64, "A" * 65),
]
_INTEGERS = [0, 1, -1, 2, 3, 70, 32_767, 32_768, 2**31 - 1, -(2**31), 2**32 - 1, 2**62, 2**63 - 1, -(2**63), 2**64 - 1]
_BITS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
    FieldDescriptor.CPPTYPE_ENUM: (-(2**31), 2**31 - 1),
}
#: What stands in a field when it makes sense, by the field's name: half of all values, so that updates get far.
_FITTING: dict[str, list[Any]] = {
    "kind": [0, 1, 2],
    "mode": [0, 1, 2],
    "tree": [0, 1, 2],
    "rank": [0, 1, 9],
    "placement_leg": [0, 0, 1, 2],
    "status": ["", "A", "B"],
    "statuses": ["A", "B", "A"],
    "customer_statuses": ["A", "B"],
    "joined_on": ["", "2026-11-30"],
    "amount_hundredths": [1, -1, 100, 12_345],
    "volume_type": ["", "PV", "CV"],
    "period": ["", "2026-11", "2026-10"],
    "position": [1, 2, 3, 5, 8],
    "reason": ["ticket 88"],
    "name": ["shoe size", "points", "Points", "PV"],
    "type": ["text", "integer", "decimal", "date"],
}

texts = st.one_of(st.sampled_from(NASTY_TEXTS), st.sampled_from(IDS), st.text(max_size=70))


def integers(least: int, most: int) -> st.SearchStrategy[int]:
    """Those at the ends, those around powers of two, and any other."""
    return st.one_of(st.sampled_from([each for each in _INTEGERS if least <= each <= most]), st.integers(least, most))


def _value(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return st.dictionaries(texts, texts, max_size=3)
    if field.message_type is not None:
        return messages(field.message_type)
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        fitting = _FITTING.get(field.name, IDS if field.name.endswith("_id") else [])
        nasty = st.binary(max_size=40) if field.type == FieldDescriptor.TYPE_BYTES else texts
        return st.one_of(st.sampled_from(fitting), st.sampled_from(fitting), nasty) if fitting else nasty
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return st.booleans()
    if field.cpp_type == FieldDescriptor.CPPTYPE_DOUBLE:
        return st.one_of(st.sampled_from([0.0, 0.5, 1.0, 100.0]), st.floats())
    numbers = integers(*_BITS[field.cpp_type])
    fitting = _FITTING.get(field.name, [])
    return st.one_of(st.sampled_from(fitting), numbers) if fitting else numbers


def messages(descriptor: Descriptor) -> st.SearchStrategy[dict[str, Any]]:
    """The fields of a message by name: each set or not; of a oneof, one at most."""
    alone = {field.name: _field(field) for field in descriptor.fields if not _is_choice(field)}
    choices = [st.fixed_dictionaries({field.name: _field(field)}) for field in descriptor.fields if _is_choice(field)]
    plain = st.fixed_dictionaries({}, optional=alone)
    if not choices:
        return plain
    return st.builds(lambda some, one: {**some, **one}, plain, st.one_of(st.just({}), *choices, *choices))


def _field(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    return st.lists(_value(field), max_size=3) if _is_list(field) else _value(field)


def _is_list(field: FieldDescriptor) -> bool:
    is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
    return bool(getattr(field, "is_repeated", False)) and not is_map


def _is_choice(field: FieldDescriptor) -> bool:
    """Whether it is one of a oneof that stands in the .proto; `optional` makes one of a single field."""
    return field.containing_oneof is not None and len(field.containing_oneof.fields) > 1


def _is_known(update: types_pb2.Update) -> bool:
    """Whether it does not raise the version: before one that it does not know, the engine stops, and has to."""
    return update.rule_version_raised.version <= RULE_VERSION


updates = st.builds(lambda fields: types_pb2.Update(**fields), messages(types_pb2.Update.DESCRIPTOR))


def _spoiled(update: types_pb2.Update, at: float, junk: bytes, length: int) -> types_pb2.Update | None:
    content = update.SerializeToString()
    place = int(at * len(content))
    try:
        return types_pb2.Update.FromString(content[:place] + junk + content[place + length :])
    except DecodeError:
        return None


#: What bytes on their way may become; None where that is no update any more.
spoiled = st.builds(_spoiled, updates, st.floats(0, 1), st.binary(max_size=4), st.integers(0, 3))
batches = st.lists(st.one_of(updates, updates, spoiled), min_size=1, max_size=12).map(
    lambda batch: [update for update in batch if update is not None and _is_known(update)]
)


def fuzz(check: Callable[[list[types_pb2.Update]], None]) -> Iterator[int]:
    """Sends batches to the check for `FUZZ_S`; yields each seed that is done."""
    ends_s = time.monotonic() + FUZZ_S
    number = FIRST_SEED
    while number == FIRST_SEED or time.monotonic() < ends_s:
        run = settings(
            max_examples=_EXAMPLES,
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )(given(batches)(check))
        try:
            seed(number)(run)()
        except Exception as error:
            error.add_note(f"found by FASTTREE_FUZZ_SEED={number}")
            raise
        yield number
        number += 1
