"""The Helm chart renders what kustomize builds, lints; what it refuses is in test_chart_refusals.py."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

from tests.kubernetes.manifests import CHART, K8S, Manifest, helm, kustomized, named, of_kind, overlaid, parsed

#: What kustomize names a map by.
_HASH = re.compile(r"-[0-9a-z]{10}$")
_ALL_PARTS = ("backup", "datatrax", "gateway", "monitoring")


def _rendered(*arguments: str) -> list[Manifest]:
    return parsed(helm("template", "fasttree", str(CHART), "--namespace", "fasttree", *arguments))


def _comparable(manifests: list[Manifest]) -> dict[tuple[str, str], Manifest]:
    """By kind and name, without what each of the two ways does in its own way: the restart after a change of the
    configuration (kustomize: the map's name, Helm: an annotation), and the namespace, which Helm's user makes."""
    maps = {
        each["metadata"]["name"]: _HASH.sub("", each["metadata"]["name"])
        for each in manifests
        if each["kind"] == "ConfigMap"
    }
    found = {}
    for each in manifests:
        text = yaml.safe_dump(each)
        for built, name in maps.items():
            text = text.replace(f"name: {built}\n", f"name: {name}\n")
        each = yaml.safe_load(text)
        if not each["metadata"].get("annotations"):
            each["metadata"].pop("annotations", None)
        template = each.get("spec", {}).get("template", {}) if isinstance(each.get("spec"), dict) else {}
        template.get("metadata", {}).pop("annotations", None)
        # A patch of kustomize puts what it adds first.
        for pod in [template.get("spec", {})]:
            for place in (pod, *pod.get("containers", ())):
                for kind in ("env", "volumes", "volumeMounts"):
                    if kind in place:
                        place[kind].sort(key=lambda one: str(one["name"]))
        if each["kind"] == "ConfigMap":
            each["data"] = {key: _content(key, value) for key, value in each["data"].items()}
        if each["kind"] != "Namespace":
            found[each["kind"], each["metadata"]["name"]] = each
    return found


def _content(name: str, text: str) -> Any:
    """A file's content, however it is laid out."""
    return tomllib.loads(text) if name.endswith(".toml") else yaml.safe_load(text)


def test_it_renders_what_the_base_is() -> None:
    rendered, built = _comparable(_rendered()), _comparable(kustomized("base"))
    assert rendered.keys() == built.keys()
    for key, manifest in built.items():
        assert rendered[key] == manifest, key


def test_with_every_part_it_renders_what_the_components_are() -> None:
    switches = [f"--set={part}.enabled=true" for part in _ALL_PARTS]
    rendered = _comparable(_rendered(*switches))
    expected = _comparable(
        [
            *kustomized("overlays/datatrax"),
            *(each for part in _ALL_PARTS if part != "datatrax" for each in kustomized(f"overlays/{part}")),
        ]
    )
    assert rendered.keys() == expected.keys()
    for key, manifest in expected.items():
        assert rendered[key] == manifest, key


def test_with_certificates_it_renders_what_the_component_makes_of_the_base() -> None:
    rendered, built = _comparable(_rendered("--set=tls.mode=mutual")), _comparable(kustomized("overlays/tls"))
    assert rendered.keys() == built.keys()
    for key, manifest in built.items():
        assert rendered[key] == manifest, key


def test_with_every_part_and_certificates_it_renders_what_the_components_make() -> None:
    switches = [f"--set={part}.enabled=true" for part in (*_ALL_PARTS, "tls.certManager")]
    rendered = _comparable(_rendered("--set=tls.mode=mutual", *switches))
    built = _comparable(overlaid(*_ALL_PARTS, "tls", "cert-manager"))
    assert rendered.keys() == built.keys()
    for key, manifest in built.items():
        assert rendered[key] == manifest, key
    assert ("TLSRoute", "fasttree") in built
    assert ("GRPCRoute", "fasttree") not in built


def test_an_issuer_of_ones_own_makes_the_certificates_under_every_name() -> None:
    issuer = {"name": "company", "kind": "ClusterIssuer", "group": "cert-manager.io"}
    manifests = _rendered(
        "--set=tls.mode=mutual,tls.certManager.enabled=true,tls.certManager.duration=24h,settings.cluster.name=dot-test",
        "--set=tls.certManager.issuer.name=company,tls.certManager.issuer.kind=ClusterIssuer",
        "--set=tls.certManager.vipHosts={tree.example.com},coordinator.replicas=5,console.enabled=false",
    )
    assert not of_kind(manifests, "Issuer")
    certificates = of_kind(manifests, "Certificate")
    assert {each["spec"]["issuerRef"]["name"] for each in certificates} == {"company"}
    assert all(each["spec"]["issuerRef"] == issuer and each["spec"]["duration"] == "24h" for each in certificates)
    assert all(each["spec"]["uris"][0].startswith("spiffe://dot-test/") for each in certificates)
    assert "tree.example.com" in named(manifests, "Certificate", "fasttree-vip")["spec"]["dnsNames"]
    coordinator = named(manifests, "Certificate", "fasttree-coordinator")["spec"]["dnsNames"]
    assert "fasttree-coordinator-4.fasttree-coordinators.fasttree.svc" in coordinator
    assert "fasttree-console" not in [each["metadata"]["name"] for each in certificates]


def test_the_names_of_nodes_in_certificates_are_the_clusters() -> None:
    manifests = _rendered("--set=tls.mode=mutual,settings.cluster.name=dot-test")
    envoy = named(manifests, "ConfigMap", "fasttree-vip")["data"]["envoy.yaml"]
    assert envoy.count('prefix: "spiffe://dot-test/node/"') == 2
    assert "//CLUSTER/" not in envoy


def test_a_change_of_a_setting_restarts_who_reads_it() -> None:
    def annotation(manifests: list[Manifest], name: str) -> str:
        return str(
            named(manifests, "StatefulSet", name)["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
        )

    before, after = _rendered(), _rendered("--set=settings.coordinator.lease_s=2")
    for name in ("fasttree-treenode", "fasttree-pusher", "fasttree-coordinator"):
        assert annotation(before, name) != annotation(after, name)
    settings = tomllib.loads(named(after, "ConfigMap", "fasttree")["data"]["cluster.toml"])
    assert settings["coordinator"]["lease_s"] == 2
    assert settings["cluster"]["nodes_service"] == "fasttree-treenode"


def test_every_coordinator_and_pusher_is_named() -> None:
    manifests = _rendered(
        "--set=coordinator.replicas=3",
        "--set=pusher.replicas=2,settings.pusher.takes_turns=true,settings.pusher.log_store=postgresql",
        "--set=settings.pusher.log_url=postgresql://db.example.com/company",
        '--set-json=pusher.servers=[{"cidr":"10.1.2.0/24","port":5432}]',
    )
    coordinators = ",".join(f"fasttree-coordinator-{number}.fasttree-coordinators:50400" for number in range(3))
    settings = tomllib.loads(named(manifests, "ConfigMap", "fasttree")["data"]["cluster.toml"])
    assert settings["cluster"]["coordinator"] == coordinators
    endpoints = yaml.safe_load(named(manifests, "ConfigMap", "fasttree-endpoints")["data"]["endpoints.json"])
    assert endpoints["coordinator"] == coordinators
    assert endpoints["pusher"] == "fasttree-pusher-0.fasttree-pushers:50300,fasttree-pusher-1.fasttree-pushers:50300"
    for part, replicas in (("coordinator", 3), ("pusher", 2)):
        assert named(manifests, "StatefulSet", f"fasttree-{part}")["spec"]["replicas"] == replicas
    egress = named(manifests, "NetworkPolicy", "fasttree-pusher")["spec"]["egress"]
    assert {"to": [{"ipBlock": {"cidr": "10.1.2.0/24"}}], "ports": [{"protocol": "TCP", "port": 5432}]} in egress


def test_values_reach_every_place() -> None:
    manifests = _rendered(
        f"--set=image=registry.example.com/fasttree@sha256:{'12ab' * 16}",
        "--set=treenode.replicas=5",
        "--set=treenode.storage.className=fast",
        "--set=vip.threads=4",
        '--set-json=podSecurityContext={"runAsNonRoot":true,"seccompProfile":{"type":"RuntimeDefault"}}',
    )
    node = named(manifests, "StatefulSet", "fasttree-treenode")["spec"]
    assert node["template"]["spec"]["containers"][0]["image"] == f"registry.example.com/fasttree@sha256:{'12ab' * 16}"
    assert node["volumeClaimTemplates"][0]["spec"]["storageClassName"] == "fast"
    assert (
        named(manifests, "Deployment", "fasttree-vip")["spec"]["template"]["spec"]["containers"][0]["args"][-1] == "4"
    )
    endpoints = yaml.safe_load(named(manifests, "ConfigMap", "fasttree-endpoints")["data"]["endpoints.json"])
    assert [each["name"] for each in endpoints["nodes"]] == [f"fasttree-treenode-{number}" for number in range(5)]


def test_it_lints_without_a_word() -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART))


def test_the_release_says_what_is_where() -> None:
    install = ("install", "fasttree", str(CHART), "--namespace", "fasttree", "--dry-run=client")
    notes = helm(*install)
    assert "fasttree-vip:50100" in notes
    assert "It goes in clear: whoever reaches a port may read and change everything." in notes
    by_script = helm(*install, "--set=tls.mode=mutual")
    assert "until you make them: components/tls/secrets.sh" in by_script
    assert "in clear" not in by_script.partition("NOTES:")[2]
    assert "until cert-manager has made them." in helm(*install, "--set=tls.mode=mutual,tls.certManager.enabled=true")
    assert (Path(K8S) / "base/envoy.yaml").exists()
