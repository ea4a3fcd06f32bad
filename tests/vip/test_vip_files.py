"""The shipped files: valid, and the same text that tests and `fasttree up` run."""

from __future__ import annotations

import datetime
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from fasttree.command.certs.folder import CertificateFolder
from fasttree.command.certs.roles import Holder
from fasttree.command.local.vip import (
    ENVOY_CLUSTERS,
    VipError,
    deploy_file,
    render_envoy,
    render_envoy_nodes,
    render_followed_envoy,
    render_haproxy,
)
from tests.vip.fronts import envoy_program, haproxy_program
from tools.vip_tls import ROOT, made

SHIPPED_NODES = ["ftsp01.example.com", "ftsp02.example.com"]


def validate_envoy(path: Path, *further: str) -> subprocess.CompletedProcess[str]:
    command = [envoy_program(), "--mode", "validate", "--config-path", str(path), *further]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def validate_haproxy(path: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [haproxy_program(), "-c", "-f", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=folder)


def test_rendered_files_take_ipv6_addresses(tmp_path: Path) -> None:
    envoy_file, haproxy_file = tmp_path / "envoy.yaml", tmp_path / "haproxy.cfg"
    envoy_file.write_text(render_envoy(["[::1]:7000", "[fd00::2]:7001"], "[::1]:7200", tmp_path / "admin.sock"))
    haproxy_file.write_text(render_haproxy([("[::1]:7000", "[::1]:7100")], "[::1]:7202"))
    assert (result := validate_envoy(envoy_file)).returncode == 0, result.stderr
    assert (result := validate_haproxy(haproxy_file, tmp_path)).returncode == 0, result.stderr


def test_the_shipped_envoy_file_is_valid() -> None:
    result = validate_envoy(deploy_file("envoy/envoy.yaml"))
    assert result.returncode == 0, result.stderr


def known_here(text: str) -> str:
    """The file with names that need no name server: HAProxy looks up each of them, and a server that is away takes ten
    seconds of each."""
    known, count = re.subn(r"ftsp\d+\.example\.com", "localhost", text)
    assert count
    return known


def test_the_shipped_haproxy_file_is_valid(tmp_path: Path) -> None:
    path = deploy_file("haproxy/haproxy.cfg")
    copy = tmp_path / path.name
    copy.write_text(known_here(path.read_text()))
    result = validate_haproxy(copy, path.parent)
    assert result.returncode == 0, result.stderr


def test_the_shipped_files_by_tls_are_made_of_those_without() -> None:
    for path, text in made().items():
        assert (ROOT / path).read_text(encoding="utf-8") == text, f"{path}: run `python -m tools.vip_tls`"


def test_the_shipped_files_by_tls_are_valid(tmp_path: Path) -> None:
    folder = CertificateFolder(tmp_path / "certs")
    folder.init("dot-live", datetime.timedelta(days=1))
    issued = folder.issue(folder.authority(), Holder("vip", "vip"), ["127.0.0.1"], datetime.timedelta(days=1))
    there = issued.certificate.parent
    shutil.copy(folder.revoked, there)
    shutil.copy(folder.believed, there)
    for path, text in made().items():
        copy = tmp_path / Path(path).name
        copy.write_text(text.replace("/etc/envoy/tls", str(there)).replace("/etc/envoy", str(tmp_path)))
    result = validate_envoy(tmp_path / "envoy-tls.yaml")
    assert result.returncode == 0, result.stderr
    haproxy_file = tmp_path / "haproxy-tls.cfg"
    text = haproxy_file.read_text().replace("/etc/haproxy/tls", str(there))
    text = text.replace("lua-load hold.lua", f"lua-load {deploy_file('haproxy/hold.lua')}")
    haproxy_file.write_text(known_here(text))
    result = validate_haproxy(haproxy_file, tmp_path)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("nodes", [1, 2, 5])
def test_rendered_files_are_valid(nodes: int, tmp_path: Path) -> None:
    addresses = [(f"127.0.0.1:{7000 + number}", f"127.0.0.1:{7100 + number}") for number in range(nodes)]
    envoy_file, haproxy_file = tmp_path / "envoy.yaml", tmp_path / "haproxy.cfg"
    envoy_file.write_text(render_envoy([report for report, _ in addresses], 7200, tmp_path / "admin.sock"))
    haproxy_file.write_text(render_haproxy(addresses, "127.0.0.1:7202"))
    assert (result := validate_envoy(envoy_file)).returncode == 0, result.stderr
    assert (result := validate_haproxy(haproxy_file, tmp_path)).returncode == 0, result.stderr
    for report, http in addresses:
        host, _, port = report.rpartition(":")
        assert envoy_file.read_text().count(f"{{address: {host}, port_value: {port}}}") == 1
        assert haproxy_file.read_text().count(f" {report} ") == 3
        assert haproxy_file.read_text().count(f"port {http.rpartition(':')[2]} ") == 2


def test_nodes_that_come_and_go_stand_in_files_of_their_own(tmp_path: Path) -> None:
    nodes = ["127.0.0.1:7000", "[fd00::2]:7001"]
    followed = {cluster: tmp_path / f'{cluster} "é".yaml' for cluster in ENVOY_CLUSTERS}
    for cluster, path in followed.items():
        path.write_text(render_envoy_nodes(cluster, nodes))
        assert f"cluster_name: {cluster}\n" in path.read_text()
        assert "overprovisioning_factor: 100000" in path.read_text()
        assert [path.read_text().count(f"port_value: {port}}}") for port in (7000, 7001)] == [1, 1]
    envoy_file = tmp_path / "envoy.yaml"
    envoy_file.write_text(render_followed_envoy(followed, 7200, tmp_path / "admin.sock"))
    assert "STRICT_DNS" not in envoy_file.read_text()
    named = ("--service-node", "vip", "--service-cluster", "fasttree")
    assert (result := validate_envoy(envoy_file, *named)).returncode == 0, result.stderr


def test_a_folder_that_is_too_deep_for_a_socket_has_no_admin_page(tmp_path: Path) -> None:
    envoy_file = tmp_path / "envoy.yaml"
    for length, has_one in ((107, True), (108, False)):
        admin = Path("/" + "d" * (length - 1))
        envoy_file.write_text(render_envoy(["127.0.0.1:7000"], 7200, admin))
        assert ("pipe:" in envoy_file.read_text()) == has_one
        assert (result := validate_envoy(envoy_file)).returncode == 0, result.stderr


def test_the_shipped_envoy_file_is_what_is_rendered() -> None:
    rendered = render_envoy([f"{node}:50100" for node in SHIPPED_NODES], "0.0.0.0:50100", Path("/run/envoy/admin.sock"))
    assert rendered == deploy_file("envoy/envoy.yaml").read_text()


def test_the_shipped_haproxy_file_is_what_is_rendered() -> None:
    addresses = [(f"{node}:50100", f"{node}:50200") for node in SHIPPED_NODES]
    rendered = render_haproxy(addresses, "0.0.0.0:50100")
    for number, node in enumerate(SHIPPED_NODES, 1):
        rendered = rendered.replace(f"node{number}", node.partition(".")[0])
    rendered = rendered.replace(str(deploy_file("haproxy/hold.lua")), "hold.lua")
    assert rendered == deploy_file("haproxy/haproxy.cfg").read_text()


@pytest.mark.parametrize("address", ["", "host", "host:", ":1", "host:port", "ho st:1", "host:1\n", "a}:1"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="expected host:port"):
        render_envoy([address], 7200, Path("admin.sock"))
    with pytest.raises(ValueError, match="expected host:port"):
        render_haproxy([(address, "127.0.0.1:50200")], 7200)


def test_a_vip_needs_nodes() -> None:
    with pytest.raises(ValueError, match="at least one node"):
        render_envoy([], 7200, Path("admin.sock"))
    with pytest.raises(ValueError, match="at least one node"):
        render_haproxy([], 7200)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(VipError, match=r"envoy/none\.yaml is missing"):
        deploy_file("envoy/none.yaml")
