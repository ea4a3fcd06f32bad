"""Updates as JSON lines.

The form is the proto3 JSON form of fasttree.v1.Update, with three liberties for people:

* field names as in the .proto file (`update_id`); camelCase is taken too;
* `amount` ("12.50" or 12.5) in place of `amount_hundredths`;
* `kind`, `tree`, `mode`, `volume` and `action` by short name ("customer", "placement", "compress", "roll_up", "drop").

    {"update_id": "order-1", "volume_posted": {"member_id": "7", "amount": "12.50"}}
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from google.protobuf import json_format

from fasttree.client.errors import UpdateFormatError
from fasttree.client.forms.amounts import from_hundredths, to_hundredths
from fasttree.client.forms.json_form import (
    ENUM_PREFIXES,
    check_change,
    check_spelled_once,
    check_value,
    digits,
    field_named,
)
from fasttree.v1 import types_pb2

_MEND = (
    'write one object a line, such as {"update_id": "order-1", "volume_posted": {"member_id": "7", "amount": "12.50"}}'
)

CHANGES = (
    "member_enrolled",
    "member_changed",
    "member_moved",
    "member_removed",
    "volume_posted",
    "period_opened",
    "period_closed",
    "volume_type_added",
    "column_declared",
    "import_thresholds_set",
    "removal_rule_set",
    "customer_rule_set",
    "held_settled",
)


def update_from_json(text: str) -> types_pb2.Update:
    """One line as an Update. Raises UpdateFormatError, which says what does not fit."""
    try:
        content = json.loads(text, parse_float=Decimal, object_pairs_hook=_each_once)
    except json.JSONDecodeError as error:
        raise UpdateFormatError(f"not JSON from character {error.pos + 1} on: {_MEND}") from None
    except (ValueError, RecursionError):
        raise UpdateFormatError(f"not JSON: {_MEND}") from None
    if not isinstance(content, dict):
        raise UpdateFormatError(f"not a JSON object: {_MEND}")
    _check(content)
    try:
        update = json_format.ParseDict({key: _plain(value) for key, value in content.items()}, types_pb2.Update())
    except (json_format.ParseError, ValueError, TypeError):
        raise UpdateFormatError("a value does not fit where it stands; docs/updates.md shows each field") from None
    if not update.update_id:
        raise UpdateFormatError(
            'update_id is missing: give each change the name that its source has for it, such as "order-1"'
        )
    if update.WhichOneof("change") is None:
        raise UpdateFormatError(f"no change in it: add one of {', '.join(CHANGES)}")
    order = content.get("volume_posted") or content.get("volumePosted")
    if order is not None and not {"amount", "amount_hundredths", "amountHundredths"} & order.keys():
        raise UpdateFormatError('volume_posted has no amount: add "amount": "12.50", or a negative one for a return')
    return update


def _each_once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise UpdateFormatError("a field stands there twice: leave one of them")
    return content


def _check(content: dict[str, Any]) -> None:
    """Raises UpdateFormatError, in words of the one who wrote it."""
    form, changes = types_pb2.Update.DESCRIPTOR, []
    check_spelled_once("the update", content, form)
    for name, value in content.items():
        field = field_named(name, form)
        if field is None:
            raise UpdateFormatError(
                f"there is no field {json.dumps(name[:48], ensure_ascii=False)} in an update: it has update_id and one "
                f"of {', '.join(CHANGES)}"
            )
        if value is None:
            continue
        if field.message_type is None:
            check_value(field.name, value, field)
            continue
        check_change(field.name, value, field.message_type)
        changes.append(field.name)
    if len(changes) > 1:
        raise UpdateFormatError(f"{' and '.join(changes)} in one update: give each an update of its own")


def update_to_json(update: types_pb2.Update) -> str:
    """The line that `update_from_json` reads: short names, amounts as decimals, default values left out."""
    content: dict[str, Any] = json_format.MessageToDict(update, preserving_proto_field_name=True)
    for name, change in content.items():
        if not isinstance(change, dict):
            continue
        if name == "volume_posted":
            change["amount"] = from_hundredths(int(change.pop("amount_hundredths", 0)))
        if "position" in change:
            change["position"] = int(change["position"])
        for field, prefix in ENUM_PREFIXES.items():
            if field in change:
                change[field] = str(change[field]).removeprefix(prefix).lower()
    return json.dumps(content, ensure_ascii=False)


def _plain(value: Any) -> Any:
    """The change in protobuf's own JSON form."""
    if not isinstance(value, dict):
        return value
    plain: dict[str, Any] = {}
    for key, entry in value.items():
        prefix = ENUM_PREFIXES.get(key)
        if key == "amount":
            plain["amount_hundredths"] = to_hundredths(_amount_text(entry))
        elif prefix is not None and isinstance(entry, str) and not entry.startswith(prefix):
            plain[key] = prefix + entry.upper()
        elif isinstance(entry, Decimal):
            # A Decimal is only there so that amounts stay exact; whole fields take whole numbers as 5.0 too.
            plain[key] = float(entry)
        else:
            plain[key] = entry
    return plain


def _amount_text(entry: Any) -> str:
    if isinstance(entry, bool) or not isinstance(entry, (str, int, Decimal)):
        raise UpdateFormatError(f"amount is {entry!r}: write a number with at most two decimals, such as 12.50")
    return digits(entry) if isinstance(entry, Decimal) else str(entry)
