"""What each part may ask of Kubernetes, by the word of a real API server: what its code does, and nothing beside it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.manifests import kustomized, of_kind

_LEASE = "leases.coordination.k8s.io"
_SLICES = "endpointslices.discovery.k8s.io"


@pytest.fixture(scope="module")
def cluster(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    """With the base's roles in its namespace; other tests find it without them."""
    base = kustomized("base")
    namespace = yaml.safe_dump_all(of_kind(base, "Namespace"))
    roles = yaml.safe_dump_all(of_kind(base, "ServiceAccount", "Role", "RoleBinding"))
    for manifests in (namespace, roles):
        control_plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=manifests)
    yield control_plane
    control_plane.kubectl("delete", "-f", "-", stdin=roles)


def _may(cluster: ControlPlane, part: str, verb: str, what: str) -> bool:
    account = f"system:serviceaccount:fasttree:fasttree-{part}"
    ran = cluster.kubectl("auth", "can-i", verb, what, "-n", "fasttree", f"--as={account}", check=False)
    assert ran.stdout.strip() in ("yes", "no"), ran.stderr
    return ran.stdout.strip() == "yes"


@pytest.mark.parametrize(
    ("part", "verb", "what"),
    [
        ("pusher", "list", _SLICES),
        ("pusher", "watch", _SLICES),
        ("coordinator", "list", _SLICES),
        ("coordinator", "watch", _SLICES),
        ("coordinator", "list", "pods"),
        ("coordinator", "patch", "pods/fasttree-treenode-0"),
        ("coordinator", "create", _LEASE),
        ("coordinator", "get", f"{_LEASE}/fasttree-coordinator"),
        ("coordinator", "update", f"{_LEASE}/fasttree-coordinator"),
    ],
)
def test_what_the_code_asks_for_is_allowed(cluster: ControlPlane, part: str, verb: str, what: str) -> None:
    assert _may(cluster, part, verb, what)


@pytest.mark.parametrize("part", ["coordinator", "pusher", "treenode", "vip"])
@pytest.mark.parametrize(
    ("verb", "what"),
    [
        ("get", "secrets"),
        ("create", "pods"),
        ("delete", "pods"),
        ("create", "pods/exec"),
        ("update", "statefulsets.apps"),
        ("update", f"{_LEASE}/another"),
        ("delete", f"{_LEASE}/fasttree-coordinator"),
        ("update", _SLICES),
        ("list", "nodes"),
    ],
)
def test_what_it_does_not_is_not(cluster: ControlPlane, part: str, verb: str, what: str) -> None:
    assert not _may(cluster, part, verb, what)


@pytest.mark.parametrize("part", ["treenode", "vip"])
def test_who_has_no_token_may_nothing(cluster: ControlPlane, part: str) -> None:
    assert not any(_may(cluster, part, verb, what) for verb, what in (("list", "pods"), ("list", _SLICES)))
