"""A layout: the fields of a record in their order, and which change of a member each record is. A TOML file:

    change = "volume_posted"
    update_id = "order-{order}"
    ends = "line"

    [[fields]]
    name = "order"
    picture = "X(10)"

    [[fields]]
    name = "member_id"
    picture = "9(9)"

    [[fields]]
    name = "amount"
    picture = "S9(7)V99"

Fields are named as those of an update; any other name may only stand in `update_id`. `filler` is for bytes that nobody
asks for. Without `update_id` a record is known by the name of its file and its number in it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from services.datatrax.layouts.pictures import BYTES_MAX, Picture, picture_of
from services.shared.domain.sentences import quoted
from services.shared.forms import Form
from services.shared.mapping.formats import DATE_FORMAT_FORM, DayFormat

LAYOUT_BYTES_MAX: Final = 64 << 10
FIELDS_MAX: Final = 256
RECORD_BYTES_MAX: Final = 32 << 10
FILLER: Final = "filler"
#: What `date` may be beside a day's format: a commission period.
MONTH: Final = "YYYYMM"
_ENCODINGS: Final = {"ascii": "ascii", "latin-1": "latin-1", "ebcdic": "cp037"}
_LINE: Final = "line"
_NONE: Final = "none"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}|columns\.[^\x00-\x1f\x7f]{1,64}")
_PLACE = re.compile(r"\{([^{}]*)\}")


class LayoutError(ValueError):
    """A layout that can't be: one line, with the place and the mend."""


class RecordError(ValueError):
    """A record that is none of its layout's: one line, with the field and the mend."""


class _FieldSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    picture: str
    #: The first byte, from 1; empty: right behind the field before.
    at: int | None = None
    #: How days are written in it, or YYYYMM for a period.
    date: str = ""
    #: What stands in the file, and what it is here; anything else is an error.
    values: dict[str, str] = {}


class _LayoutSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    change: str
    fields: list[_FieldSection]
    update_id: str = ""
    record_bytes: int | None = None
    ends: str = _LINE
    encoding: str = "ascii"


_FORM: Final = Form[_LayoutSection](_LayoutSection)


class Field(NamedTuple):
    """One field of a record."""

    name: str
    picture: Picture
    #: Its first byte, from 0, and the one behind it.
    start: int
    end: int
    date: DayFormat | None
    is_month: bool
    values: dict[str, str]

    @property
    def place(self) -> str:
        """For people, who count bytes from 1."""
        return f"{self.name} (bytes {self.start + 1} to {self.end})"


class Layout(NamedTuple):
    """A layout, as `layout_of` made it."""

    change: str
    fields: tuple[Field, ...]
    #: With {field} in it; empty: a record's place in its file.
    update_id: str
    record_bytes: int
    #: A line's end stands behind each record.
    has_lines: bool
    #: As Python names it.
    encoding: str

    def _length_problem(self, record: bytes) -> str:
        return f"the record has {len(record):,} bytes, the layout {self.record_bytes:,}: correct it, or the layout"

    def texts_of(self, record: bytes) -> dict[str, str]:
        """The fields' texts, those that are empty left out. Raises RecordError."""
        if len(record) > self.record_bytes:
            raise RecordError(self._length_problem(record))
        if len(record) < self.record_bytes:
            if not self.has_lines:
                raise RecordError(self._length_problem(record))
            record = record.ljust(self.record_bytes)  # programs leave out the blanks at a line's end
        texts = {}
        for field in self.fields:
            if field.name == FILLER:
                continue
            try:
                text = _text(field, field.picture.text_of(record[field.start : field.end], self.encoding))
            except ValueError as error:
                raise RecordError(f"{field.place}: {error}") from None
            if text:
                texts[field.name] = text
        return texts

    def id_of(self, texts: Mapping[str, str], fallback: str) -> str:
        """The update's id. Raises RecordError where a field of it is empty."""
        if not self.update_id:
            return fallback

        def put(found: re.Match[str]) -> str:
            text = texts.get(found[1], "")
            if not text:
                raise RecordError(f"{found[1]} is empty, and update_id is made of it: fill it in")
            return text

        return _PLACE.sub(put, self.update_id)


def _text(field: Field, text: str) -> str:
    if field.values and text:
        if text not in field.values:
            raise ValueError(
                f"{quoted(text)} is none of {', '.join(field.values)}: correct it, or add it to the layout"
            )
        return field.values[text]
    if field.date is None and not field.is_month:
        return text
    if not text.strip("0"):
        return ""  # what programs write where they have no day
    if field.is_month:
        digits = text.zfill(len(MONTH))
        if not re.fullmatch("[0-9]{6}", digits):
            raise ValueError(f"{quoted(text)} is not a month written as {MONTH}: correct it, or leave it empty")
        return f"{digits[:4]}-{digits[4:]}"
    assert field.date is not None
    written = text.zfill(len(field.date.text)) if field.picture.is_number else text
    day = field.date.canonical(written)
    if day is None:
        raise ValueError(field.date.problem.format(value=quoted(text)))
    return day


def layout_of(content: bytes) -> Layout:
    """Reads a layout file. Raises LayoutError, which names the place and the mend."""
    if len(content) > LAYOUT_BYTES_MAX:
        raise LayoutError(f"longer than {LAYOUT_BYTES_MAX:,} bytes: a layout is far shorter")
    try:
        found = tomllib.loads(content.decode("utf-8-sig"))
        section = _FORM.of(found)
    except UnicodeDecodeError:
        raise LayoutError("it is not UTF-8: save it as UTF-8") from None
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, RecursionError) as error:
        raise LayoutError(f"{error}; docs/datatrax.md has an example") from None
    if section.encoding not in _ENCODINGS:
        raise LayoutError(f"encoding {quoted(section.encoding)}: must be {' or '.join(_ENCODINGS)}")
    if section.ends not in (_LINE, _NONE):
        raise LayoutError(f"ends {quoted(section.ends)}: must be {_LINE} or {_NONE}")
    fields = _fields(section)
    end = max(field.end for field in fields)
    record_bytes = end if section.record_bytes is None else section.record_bytes
    if not end <= record_bytes <= RECORD_BYTES_MAX:
        raise LayoutError(
            f"record_bytes is {record_bytes:,}: must be {end:,} (the fields' end) to {RECORD_BYTES_MAX:,}"
        )
    if section.ends == _LINE and (section.encoding == "ebcdic" or any(field.picture.is_packed for field in fields)):
        raise LayoutError(f'its bytes may look like the end of a line: set ends = "{_NONE}", and write none')
    _check_id(section.update_id, {field.name for field in fields})
    return Layout(
        section.change, tuple(fields), section.update_id, record_bytes, section.ends == _LINE,
        _ENCODINGS[section.encoding],
    )  # fmt: skip


def _fields(section: _LayoutSection) -> list[Field]:
    if not 1 <= len(section.fields) <= FIELDS_MAX:
        raise LayoutError(f"{len(section.fields)} fields: 1 to {FIELDS_MAX}, each below a line [[fields]]")
    fields: list[Field] = []
    for number, each in enumerate(section.fields, 1):
        place = f"field {number} ({quoted(each.name)})"
        if not _NAME.fullmatch(each.name):
            raise LayoutError(f"{place}: a name has small letters, digits and _, or is columns.NAME")
        if each.name != FILLER and any(field.name == each.name for field in fields):
            raise LayoutError(f"{place}: the name stands there twice: call one of them {FILLER}, or as it is meant")
        try:
            picture = picture_of(each.picture)
        except ValueError as error:
            raise LayoutError(f"{place}: picture {quoted(each.picture)}: {error}") from None
        start = (fields[-1].end if fields else 0) if each.at is None else each.at - 1
        if not 0 <= start <= RECORD_BYTES_MAX - BYTES_MAX:
            raise LayoutError(f"{place}: begins at byte {start + 1:,}: must be 1 to {RECORD_BYTES_MAX - BYTES_MAX:,}")
        end = start + picture.byte_count
        fields.append(Field(each.name, picture, start, end, *_date(place, each), each.values))
    return fields


def _date(place: str, section: _FieldSection) -> tuple[DayFormat | None, bool]:
    if not section.date or section.date == MONTH:
        return None, section.date == MONTH
    try:
        return DayFormat(section.date), False
    except ValueError:
        raise LayoutError(f"{place}: date {quoted(section.date)}: {DATE_FORMAT_FORM}, or {MONTH}") from None


def _check_id(update_id: str, names: set[str]) -> None:
    places: list[Any] = _PLACE.findall(update_id)
    for name in places:
        if name not in names or name == FILLER:
            raise LayoutError(f"update_id names {{{name}}}, which is no field; there are {', '.join(sorted(names))}")
    if update_id and not places:
        raise LayoutError("update_id is the same for every record: put a field in it, such as order-{order}")
    if set("{}") & set(_PLACE.sub("", update_id)):
        raise LayoutError("update_id has a brace that is not closed: write {field}")
