"""Certificates in Kubernetes: the script's and cert-manager's have one set of names, those that are dialled."""

from __future__ import annotations

import contextlib
import datetime
import functools
import os
import re
import ssl
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from fasttree.client import Endpoints
from fasttree.command.certs.authority import hosts_of, uris_of
from fasttree.command.certs.roles import named_in, uri_of
from fasttree.command.session import EVERY_PART
from services.shared.security.identity import HTTP2, Identity, TlsFiles
from tests.kubernetes.cert_manager import secrets_of
from tests.kubernetes.manifests import COMPONENT, K8S, ROOT, kustomized, named, of_kind, overlaid
from tools.kubernetes.fixed import CLUSTER, NODES_WITH_SECRETS

_PAGE = (ROOT / "docs/kubernetes.md").read_text()
#: Writes down what it is asked for, a line each.
_KUBECTL = """#!/bin/sh
echo "$@" >> "$ASKED"
case $1 in apply) cat > /dev/null ;; esac
"""
_USAGES = {"server auth": ExtendedKeyUsageOID.SERVER_AUTH, "client auth": ExtendedKeyUsageOID.CLIENT_AUTH}


class _Told(NamedTuple):
    """What a certificate says."""

    uris: frozenset[str]
    hosts: frozenset[str]

    @property
    def role(self) -> str:
        (uri,) = self.uris
        cluster, holder = named_in(uri) or ("", None)
        assert holder is not None
        assert uri == f"{uri_of(CLUSTER)}/{holder.role}/{holder.name}"
        assert cluster == CLUSTER
        return holder.role


@functools.cache
def _of_cert_manager() -> dict[str, _Told]:
    """By Secret, but for the authority's."""
    found = {}
    for each in of_kind(kustomized("overlays/cert-manager"), "Certificate"):
        spec = each["spec"]
        if not spec.get("isCA"):
            found[spec["secretName"]] = _Told(frozenset(spec["uris"]), frozenset(spec.get("dnsNames", ())))
    return found


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Secret to the certificate that the script puts into it, from outside too; nodes are many, and alike."""
    folder = tmp_path_factory.mktemp("secrets")
    kubectl = folder / "kubectl"
    kubectl.write_text(_KUBECTL)
    kubectl.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{folder}:{ROOT / '.venv/bin'}:{os.environ['PATH']}",
        "ASKED": str(folder / "asked"),
        "CERTS": str(folder / "certs"),
        "NODES": "1",
        "VIP_HOSTS": "tree.example.com 10.0.0.7",
        "PUSHER_HOSTS": "push.example.com",
    }
    script = ["sh", str(K8S / "components/tls/secrets.sh")]
    for _ in range(2):  # the second time it finds them there
        ran = subprocess.run(
            script, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=100
        )
        assert ran.returncode == 0, ran.stderr
    asked = (folder / "asked").read_text()
    made = re.findall(r"^create secret generic (\S+) --namespace fasttree .*--from-file=tls\.crt=(\S+)", asked, re.M)
    assert len(made) == 2 * len(set(made))
    return {name: Path(path) for name, path in made}


def test_the_script_and_cert_manager_make_the_same_certificates(secrets: dict[str, Path]) -> None:
    of_cert_manager = _of_cert_manager()
    nodes = {f"fasttree-treenode-{number}-tls" for number in range(NODES_WITH_SECRETS)}
    assert of_cert_manager.keys() == nodes | secrets.keys()
    outside = {"fasttree-vip-tls": {"tree.example.com", "10.0.0.7"}, "fasttree-pusher-tls": {"push.example.com"}}
    for name, path in secrets.items():
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        told = of_cert_manager[name]
        assert set(uris_of(certificate)) == told.uris, name
        # Nobody dials a client: what else it has does no harm.
        assert set(hosts_of(certificate)) == told.hosts | outside.get(name, set()), name
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        asked = named(kustomized("overlays/cert-manager"), "Certificate", name.removesuffix("-tls"))["spec"]["usages"]
        assert {_USAGES[each] for each in asked if each in _USAGES} <= set(usages), name
        assert ("server auth" in asked) == bool(told.hosts)


@pytest.fixture(scope="module")
def identities(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Identity]:
    """Secret to what a part makes of it, as cert-manager's own code fills it."""
    found, made = {}, secrets_of(kustomized("overlays/cert-manager"))
    now = datetime.datetime.now(datetime.UTC)
    for name, files in made.items():
        folder = tmp_path_factory.mktemp(name)
        for file, content in files.items():
            (folder / file).write_text(content)
        if name != "fasttree-authority-tls":
            found[name] = Identity(TlsFiles(*(folder / each for each in ("tls.crt", "tls.key", "ca.crt"))), "1.3", now)
    return found


def test_what_cert_manager_makes_is_what_parts_take(identities: dict[str, Identity]) -> None:
    assert identities.keys() == _of_cert_manager().keys()
    for name, identity in identities.items():
        told = _of_cert_manager()[name]
        (leaf,) = x509.load_pem_x509_certificates(identity.contents.certificate)
        assert _Told(frozenset(identity.uris), frozenset(hosts_of(leaf))) == told
        left = identity.expires - datetime.datetime.now(datetime.UTC)
        assert datetime.timedelta(days=29) < left <= datetime.timedelta(days=30)


#: Of nodes, which are alike, the first.
_ONE_OF_EACH = ("treenode-0", "coordinator", "pusher", "vip", "console", "datatrax")


@pytest.mark.parametrize("part", _ONE_OF_EACH)
def test_every_part_and_client_meets_every_part_by_them(identities: dict[str, Identity], part: str) -> None:
    server = f"fasttree-{part}-tls"
    for client in (*_ONE_OF_EACH, "operator", "monitor"):
        for host in _of_cert_manager()[server].hosts:
            _shake_hands(identities[f"fasttree-{client}-tls"], identities[server], host)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        _shake_hands(identities["fasttree-operator-tls"], identities[server], "fasttree-other")


def _shake_hands(client: Identity, server: Identity, host: str) -> None:
    """In memory, until both sides have looked at the other one's certificate."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.client_context.wrap_bio(to_client, to_server, server_hostname=host),
        server.server_context(HTTP2).wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(4):
        for end in ends:
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
    assert all(end.getpeercert() for end in ends)


def test_whoever_is_dialled_has_that_name(tmp_path: Path) -> None:
    whole = overlaid("datatrax", "gateway", "tls", "cert-manager")
    told = _of_cert_manager()
    for service in of_kind(whole, "Service"):
        name, selector = service["metadata"]["name"], service["spec"]["selector"]
        if service["spec"].get("clusterIP") == "None" and name != "fasttree-vips":
            continue  # its pods are, each by its own name
        part = selector[COMPONENT]
        secret = "fasttree-treenode-0-tls" if part == "treenode" else f"fasttree-{part}-tls"
        assert {name, f"{name}.fasttree.svc", EVERY_PART} <= told[secret].hosts
    file = tmp_path / "endpoints.json"
    file.write_text(
        named(kustomized("overlays/production"), "ConfigMap", "fasttree-endpoints")["data"]["endpoints.json"]
    )
    endpoints = Endpoints.read(file)
    for node in endpoints.nodes:
        for address in (node.report, node.instant, node.http):
            assert address.partition(":")[0] in told[f"{node.name}-tls"].hosts
    for address in endpoints.coordinator.split(","):
        assert address.partition(":")[0] in told["fasttree-coordinator-tls"].hosts
    for number in range(2):
        assert f"fasttree-pusher-{number}.fasttree-pushers" in told["fasttree-pusher-tls"].hosts


def test_every_secret_that_is_mounted_is_made_and_told_on_the_page() -> None:
    whole = yaml.safe_dump_all(overlaid("datatrax", "monitoring", "tls")) + "".join(
        path.read_text() for path in (K8S / "examples").glob("*.yaml")
    )
    named_there = set(re.findall(r"fasttree-[a-z0-9-]+-tls\b", whole))
    assert named_there == _of_cert_manager().keys()
    rows = {line.split("|")[1]: line for line in _PAGE.splitlines() if line.startswith("| `fasttree-")}
    for name, told in _of_cert_manager().items():
        if re.match(r"fasttree-treenode-[1-9]", name):
            continue
        (row,) = [line for secret, line in rows.items() if f"`{name}`" in secret]
        assert f"`{next(iter(told.uris))}`" in row
        own = {host for host in told.hosts if not host.endswith(".svc") and not re.search(r"-[12]\.", host)}
        assert set(re.findall(r"`([^`]+)`", row.split("|")[3])) == own - {EVERY_PART}


def test_an_issuer_of_ones_own_is_named_as_the_page_says() -> None:
    (block,) = [each for each in re.findall(r"```yaml\n(.*?)```", _PAGE, re.DOTALL) if "issuerRef" in each]
    manifests = overlaid("tls", "cert-manager", patches=yaml.safe_load(block)["patches"])
    issuers = {
        each["metadata"]["name"]: each["spec"]["issuerRef"]["name"] for each in of_kind(manifests, "Certificate")
    }
    assert issuers.pop("fasttree-authority") == "fasttree-self-signed"
    assert set(issuers.values()) == {"company"}
    assert {f"{name}-tls" for name in issuers} == _of_cert_manager().keys()


def test_each_certificate_is_of_a_role_and_of_its_parts_name() -> None:
    roles = {
        name.removeprefix("fasttree-").removesuffix("-tls"): told.role for name, told in _of_cert_manager().items()
    }
    for name, role in roles.items():
        assert role == ("node" if name.startswith("treenode-") else name)
    for number in range(NODES_WITH_SECRETS):
        # The coordinator gives a lease to the name in the certificate, which is the pod's.
        assert _of_cert_manager()[f"fasttree-treenode-{number}-tls"].uris == {
            f"spiffe://{CLUSTER}/node/fasttree-treenode-{number}"
        }
