"""The demo's sample tree: the same everywhere, and sound."""

import hashlib

from fasttree.command.local.sample import COLUMNS, MEMBERS, ROOT_ID, sample_csv, sample_rows


def test_it_is_the_same_on_every_machine() -> None:
    digest = hashlib.sha256(sample_csv().encode()).hexdigest()
    assert digest == "1a4c573da55d36d568d24e1dd5defba0de70f1524ecb1d8c0b643a6e8383affc"


def test_every_sponsor_and_placement_stands_before() -> None:
    seen: set[str] = set()
    legs: set[tuple[str, str]] = set()
    for row in sample_rows():
        assert tuple(row) == COLUMNS
        assert row["member_id"] not in seen
        assert row["sponsor_id"] in seen or row["member_id"] == ROOT_ID
        if row["placement_id"]:
            assert row["placement_id"] in seen
            assert (row["placement_id"], row["placement_leg"]) not in legs
            legs.add((row["placement_id"], row["placement_leg"]))
        seen.add(row["member_id"])
    assert len(seen) == MEMBERS


def test_an_import_over_it_needs_no_force() -> None:
    assert MEMBERS < 1_000
