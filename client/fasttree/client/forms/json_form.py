"""What does not fit in the JSON of an update, in words that its writer knows: the place, the value, the mend."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from fasttree.client.errors import UpdateFormatError

#: Liberties for people: fields that a change may have under another name.
WRITTEN_AS = {"amount_hundredths": "amount"}
#: Short names: field -> prefix of the enum's values.
ENUM_PREFIXES = {
    "kind": "MEMBER_KIND_",
    "tree": "TREE_",
    "mode": "REMOVAL_MODE_",
    "volume": "REMOVAL_VOLUME_",
    "action": "HELD_ACTION_",
}
_FIELDS_WRITTEN_SO = {short: field for field, short in WRITTEN_AS.items()}
_BITS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
#: As long as a number of 64 bits, and a little more.
_DIGITS_MAX = 40
_FRACTIONS = (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE)
_NUMBER = re.compile(rf"-?[0-9]{{1,{_DIGITS_MAX}}}(?:\.[0-9]{{1,{_DIGITS_MAX}}})?")
_WHOLE = re.compile(rf"-?[0-9]{{1,{_DIGITS_MAX}}}")
_HALF = re.compile("[\ud800-\udfff]")
_SHOWN_CHARACTERS = 48


def digits(number: Decimal) -> str:
    """A number without an exponent, unless that would be no number that an update can hold."""
    return f"{number:f}" if number.is_finite() and abs(number.adjusted()) <= _DIGITS_MAX else str(number)


def check_change(place: str, content: Any, form: Descriptor) -> None:
    """Raises UpdateFormatError where a change's content is none of its form. `place`: how the change is named."""
    if not isinstance(content, dict):
        raise UpdateFormatError(f'{place} is {_shown(content)}: write an object, such as {{"member_id": "7"}}')
    check_spelled_once(place, content, form)
    _check_one_of_each(place, content, form)
    for name, value in content.items():
        if name in WRITTEN_AS.values():
            continue
        field = field_named(name, form)
        if field is None:
            raise UpdateFormatError(f"there is no field {_shown(name)} in {place}: it has {', '.join(_names(form))}")
        if value is not None:
            check_value(field.name, value, field)


def _check_one_of_each(place: str, content: dict[str, Any], form: Descriptor) -> None:
    """Raises UpdateFormatError where two fields stand there of which only one can."""
    for choice in form.oneofs:
        named = [name for name in content if (field := field_named(name, form)) and field.containing_oneof is choice]
        if len(named) > 1:
            raise UpdateFormatError(f"{' and '.join(named)} in {place}: leave one of them")


def check_spelled_once(place: str, content: Iterable[str], form: Descriptor) -> None:
    """Raises UpdateFormatError where a field stands there under two of its names: which one is meant?"""
    names: dict[str, str] = {}
    for name in content:
        field = field_named(name, form)
        known = field.name if field is not None else _FIELDS_WRITTEN_SO.get(name, name)
        if known in names:
            raise UpdateFormatError(
                f"{_shown(names[known])} and {_shown(name)} in {place} are one field: leave one of them"
            )
        names[known] = name


def field_named(name: str, form: Descriptor) -> FieldDescriptor | None:
    """The field of a name as in the .proto file, or as in proto3's JSON."""
    return form.fields_by_name.get(name) or form.fields_by_camelcase_name.get(name)


def _names(form: Descriptor) -> Iterable[str]:
    return (WRITTEN_AS.get(field.name, field.name) for field in form.fields)


def check_value(place: str, value: Any, field: FieldDescriptor) -> None:
    """Raises UpdateFormatError where a field can't hold the value."""
    if field.message_type is not None:
        if not field.message_type.GetOptions().map_entry:
            return
        if not isinstance(value, dict):
            raise UpdateFormatError(f'{place} is {_shown(value)}: write an object, such as {{"city": "Oslo"}}')
        for name, text in value.items():
            _check_text(f"a name in {place}", name)
            _check_text(f"{place}, {_shown(name)},", text)
    elif field.is_repeated:
        return
    elif field.enum_type is not None:
        _check_enum(place, value, field.enum_type, ENUM_PREFIXES.get(field.name, ""))
    elif field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        _check_text(place, value)
    elif field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        if not isinstance(value, bool):
            raise UpdateFormatError(f"{place} is {_shown(value)}: write true or false")
    elif field.cpp_type in _FRACTIONS:
        _check_number(place, value)
    elif field.cpp_type in _BITS:
        _check_whole(place, value, *_BITS[field.cpp_type])


def _check_text(place: str, value: Any) -> None:
    if not isinstance(value, str):
        raise UpdateFormatError(f"{place} is {_shown(value)}: write a text, in quotes")
    if _HALF.search(value):
        raise UpdateFormatError(f"{place} holds half a character, such as \\ud83d alone: write whole ones")


def _check_enum(place: str, value: Any, form: EnumDescriptor, prefix: str) -> None:
    if isinstance(value, str):
        known = value in form.values_by_name or prefix + value.upper() in form.values_by_name
    else:
        known = isinstance(value, int) and not isinstance(value, bool) and value in form.values_by_number
    if not known:
        short = [each.name.removeprefix(prefix).lower() for each in form.values if each.number]
        raise UpdateFormatError(f"{place} is {_shown(value)}: write one of {', '.join(short)}")


def _check_whole(place: str, value: Any, lowest: int, highest: int) -> None:
    text = digits(value) if isinstance(value, Decimal) else str(value)
    whole, _, rest = text.partition(".")
    if isinstance(value, bool) or not _WHOLE.fullmatch(whole) or rest.strip("0"):
        raise UpdateFormatError(f"{place} is {_shown(value)}: write a whole number")
    if not lowest <= int(whole) <= highest:
        raise UpdateFormatError(f"{place} is {_shown(value)}: write a number from {lowest} to {highest}")


def _check_number(place: str, value: Any) -> None:
    text = digits(value) if isinstance(value, Decimal) else str(value)
    if isinstance(value, bool) or not _NUMBER.fullmatch(text):
        raise UpdateFormatError(f"{place} is {_shown(value)}: write a number, such as 12.5")


def _shown(value: Any) -> str:
    """A value as JSON has it, on one line, cut where it is long."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = {True: "true", False: "false", None: "null"}[value] if isinstance(value, bool | None) else str(value)
    cut = text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
    plain = cut if cut.isprintable() else cut.encode("unicode_escape").decode()
    return f'"{plain}"' if isinstance(value, str) else plain
