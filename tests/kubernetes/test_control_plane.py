"""The API server that manifests are held against refuses what a cluster's would."""

from __future__ import annotations

import json

import pytest

from tests.kubernetes.binaries import KUBERNETES
from tests.kubernetes.control_plane import ControlPlane

NAMESPACE = """
apiVersion: v1
kind: Namespace
metadata: {name: test-control-plane, labels: {pod-security.kubernetes.io/enforce: restricted}}
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: reports}
spec: {selector: {component: treenode}, ports: [{name: grpc, port: %s}]}
"""
POD = """
apiVersion: v1
kind: Pod
metadata: {name: treenode}
spec: {containers: [{name: treenode, image: localhost/fasttree:0}]}
"""


@pytest.fixture(scope="module")
def namespaced(control_plane: ControlPlane) -> ControlPlane:
    control_plane.kubectl("apply", "-f", "-", stdin=NAMESPACE)
    return control_plane


def test_it_is_the_version_that_the_locks_name(control_plane: ControlPlane) -> None:
    said = json.loads(control_plane.kubectl("version", "--output", "json").stdout)
    assert said["serverVersion"]["gitVersion"] == said["clientVersion"]["gitVersion"] == KUBERNETES


def apply(plane: ControlPlane, manifest: str) -> str:
    """What is said of a manifest that is only tried; empty: it is good."""
    ran = plane.kubectl("apply", "--dry-run=server", "-n", "test-control-plane", "-f", "-", stdin=manifest, check=False)
    return ran.stderr if ran.returncode else ""


def test_a_good_manifest_is_taken(namespaced: ControlPlane) -> None:
    assert apply(namespaced, SERVICE % 50300) == ""


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        (SERVICE % 503000, "must be between 1 and 65535"),
        (SERVICE.replace("selector", "selectors") % 50300, 'unknown field "spec.selectors"'),
        (POD, 'violates PodSecurity "restricted:latest"'),
        (SERVICE.replace("v1", "v9", 1) % 50300, "no matches for kind"),
    ],
)
def test_a_broken_one_is_refused(namespaced: ControlPlane, manifest: str, reason: str) -> None:
    assert reason in apply(namespaced, manifest)
