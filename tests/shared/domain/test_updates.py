"""The form of updates: what is malformed is named, in the words of the rule."""

from __future__ import annotations

import subprocess
import sys

import pytest
from google.protobuf import json_format

from fasttree.v1 import types_pb2
from services.shared.domain.updates import size_problem, update_problem


def order(update_id: str = "o-1", member_id: str = "7", amount: int = 100) -> types_pb2.Update:
    return types_pb2.Update(
        update_id=update_id, volume_posted=types_pb2.VolumePosted(member_id=member_id, amount_hundredths=amount)
    )


def parsed(**change: object) -> types_pb2.Update:
    return json_format.ParseDict({"update_id": "x", **change}, types_pb2.Update())


def test_good_updates_have_no_problem() -> None:
    enrolled = types_pb2.MemberEnrolled(member_id="8", sponsor_id="7", joined_on="2024-02-29", rank=3, status="A")
    moved = types_pb2.MemberMoved(member_id="8", new_parent_id="7", tree=types_pb2.TREE_PLACEMENT, placement_leg=2)
    for update in (
        order(),
        types_pb2.Update(update_id="e", member_enrolled=enrolled),
        types_pb2.Update(update_id="c", member_changed=types_pb2.MemberChanged(member_id="8", rank=4)),
        types_pb2.Update(update_id="m", member_moved=moved),
        types_pb2.Update(update_id="r", member_removed=types_pb2.MemberRemoved(member_id="8")),
    ):
        assert update_problem(update) is None


@pytest.mark.parametrize(
    ("update", "said"),
    [
        (types_pb2.Update(update_id="x"), "holds no change"),
        (order(update_id=""), "update_id"),
        (order(update_id="u" * 65), "update_id"),
        (order(member_id=""), "member_id"),
        (order(member_id="m" * 33), "member_id"),
        (order(member_id=" 7"), "member_id"),
        (order(member_id="7\n"), "member_id"),
        (order(member_id="é"), "member_id"),
        (order(amount=-(2**63)), "amount_hundredths"),
        (parsed(volume_posted={"member_id": "7", "period": "2026-13"}), "period"),
        (parsed(volume_posted={"member_id": "7", "volume_type": "P V"}), "volume_type"),
        (parsed(volume_posted={"member_id": "7", "volume_type": "P" * 17}), "volume_type"),
        (parsed(member_enrolled={"member_id": "7", "sponsor_id": "7"}), "sponsor_id is the member itself"),
        (parsed(member_moved={"member_id": "7", "new_parent_id": "7"}), "new_parent_id is the member itself"),
        (parsed(member_moved={"member_id": "7", "new_parent_id": "8", "placement_leg": 1}), "placement_leg"),
        (parsed(member_enrolled={"member_id": "7", "joined_on": "2023-02-29"}), "joined_on"),
        (parsed(member_enrolled={"member_id": "7", "rank": -1}), "rank"),
        (parsed(member_enrolled={"member_id": "7", "placement_leg": 1}), "placement_leg"),
        (parsed(member_enrolled={"member_id": "7", "columns": {"c": "x" * 1025}}), "column c"),
        (parsed(member_changed={"member_id": "7", "status": "s" * 17}), "status"),
        (parsed(member_moved={"member_id": "7", "tree": 9}), "tree"),
        (parsed(member_removed={"member_id": "7", "mode": 9}), "mode"),
        (parsed(held_settled={"position": 5, "reason": "why"}), "HELD_ACTION_DROP or HELD_ACTION_RETRY"),
        (parsed(held_settled={"action": 1, "reason": "why"}), "set one of position, from 1, and member_id"),
        (
            parsed(held_settled={"action": 2, "position": 0, "reason": "why"}),
            "set one of position, from 1, and member_id",
        ),
        (parsed(held_settled={"action": 2, "member_id": " 7", "reason": "why"}), "member_id"),
        (parsed(held_settled={"action": 2, "position": 5}), "reason: say why"),
        (parsed(held_settled={"action": 2, "position": 5, "reason": "x" * 257}), "reason: it has 257 bytes, 256 fit"),
        (parsed(held_settled={"action": 2, "position": 5, "reason": "a\nb"}), "reason: write it as one line"),
        (parsed(member_removed={"member_id": "7", "volume": 3}), "REMOVAL_VOLUME_ROLL_UP or REMOVAL_VOLUME_LEAVES"),
        (
            parsed(member_removed={"member_id": "7", "mode": 2, "volume": 1}),
            "a place that stays empty keeps its volume",
        ),
    ],
)
def test_malformed_updates_are_named(update: types_pb2.Update, said: str) -> None:
    problem = update_problem(update)
    assert problem is not None
    assert said in problem


@pytest.mark.parametrize("fault", ["\0", "\x9b31m", "\u202e", "x" * 1024], ids=["control", "obeyed", "about", "long"])
def test_what_is_wrong_with_a_text_is_said_without_it(fault: str) -> None:
    """The column may be personal, and what is said stands in logs."""
    problem = update_problem(parsed(member_changed={"member_id": "7", "columns": {"name": f"Anna{fault}"}}))
    assert problem is not None
    assert (problem.startswith("column name: the text"), "Anna" in problem) == (True, False)


def test_an_update_fits_up_to_its_limit() -> None:
    assert size_problem(16 * 1024) is None
    assert size_problem(16 * 1024 + 1) == "the update has 16385 bytes, 16384 fit"


def test_a_million_columns_are_refused_before_they_are_looked_at() -> None:
    update = parsed(member_changed={"member_id": "7", "columns": {f"c{number}": "\0" for number in range(100_000)}})
    assert "fit" in str(update_problem(update))


_SEVERAL_FAULTS = """
from fasttree.v1 import types_pb2
from services.shared.domain.updates import change_problem
changed = types_pb2.MemberChanged(member_id="7", columns={f"c{number}": "\\0" for number in range(40)})
encoded = types_pb2.Update(member_changed=changed).SerializeToString()
print(change_problem("member_changed", types_pb2.Update.FromString(encoded).member_changed))
"""


def test_every_process_gives_the_same_reason_of_several() -> None:
    said = {
        subprocess.run([sys.executable, "-c", _SEVERAL_FAULTS], capture_output=True, text=True, check=True).stdout
        for _ in range(4)
    }
    assert said == {"column c0: the text holds a control character that is no tab or line break: take it out\n"}
