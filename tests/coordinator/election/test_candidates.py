"""Who may be primary at all: a node that the host file has, however it names it."""

from __future__ import annotations

import pytest

from services.coordinator.election.candidates import is_electable
from services.coordinator.election.events import Heartbeat, NodeState
from services.coordinator.election.leases import NodeLease


def lease(node: str, address: str) -> NodeLease:
    heartbeat = Heartbeat(node=node, incarnation="i", sequence=1, state=NodeState.PASSIVE, address=address)
    return NodeLease(heartbeat, heard_at=0.0, ends_at=1.0)


@pytest.mark.parametrize(
    ("hosts", "electable"),
    [
        ((), True),  # no host file: whoever comes
        (("ftsp01.example.com:50100",), True),
        (("ftsp01:50100",), True),
        (("n1",), True),
        (("ftsp02.example.com:50100", "n1"), True),
        (("ftsp02.example.com:50100",), False),
        (("ftsp01.example.com:50101",), False),
        (("ftsp01:50101",), False),
        (("ftsp01.example.org:50100",), False),
        (("ftsp0:50100",), False),
    ],
)
def test_a_node_is_electable_where_the_host_file_has_it(hosts: tuple[str, ...], electable: bool) -> None:
    assert is_electable(lease("n1", "ftsp01.example.com:50100"), hosts) is electable


def test_a_numbered_host_is_no_beginning_of_another() -> None:
    assert is_electable(lease("n1", "10.0.0.1:50100"), ("10.0.0.1:50100",))
    assert not is_electable(lease("n1", "10.0.0.11:50100"), ("10.0.0.1:50100",))
    assert not is_electable(lease("n1", "10.0.0:50100"), ("10.0.0.1:50100",))
