"""Which labels are put right, and in which order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.coordinator.role_labels.labels import ACTIVE, PASSIVE, PRIMARY, STANDBY, Pod, Roles, corrections

NODES = ("n-0", "n-1", "n-2")
COORDINATORS = ("c-0", "c-1")
OTHERS = ("other-0", "n-3", "job", "c")
ROLES = Roles(frozenset(NODES), "n-1", "c-0")


def test_what_is_right_stays() -> None:
    pods = [Pod("n-0", PASSIVE), Pod("n-1", PRIMARY), Pod("c-0", ACTIVE), Pod("c-1", STANDBY), Pod("job"), Pod("n-3")]
    assert corrections(pods, ROLES) == []


def test_a_role_is_taken_away_before_it_is_given() -> None:
    pods = [Pod("n-1", PASSIVE), Pod("n-2", PRIMARY), Pod("c-0", STANDBY), Pod("c-1", ACTIVE)]
    wrong = corrections(pods, ROLES)
    assert [pod.role in (PRIMARY, ACTIVE) for pod in wrong] == [False, False, True, True]
    assert set(wrong) == {Pod("n-1", PRIMARY), Pod("n-2", PASSIVE), Pod("c-0", ACTIVE), Pod("c-1", STANDBY)}


def test_while_there_is_no_primary_the_label_stays_where_it_was() -> None:
    pods = [Pod("n-0"), Pod("n-1", PRIMARY), Pod("n-2", "odd")]
    assert corrections(pods, Roles(frozenset(NODES), "", "c-0")) == [Pod("n-0", PASSIVE), Pod("n-2", PASSIVE)]


pods = st.dictionaries(
    st.sampled_from(NODES + COORDINATORS + OTHERS),
    st.sampled_from(("", PRIMARY, PASSIVE, ACTIVE, STANDBY, "odd")),
)


@given(pods, st.sampled_from(("", *NODES)), st.sampled_from(COORDINATORS))
def test_whatever_was_there_each_step_leads_there(found: dict[str, str], primary: str, coordinator: str) -> None:
    roles = Roles(frozenset(NODES), primary, coordinator)
    now = dict(found)
    before = sum(role == PRIMARY for name, role in now.items() if name in NODES)
    for pod in corrections([Pod(name, role) for name, role in found.items()], roles):
        now[pod.name] = pod.role
        assert sum(role == PRIMARY for name, role in now.items() if name in NODES) <= max(1, before)
    assert not corrections([Pod(name, role) for name, role in now.items()], roles)
    assert {name: role for name, role in now.items() if name in OTHERS} == {
        name: role for name, role in found.items() if name in OTHERS
    }
    if primary:
        assert [name for name in NODES if now.get(name) == PRIMARY] == [primary] * (primary in now)
