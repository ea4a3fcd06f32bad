"""Updates as rows of texts: names of fields, and what stands in each, for one kind of change.

What a row says is held to the rules of JSON lines: it becomes such an object first.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from fasttree.client.errors import UpdateFormatError
from fasttree.client.forms.amounts import to_hundredths
from fasttree.client.forms.json_form import WRITTEN_AS
from fasttree.client.forms.update_json import update_from_json
from fasttree.v1 import types_pb2

UPDATE_ID = "update_id"
#: How a row names a further column of a member.
_FURTHER = "columns."
_ORDER = "volume_posted"
_ORDER_TEXTS = {"member_id", "volume_type", "period"}
_TRUTHS = {"true": True, "false": False}


class RowForm:
    """The fields that rows of one kind of change may have."""

    def __init__(self, change: str) -> None:
        """`change`: the field of an update that the rows are. Raises UpdateFormatError where there is none."""
        field = types_pb2.Update.DESCRIPTOR.fields_by_name.get(change)
        if field is None or field.message_type is None:
            raise UpdateFormatError(f"there is no change {_shown(change)}: volume_posted is an order")
        self.change = change
        self._form: Descriptor = field.message_type
        self.known = [UPDATE_ID, *(WRITTEN_AS.get(each.name, each.name) for each in self._form.fields)]
        self._has_columns = "columns" in self.known

    def name_of(self, written: str) -> str:
        """A field's name, whatever its case. Raises UpdateFormatError, which offers those that there are."""
        if self._has_columns and written.lower().startswith(_FURTHER) and len(written) > len(_FURTHER):
            return _FURTHER + written[len(_FURTHER) :]
        if (name := written.lower()) in self.known and name != "columns":
            return name
        near = difflib.get_close_matches(name, self.known, n=1)
        known = [each for each in self.known if each != "columns"] + [f"{_FURTHER}NAME"] * self._has_columns
        mend = f"did you mean {near[0]}? " if near else ""
        raise UpdateFormatError(
            f"there is no field {_shown(written)} in {self.change}: {mend}it has {', '.join(known)}"
        )

    def update_of(self, texts: Iterable[tuple[str, str]]) -> types_pb2.Update:
        """The update of a row: names, as `name_of` has them, with their texts. An empty text is left out.

        Raises UpdateFormatError.
        """
        texts = [*texts]
        if self.change == _ORDER and (order := _order_of(texts)) is not None:
            return order
        content: dict[str, Any] = {}
        change: dict[str, Any] = {}
        for name, text in texts:
            if not text:
                continue
            if name == UPDATE_ID:
                content[name] = text
            elif name.lower().startswith(_FURTHER):
                change.setdefault("columns", {})[name[len(_FURTHER) :]] = text
            else:
                field = self._form.fields_by_name.get(name)
                is_truth = field is not None and field.cpp_type == FieldDescriptor.CPPTYPE_BOOL
                change[name] = _TRUTHS.get(text.lower(), text) if is_truth else text
        return update_from_json(json.dumps(content | {self.change: change}))


def _order_of(texts: list[tuple[str, str]]) -> types_pb2.Update | None:
    """An order, of which a file has millions, as the rules of JSON lines make it; None where it takes those to tell."""
    fields = {name: text for name, text in texts if text}
    update_id, amount = fields.pop(UPDATE_ID, ""), fields.pop("amount", "")
    if not update_id or not amount or not fields.keys() <= _ORDER_TEXTS:
        return None
    try:
        posted = types_pb2.VolumePosted(amount_hundredths=to_hundredths(amount), **fields)
        return types_pb2.Update(update_id=update_id, volume_posted=posted)
    except (UpdateFormatError, ValueError):
        return None


def _shown(name: str) -> str:
    return json.dumps(name[:48], ensure_ascii=False)
