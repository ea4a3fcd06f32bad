"""Which updates may be skipped, by what is known of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from services.pusher.skips.decision import Evidence, SkipProblem, Wanted, refused
from services.shared.domain.limits import SKIPS_MAX

AT_FAULT = Evidence("order-7", is_damaged=False, named_by=["n1", "n2"], taken_by=[])
WANTED = Wanted(7, "ticket 88")


@pytest.mark.parametrize(
    "evidence", [AT_FAULT, Evidence("order-7", is_damaged=True, named_by=[], taken_by=[])], ids=["named", "damaged"]
)
def test_an_update_at_fault_may_be_skipped(evidence: Evidence) -> None:
    assert refused(WANTED, evidence, {3: "another one"}) is None


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"update_id": ""}, SkipProblem.NOT_IN_LOG),
        ({"update_id": "fasttree/skip/3"}, SkipProblem.OWN_RECORD),
        ({"is_rule": True}, SkipProblem.OWN_RECORD),
        ({"named_by": []}, SkipProblem.NOT_AT_FAULT),
        ({"named_by": ["n1"], "taken_by": ["n2"], "not_taken_by": ["n1"]}, SkipProblem.TAKEN),
    ],
)
def test_what_is_known_of_it_forbids_it(changed: dict[str, Any], problem: SkipProblem) -> None:
    found = refused(WANTED, dataclasses.replace(AT_FAULT, **changed), {})
    assert found is not None
    assert found.problem is problem
    assert "7" in found.text


@pytest.mark.parametrize("reason", ["", "x" * 201, "a\nb", "\u202etxet"])
def test_the_reason_is_one_line_that_can_be_seen(reason: str) -> None:
    found = refused(Wanted(7, reason), AT_FAULT, {})
    assert found is not None
    assert found.problem is SkipProblem.MALFORMED


def test_the_first_reason_stays() -> None:
    found = refused(WANTED, AT_FAULT, {7: "the first"})
    assert found is not None
    assert found.problem is SkipProblem.SKIPPED_ALREADY
    assert "the first" in found.text


def test_the_list_of_skips_is_bounded() -> None:
    known = dict.fromkeys(range(100, 100 + SKIPS_MAX), "x")
    found = refused(WANTED, AT_FAULT, known)
    assert found is not None
    assert found.problem is SkipProblem.TOO_MANY


def test_force_skips_what_a_node_has_taken_and_names_it_before() -> None:
    evidence = dataclasses.replace(AT_FAULT, named_by=["n1"], taken_by=["n2", "n3"], not_taken_by=["n1"])
    found = refused(WANTED, evidence, {})
    assert found is not None
    assert "n2, n3" in found.text
    assert refused(dataclasses.replace(WANTED, force=True), evidence, {}) is None


def test_not_even_force_leaves_a_cluster_without_a_node_that_serves() -> None:
    evidence = dataclasses.replace(AT_FAULT, named_by=["n1"], taken_by=["n1", "n2"], not_taken_by=[])
    found = refused(dataclasses.replace(WANTED, force=True), evidence, {})
    assert found is not None
    assert found.problem is SkipProblem.TAKEN


def test_who_took_it_and_who_did_not_are_named() -> None:
    one = dataclasses.replace(AT_FAULT, named_by=["n1", "n3"], taken_by=["n2", "n4"], not_taken_by=["n1"])
    found = refused(WANTED, one, {})
    assert found is not None
    assert found.text.startswith("n2, n4 took update 7, so the fault is likely that of n1, n3: ")
    damaged = dataclasses.replace(one, named_by=[], is_damaged=True)
    found = refused(WANTED, damaged, {})
    assert found is not None
    assert "the fault is likely that of the log: " in found.text
    assert refused(dataclasses.replace(WANTED, force=True), one, {}) is None
