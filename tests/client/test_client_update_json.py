"""Updates and amounts as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttree.client import UpdateFormatError, from_hundredths, to_hundredths, update_from_json, update_to_json
from fasttree.v1 import types_pb2


@given(st.integers(-(2**63) + 1, 2**63 - 1))
def test_amounts_are_exact(hundredths: int) -> None:
    assert to_hundredths(from_hundredths(hundredths)) == hundredths


@pytest.mark.parametrize(
    ("text", "hundredths"), [("12.5", 1250), ("12.50", 1250), ("-3", -300), ("-0.07", -7), ("0", 0)]
)
def test_amounts_as_people_write_them(text: str, hundredths: int) -> None:
    assert to_hundredths(text) == hundredths


@pytest.mark.parametrize("text", ["", "1.234", "1,5", "1e3", "x", ".5", "١", "9" * 41])
def test_what_is_no_amount(text: str) -> None:
    with pytest.raises(UpdateFormatError, match="at most two decimals"):
        to_hundredths(text)


@pytest.mark.parametrize("text", ["92233720368547758.08", "-92233720368547758.08", "9" * 40])
def test_an_amount_that_no_update_can_hold(text: str) -> None:
    with pytest.raises(UpdateFormatError, match=r"out of range: at most 92233720368547758\.07"):
        to_hundredths(text)


def test_the_friendly_form() -> None:
    update = update_from_json('{"update_id": "o-1", "volume_posted": {"member_id": "7", "amount": 12.50}}')
    assert update.volume_posted.amount_hundredths == 1250
    assert update_to_json(update) == '{"update_id": "o-1", "volume_posted": {"member_id": "7", "amount": "12.50"}}'
    exact = update_from_json('{"update_id": "o-1", "volume_posted": {"member_id": "7", "amount": 90071992547409.93}}')
    assert exact.volume_posted.amount_hundredths == 9007199254740993


def test_the_proto3_json_form() -> None:
    update = update_from_json('{"updateId": "o-1", "volumePosted": {"memberId": "7", "amountHundredths": "-5"}}')
    assert (update.update_id, update.volume_posted.amount_hundredths) == ("o-1", -5)


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ('{"update_id":"a","member_enrolled":{"member_id":"1","kind":"customer"}}', "kind", 2),
        ('{"update_id":"a","member_enrolled":{"member_id":"1","kind":"MEMBER_KIND_CUSTOMER"}}', "kind", 2),
        ('{"update_id":"a","member_moved":{"member_id":"1","new_parent_id":"2","tree":"placement"}}', "tree", 2),
        ('{"update_id":"a","member_removed":{"member_id":"1","mode":"leave_empty"}}', "mode", 2),
        ('{"update_id":"a","member_removed":{"member_id":"1","volume":"roll_up"}}', "volume", 1),
        ('{"update_id":"a","held_settled":{"member_id":"1","action":"retry","reason":"why"}}', "action", 2),
        ('{"update_id":"a","held_settled":{"position":7,"action":"drop","reason":"why"}}', "position", 7),
        ('{"update_id":"a","member_enrolled":{"member_id":"1","returning":true}}', "returning", True),
        ('{"update_id":"a","member_removed":{"member_id":"1","volume":"leaves"}}', "volume", 2),
    ],
)
def test_short_names(text: str, field: str, value: int) -> None:
    update = update_from_json(text)
    change = getattr(update, str(update.WhichOneof("change")))
    assert getattr(change, field) == value
    assert update_from_json(update_to_json(update)) == update


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nonsense", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1]", "not a JSON object"),
        ('{"update_id": "a"}', "no change"),
        ('{"volume_posted": {"member_id": "7"}}', "update_id is missing"),
        (
            '{"update_id": "a", "volume_posted": {"member": "7"}}',
            'there is no field "member" in volume_posted: it has member_id, amount, volume_type, period',
        ),
        (
            '{"update_id": "a", "volume_postedd": {}}',
            'no field "volume_postedd" in an update: it has update_id and one',
        ),
        ('{"update_id": 1, "volume_posted": {"member_id": "7"}}', "update_id is 1: write a text, in quotes"),
        ('{"update_id": "a", "volume_posted": {"member_id": 7}}', "member_id is 7: write a text, in quotes"),
        ('{"update_id": "a", "volume_posted": {"member_id": "7"}}', "volume_posted has no amount"),
        ('{"update_id": "a", "volume_posted": {"amount": 1, "amount": 2}}', "a field stands there twice"),
        (
            '{"update_id": "a", "volume_posted": {"amount": 1, "amount_hundredths": 2}}',
            '"amount" and "amount_hundredths" in volume_posted are one field: leave one of them',
        ),
        (
            '{"update_id": "a", "volume_posted": {"member_id": "1", "memberId": "2", "amount": 1}}',
            '"member_id" and "memberId" in volume_posted are one field: leave one of them',
        ),
        ('{"update_id": "a", "updateId": "b", "member_removed": {"member_id": "1"}}', "are one field"),
        (
            '{"update_id": "a", "volume_posted": {"amount_hundredths": 9223372036854775808}}',
            "a number from -9223372036",
        ),
        ('{"update_id": "a", "member_enrolled": {"rank": "x"}}', 'rank is "x": write a whole number'),
        ('{"update_id": "a", "member_enrolled": {"rank": 1.5}}', "rank is 1.5: write a whole number"),
        ('{"update_id": "a", "member_enrolled": {"rank": 1e999999999}}', "rank is 1E+999999999: write a whole number"),
        ('{"update_id": "a", "member_enrolled": {"returning": 1}}', "returning is 1: write true or false"),
        ('{"update_id": "a", "member_changed": {"columns": [1]}}', "columns is a list: write an object"),
        (
            '{"update_id": "a", "member_changed": {"columns": {"a\\n": 1}}}',
            'columns, "a\\n", is 1: write a text, in quotes',
        ),
        ('{"update_id": "a", "member_moved": {"tree": 7}}', "tree is 7: write one of sponsor, placement"),
        ('{"update_id": "a", "volume_posted": {"amount": "12.345"}}', "two decimals"),
        ('{"update_id": "a", "volume_posted": {"amount": 1e999999999}}', "two decimals"),
        ('{"update_id": "a", "volume_posted": {"amount": 1e-999999999}}', "two decimals"),
        ('{"update_id": "a", "volume_posted": {"amount": true}}', "two decimals"),
        ('{"update_id": "a", "volume_posted": {"amount": NaN}}', "decimals"),
        ('{"update_id": "a", "volume_posted": 3}', "volume_posted is 3: write an object"),
        (
            '{"update_id": "a", "member_enrolled": {"kind": "king"}}',
            'kind is "king": write one of distributor, customer',
        ),
        (
            '{"update_id": "a", "member_removed": {}, "volume_posted": {}}',
            "member_removed and volume_posted in one update: give each an update of its own",
        ),
        *(
            (
                f'{{"update_id": "a", "import_thresholds_set": {{"removed_percent_max": {value}}}}}',
                "write a number, such as 12.5",
            )
            for value in ('"x"', '"nan"', "NaN", "1e400", "true", '"1e2"')
        ),
        (
            '{"update_id": "a", "held_settled": {"position": 1, "member_id": "7", "action": "drop"}}',
            "position and member_id in held_settled: leave one of them",
        ),
        (r'{"update_id": "a\ud800", "member_removed": {"member_id": "1"}}', "update_id holds half a character"),
        (r'{"update_id": "a", "member_changed": {"columns": {"x": "\ud83d"}}}', "holds half a character"),
        (r'{"update_id": "a", "member_changed": {"columns": {"\udc00": "x"}}}', "a name in columns holds half"),
        ('{"update_id": "a", "rules_founded": {"rules": 7}}', "a value does not fit where it stands"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(text: str, says: str) -> None:
    with pytest.raises(UpdateFormatError) as raised:
        update_from_json(text)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


FOUNDED = types_pb2.RulesFounded(rules=types_pb2.Rules(version=1, volume_types=["PV"]))


def test_every_kind_survives_the_way_through_text() -> None:
    updates = [
        types_pb2.Update(
            update_id="1", member_enrolled=types_pb2.MemberEnrolled(member_id="1", rank=3, columns={"c": "é"})
        ),
        types_pb2.Update(update_id="2", member_changed=types_pb2.MemberChanged(member_id="1", rank=0, status="")),
        types_pb2.Update(update_id="3", volume_posted=types_pb2.VolumePosted(member_id="1", amount_hundredths=-1)),
        types_pb2.Update(update_id="4", volume_posted=types_pb2.VolumePosted(member_id="1")),
        types_pb2.Update(update_id="5", rules_founded=FOUNDED),
    ]
    for update in updates:
        assert update_from_json(update_to_json(update)) == update
