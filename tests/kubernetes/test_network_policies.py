"""Network policies: every port has its flows, and a flow is allowed at both of its ends."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.kubernetes.manifests import (
    COMPONENT,
    EXAMPLES,
    Manifest,
    everything,
    of_kind,
    parsed,
    pod_templates,
    selects,
)


class Flow(NamedTuple):
    source: str
    target: str
    port: int


@functools.cache
def _policies() -> list[Manifest]:
    return of_kind(everything(), "NetworkPolicy")


@functools.cache
def _pods() -> dict[str, Manifest]:
    """Component to the template of its pods, operators' among them."""
    manifests = [*everything(), *(each for path in EXAMPLES for each in parsed(path.read_text()))]
    return {pod["metadata"]["labels"][COMPONENT]: pod for _, pod in pod_templates(manifests)}


def _ports(component: str) -> set[int]:
    (container,) = _pods()[component]["spec"]["containers"]
    return {port["containerPort"] for port in container.get("ports", [])}


def _selected(policy_or_peer: Manifest) -> Iterator[str]:
    for component, pod in _pods().items():
        if selects(policy_or_peer["podSelector"], pod["metadata"]["labels"]):
            yield component


def _flows(direction: str, peers: str) -> set[Flow]:
    found = set()
    for policy in _policies():
        for rule in policy["spec"].get(direction, []):
            for peer in [
                each for each in rule.get(peers, []) if "podSelector" in each and "namespaceSelector" not in each
            ]:
                for here in _selected(policy["spec"]):
                    for there in _selected(peer):
                        source, target = (there, here) if direction == "ingress" else (here, there)
                        ports = [each["port"] for each in rule["ports"]] if "ports" in rule else _ports(target)
                        found |= {Flow(source, target, port) for port in ports}
    return found


def test_nothing_is_allowed_that_is_not_named() -> None:
    (deny,) = [each for each in _policies() if each["metadata"]["name"] == "fasttree-default-deny"]
    assert set(_selected(deny["spec"])) == set(_pods())
    assert set(deny["spec"]["policyTypes"]) == {"Ingress", "Egress"}
    assert "ingress" not in deny["spec"]
    assert "egress" not in deny["spec"]


def test_a_flow_is_allowed_at_both_of_its_ends() -> None:
    leaving, coming = _flows("egress", "to"), _flows("ingress", "from")
    # Operators may go everywhere; each port says whether it takes them.
    operators = {name for name, pod in _pods().items() if "fasttree.io/operator" in pod["metadata"]["labels"]}
    inside = {flow for flow in leaving if flow.source not in operators}
    assert inside <= coming, inside - coming
    assert {flow for flow in coming if flow.source not in operators} <= leaving
    assert {flow for flow in coming if flow.source in operators} <= leaving


@pytest.mark.parametrize(
    "flow",
    [
        Flow("treenode", "coordinator", 50400),  # heartbeats
        Flow("pusher", "coordinator", 50400),  # who is in the cluster
        Flow("coordinator", "coordinator", 50400),  # what the active one says
        Flow("pusher", "treenode", 50201),  # the log
        Flow("treenode", "pusher", 50300),  # import files
        Flow("treenode", "treenode", 50201),  # snapshots
        Flow("vip", "treenode", 50100),  # reports
        Flow("console", "coordinator", 50400),
        Flow("console", "pusher", 50300),
        Flow("console", "vip", 50100),
        Flow("console", "treenode", 50201),  # what each holds
        Flow("datatrax", "coordinator", 50400),
        Flow("datatrax", "pusher", 50300),
        Flow("datatrax", "treenode", 50200),  # their logs
        Flow("shell", "datatrax", 50200),
        Flow("import", "pusher", 50300),
        Flow("shell", "coordinator", 50400),
        Flow("shell", "treenode", 50201),  # digests
    ],
)
def test_what_a_cluster_does_is_allowed(flow: Flow) -> None:
    assert flow in _flows("ingress", "from")
    assert flow in _flows("egress", "to")


@pytest.mark.parametrize(
    "flow",
    [
        Flow("vip", "treenode", 50201),
        Flow("vip", "pusher", 50300),
        Flow("vip", "coordinator", 50400),
        Flow("backup", "pusher", 50300),
        Flow("vip", "console", 50500),
        Flow("treenode", "console", 50500),
        Flow("coordinator", "treenode", 50201),
        Flow("datatrax", "treenode", 50201),
        Flow("vip", "datatrax", 50201),
    ],
)
def test_what_it_never_does_is_not(flow: Flow) -> None:
    assert flow not in _flows("ingress", "from") & _flows("egress", "to")


def test_every_port_has_a_rule_and_every_rule_a_port() -> None:
    named: dict[str, set[int]] = {component: set() for component in _pods()}
    for policy in _policies():
        for rule in policy["spec"].get("ingress", []):
            for component in _selected(policy["spec"]):
                named[component] |= {port["port"] for port in rule["ports"]}
    monitored = {50200, 50310, 50410, 50190, 50500}
    for component, ports in named.items():
        assert _ports(component) <= ports, component
        assert ports - monitored <= _ports(component), component
    assert monitored == {
        port["containerPort"]
        for pod in _pods().values()
        for port in pod["spec"]["containers"][0].get("ports", [])
        if port["name"] == "http"
    }
