"""The manifests of deploy/k8s as a cluster would get them."""

from __future__ import annotations

import functools
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.kubernetes.binaries import found

ROOT = Path(__file__).parents[2]
K8S = ROOT / "deploy/k8s"
CHART = K8S / "helm/fasttree"
#: What is applied as it is.
KUSTOMIZATIONS = (
    "base",
    "overlays/demo",
    "overlays/production",
    "overlays/monitoring",
    "overlays/gateway",
    "overlays/backup",
    "overlays/datatrax",
    "overlays/tls",
    "overlays/cert-manager",
)
EXAMPLES = sorted((K8S / "examples").glob("*.yaml"))

Manifest = dict[str, Any]
Labels = Mapping[str, str]

#: Kinds of others' controllers: no schema of Kubernetes has them.
FOREIGN = (
    "cert-manager.io/v1",
    "gateway.networking.k8s.io/v1",
    "monitoring.coreos.com/v1",
    "kustomize.config.k8s.io/v1alpha1",
)
COMPONENT = "app.kubernetes.io/component"


def parsed(text: str) -> list[Manifest]:
    """The objects of a stream of YAML."""
    return [each for each in yaml.safe_load_all(text) if each]


def kustomized(folder: str | Path) -> list[Manifest]:
    """What `kubectl apply -k` would send."""
    return parsed(_built(K8S / folder))


@functools.cache
def _built(folder: Path) -> str:
    return _output(found(("kubectl",))["kubectl"], "kustomize", folder)


def overlaid(*components: str, patches: Sequence[Mapping[str, Any]] = ()) -> list[Manifest]:
    """What the base is with these components, in this order, and an overlay's own patches."""
    with tempfile.TemporaryDirectory(prefix="fasttree-overlay-") as name:
        # kustomize wants ways from where the overlay is.
        way = os.path.relpath(K8S, os.path.realpath(name))
        overlay = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": "fasttree",
            "resources": [f"{way}/base"],
            "components": [f"{way}/components/{each}" for each in components],
            "patches": list(patches),
        }
        (Path(name) / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
        return parsed(_output(found(("kubectl",))["kubectl"], "kustomize", os.path.realpath(name)))


def everything() -> list[Manifest]:
    """All that there can be in one cluster: the largest overlay, and those beside it."""
    whole = [each for name in ("production", "monitoring", "gateway") for each in kustomized(f"overlays/{name}")]
    own = [each for each in kustomized("overlays/datatrax") if each["metadata"]["name"] == "fasttree-datatrax"]
    return [*whole, *own]


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    """Those of these kinds."""
    return [each for each in manifests if each["kind"] in kinds]


def named(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """The one of that kind and name."""
    (one,) = [each for each in of_kind(manifests, kind) if each["metadata"].get("name") == name]
    return one


def pod_templates(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Name of the workload, and its pods' template."""
    for each in manifests:
        name = each["metadata"].get("name") or each["metadata"].get("generateName")
        match each["kind"]:
            case "Deployment" | "StatefulSet" | "Job":
                yield name, each["spec"]["template"]
            case "CronJob":
                yield name, each["spec"]["jobTemplate"]["spec"]["template"]
            case "Pod":
                yield name, each


def selects(selector: Mapping[str, Any], labels: Labels) -> bool:
    """Whether a label selector takes a pod with these labels."""
    for key, value in selector.get("matchLabels", {}).items():
        if labels.get(key) != value:
            return False
    for one in selector.get("matchExpressions", []):
        assert one["operator"] == "In", one
        if labels.get(one["key"]) not in one["values"]:
            return False
    return True


def _output(*command: object) -> str:
    ran = subprocess.run([str(each) for each in command], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def helm(*arguments: str) -> str:
    """What Helm says to that, which it has to do."""
    return _output(found(("helm",))["helm"], *arguments)


def helm_refusal(*arguments: str) -> str:
    """Why Helm does not do that."""
    binary = found(("helm",))["helm"]
    ran = subprocess.run([str(binary), *arguments], capture_output=True, text=True, check=False)
    assert ran.returncode != 0, ran.stdout
    return ran.stderr
