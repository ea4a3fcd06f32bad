"""What is read of an EndpointSlice, and what is refused of one."""

from __future__ import annotations

from typing import Any

import pytest

from services.shared.domain.addresses import Host
from services.shared.membership.endpoints import Slice, SliceError, slice_of
from tests.fakes.api_server import endpoint_slice


def named(about: dict[str, Any]) -> dict[str, Any]:
    about["metadata"]["name"] = "nodes-x1"
    return about


def test_every_pod_is_a_node_ready_or_not() -> None:
    found = slice_of(named(endpoint_slice("nodes", ["nodes-0", "nodes-1"])), "nodes")
    assert found == Slice("nodes-x1", (Host("nodes-0.nodes", 50100, 50201), Host("nodes-1.nodes", 50100, 50201)))
    assert found.hosts[0].report_address == "nodes-0.nodes:50100"


def test_a_pod_without_a_host_name_goes_by_its_own() -> None:
    about = named(endpoint_slice("nodes", ["nodes-0"]))
    del about["endpoints"][0]["hostname"]
    assert slice_of(about, "nodes").hosts[0].host == "nodes-0.nodes"


def test_no_endpoints_are_none() -> None:
    assert slice_of(named(endpoint_slice("nodes", [])), "nodes") == Slice("nodes-x1")


@pytest.mark.parametrize(
    ("about", "said"),
    [
        (endpoint_slice("nodes", ["nodes-0"], {"report": 50100}), "must have ports named report and instant"),
        (endpoint_slice("nodes", ["a/b"]), 'no pod of a StatefulSet \\("a/b"\\)'),
        ({**endpoint_slice("nodes", ["x"]), "endpoints": [{"addresses": ["10.0.0.9"]}]}, "no pod of a StatefulSet"),
        ({**endpoint_slice("nodes", []), "endpoints": "x"}, "can't be read"),
        (endpoint_slice("nodes", ["nodes-0"], {"report": 0, "instant": 1}), "can't be read"),
    ],
)
def test_what_is_no_node_is_named(about: dict[str, Any], said: str) -> None:
    with pytest.raises(SliceError, match=said):
        slice_of(named(about), "nodes")
