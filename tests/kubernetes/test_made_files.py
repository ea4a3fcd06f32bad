"""What of deploy/k8s is made is fresh, and the ways that a manifest can't be made into a chart are told."""

from __future__ import annotations

import json

import pytest

from tools.kubernetes.chart import ManifestError, defaults, template
from tools.kubernetes.made import MANIFESTS, ROOT, made_files

MADE = made_files()


@pytest.mark.parametrize("name", MADE)
def test_made_files_are_fresh(name: str) -> None:
    assert (ROOT / name).read_text() == MADE[name], "run .venv/bin/python -m tools.kubernetes"


def test_every_manifest_is_in_the_chart_and_nothing_else() -> None:
    k8s = ROOT / "deploy/k8s"
    beside = ("kustomization.yaml", "namespace.yaml", "envoy.yaml")
    # What only changes others has values of its own in the chart (pusher.replicas, pusher.servers, tls.mode), and
    # certificates are made for both.
    of_values = {
        path for name in ("pushers", "tls", "cert-manager") for path in (k8s / "components" / name).glob("*.yaml")
    }
    by_hand = {*(k8s / "base").glob("*.yaml"), *(k8s / "components").rglob("*.yaml")} - of_values
    assert {path.relative_to(k8s).as_posix() for path in by_hand if path.name not in beside} == set(MANIFESTS)
    chart = k8s / "helm/fasttree"
    assert {path.relative_to(ROOT).as_posix() for path in chart.rglob("*") if path.is_file()} <= set(MADE)


def test_lines_of_a_manifest_become_lines_of_the_chart() -> None:
    manifest = """\
# For people.
replicas: 2  # helm: treenode.replicas
- "3"  # helm: backup.kept | toString
namespace: fasttree  # helm: {{ .Release.Namespace }}
  #helm {{- with .Values.x }}
kind: Pod
"""
    assert (
        template(manifest)
        == """\
replicas: {{ toJson .Values.treenode.replicas }}
- {{ toJson (.Values.backup.kept | toString) }}
namespace: {{ .Release.Namespace }}
  {{- with .Values.x }}
kind: Pod
"""
    )
    assert list(defaults(manifest)) == [("treenode.replicas", "2"), ("backup.kept", "3")]


def test_braces_that_helm_would_take_for_its_own_are_refused() -> None:
    with pytest.raises(ManifestError, match="would be a template"):
        template('summary: "{{ $labels.instance }}"\n')


def test_the_schema_has_the_bounds_of_settings() -> None:
    schema = json.loads(MADE["deploy/k8s/helm/fasttree/values.schema.json"])
    settings = schema["properties"]["settings"]["properties"]
    assert settings["coordinator"]["properties"]["lease_s"] == {"type": "number", "minimum": 0.001, "maximum": 86400}
    assert settings["treenode"]["additionalProperties"] is False
    assert schema["properties"]["treenode"]["properties"]["replicas"]["minimum"] == 1
