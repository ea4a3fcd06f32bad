"""Every manifest is taken by a real API server, as it is; and what is wrong with one is seen."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.foreign_kinds import custom_resource_definitions
from tests.kubernetes.manifests import EXAMPLES, KUSTOMIZATIONS, Manifest, kustomized, named, overlaid, parsed

_NAMESPACE = """\
apiVersion: v1
kind: Namespace
metadata:
  name: fasttree
  labels: {pod-security.kubernetes.io/enforce: restricted}
"""


@pytest.fixture(scope="module")
def cluster(control_plane: ControlPlane) -> ControlPlane:
    """With the namespace, in which only `restricted` pods may be, and the kinds of others that manifests name."""
    control_plane.kubectl("apply", "--server-side", "-f", "-", stdin=_NAMESPACE)
    for path in custom_resource_definitions():
        control_plane.kubectl("apply", "--server-side", "-f", str(path))
    control_plane.kubectl("wait", "--for=condition=Established", "--timeout=60s", "customresourcedefinitions", "--all")
    return control_plane


def _tried(cluster: ControlPlane, *manifests: Manifest, refused: bool = False) -> str:
    """What the server says to these, its warnings among it: nothing, where it takes them as they are."""
    command = ("create", "--dry-run=server", "--validate=strict", "-f", "-")
    ran = cluster.kubectl(*command, stdin=yaml.safe_dump_all(manifests), check=False)
    assert (ran.returncode != 0) == refused, ran.stderr
    return ran.stderr


@pytest.mark.parametrize("folder", KUSTOMIZATIONS)
def test_the_server_takes_every_manifest_without_a_warning(cluster: ControlPlane, folder: str) -> None:
    rest = [each for each in kustomized(folder) if each["kind"] != "Namespace"]
    assert _tried(cluster, *rest) == ""


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_server_takes_every_example_without_a_warning(cluster: ControlPlane, path: Any) -> None:
    assert _tried(cluster, *parsed(path.read_text())) == ""


def test_the_server_takes_every_part_with_certificates_without_a_warning(cluster: ControlPlane) -> None:
    whole = overlaid("backup", "datatrax", "gateway", "monitoring", "tls", "cert-manager")
    assert _tried(cluster, *(each for each in whole if each["kind"] != "Namespace")) == ""


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("usages", ["serving"], 'spec.usages[0]: Unsupported value: "serving"'),
        ("secretNames", "a", 'unknown field "spec.secretNames"'),
        ("privateKey", {"algorithm": "Ed448"}, "spec.privateKey.algorithm: Unsupported value"),
        ("issuerRef", {"kind": "Issuer"}, "spec.issuerRef.name: Required value"),
    ],
)
def test_a_certificate_that_cert_manager_does_not_know_is_refused(
    cluster: ControlPlane, field: str, value: Any, said: str
) -> None:
    broken = copy.deepcopy(named(kustomized("overlays/cert-manager"), "Certificate", "fasttree-vip"))
    broken["spec"][field] = value
    assert said in _tried(cluster, broken, refused=True)


def _pod(manifest: Manifest) -> Manifest:
    """The pod that the workload would make."""
    template = copy.deepcopy(manifest["spec"]["template"])
    claimed = [
        {"name": each["metadata"]["name"], "emptyDir": {}} for each in manifest["spec"].get("volumeClaimTemplates", [])
    ]
    template["spec"].setdefault("volumes", []).extend(claimed)
    # No controller is there to make accounts and classes.
    del template["spec"]["priorityClassName"]
    name = manifest["metadata"]["name"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        **template,
        "metadata": {**template["metadata"], "name": name, "namespace": "fasttree"},
    }


_WORKLOADS = (
    ("StatefulSet", "fasttree-treenode"),
    ("StatefulSet", "fasttree-pusher"),
    ("StatefulSet", "fasttree-coordinator"),
    ("Deployment", "fasttree-vip"),
)


@pytest.mark.parametrize(("kind", "name"), _WORKLOADS)
def test_pods_are_admitted_where_only_restricted_ones_are(cluster: ControlPlane, kind: str, name: str) -> None:
    assert _tried(cluster, _pod(named(kustomized("base"), kind, name))) == ""


def _container(manifest: Manifest) -> Any:
    return manifest["spec"]["template"]["spec"]["containers"][0]


_BROKEN: dict[str, tuple[Callable[[Manifest], Any], str]] = {
    "a field that does not exist": (lambda each: each["spec"].update(replica=2), 'unknown field "spec.replica"'),
    "a text for a number": (lambda each: each["spec"].update(replicas="two"), "replicas"),
    "a port that is none": (lambda each: _container(each)["ports"][0].update(containerPort=70_000), "containerPort"),
    "a quantity that is none": (
        lambda each: _container(each)["resources"]["limits"].update(memory="2 GB"),
        "quantities must match",
    ),
    "labels that its selector does not take": (
        lambda each: each["spec"]["template"]["metadata"]["labels"].pop("app.kubernetes.io/component"),
        "`selector` does not match template `labels`",
    ),
    "a volume that is not there": (
        lambda each: _container(each)["volumeMounts"][0].update(name="states"),
        'volumeMounts[0].name: Not found: "states"',
    ),
    "a probe of two kinds": (
        lambda each: _container(each)["readinessProbe"].update(tcpSocket={"port": 1}),
        "may not specify more than 1 handler type",
    ),
    "a spread without a reason": (
        lambda each: each["spec"]["template"]["spec"]["topologySpreadConstraints"][0].update(whenUnsatisfiable="Never"),
        "whenUnsatisfiable",
    ),
}


@pytest.mark.parametrize("fault", _BROKEN)
def test_the_server_refuses_a_broken_manifest(cluster: ControlPlane, fault: str) -> None:
    breaks, said = _BROKEN[fault]
    broken = copy.deepcopy(named(kustomized("base"), "StatefulSet", "fasttree-treenode"))
    breaks(broken)
    assert said in _tried(cluster, broken, refused=True)


_UNRESTRICTED: dict[str, tuple[Callable[[Manifest], Any], str]] = {
    "root": (lambda pod: pod["spec"]["securityContext"].update(runAsUser=0), "runAsUser=0"),
    "perhaps root": (lambda pod: pod["spec"]["securityContext"].pop("runAsNonRoot"), "runAsNonRoot != true"),
    "capabilities": (
        lambda pod: pod["spec"]["containers"][0]["securityContext"].pop("capabilities"),
        "unrestricted capabilities",
    ),
    "escalation": (
        lambda pod: pod["spec"]["containers"][0]["securityContext"].update(allowPrivilegeEscalation=True),
        "allowPrivilegeEscalation != false",
    ),
    "any system call": (lambda pod: pod["spec"]["securityContext"].pop("seccompProfile"), "seccompProfile"),
    "a folder of the machine": (
        lambda pod: pod["spec"]["volumes"].append({"name": "host", "hostPath": {"path": "/"}}),
        "restricted volume types",
    ),
    "the machine's network": (lambda pod: pod["spec"].update(hostNetwork=True), "host namespaces"),
}


@pytest.mark.parametrize("fault", _UNRESTRICTED)
def test_the_namespace_refuses_a_pod_that_wants_more(cluster: ControlPlane, fault: str) -> None:
    breaks, said = _UNRESTRICTED[fault]
    pod = _pod(named(kustomized("base"), "StatefulSet", "fasttree-treenode"))
    breaks(pod)
    refusal = _tried(cluster, pod, refused=True)
    assert "violates PodSecurity" in refusal
    assert said in refusal


def test_what_can_not_be_changed_later_is_refused(cluster: ControlPlane) -> None:
    pods = named(kustomized("base"), "StatefulSet", "fasttree-pusher")
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump(pods))
    changed = copy.deepcopy(pods)
    changed["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] = "40Gi"
    ran = cluster.kubectl(
        "apply", "--server-side", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump(changed), check=False
    )
    assert "spec.volumeClaimTemplates" in ran.stderr
    assert "immutable" in ran.stderr
    cluster.kubectl("delete", "-n", "fasttree", "statefulset", "fasttree-pusher", "--wait=false")
