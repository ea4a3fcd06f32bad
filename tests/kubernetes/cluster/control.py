"""The control plane, and the network that the nodes hang on."""

from __future__ import annotations

import functools
import secrets
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

from tests.kubernetes.cluster import place
from tests.kubernetes.cluster.machines import start_node
from tests.kubernetes.cluster.node import run_node
from tests.kubernetes.cluster.processes import call, reap_for_ever, say, start, succeeds, wait_for
from tests.kubernetes.control_plane import certify, kubeconfig_text

#: Name of the file, the user and its groups.
_WHO = {
    "admin": ("admin", "system:masters"),
    "controllers": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "proxy": ("system:kube-proxy", ""),
}
#: A node that says nothing for so long is given up, and its pods with it.
NODE_GRACE_S = 20


def run_control(nodes: int, images: list[Path]) -> None:
    """Runs all of it, and never returns: the first process of the outer namespaces."""
    folder = place.run_folder()
    for name in ("pki", "logs", "kubeconfigs"):
        (folder / name).mkdir(parents=True)
    _lay_network()
    certificate = folder / "pki" / "api.crt"
    names = "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
    certify(certificate, f"{names},IP:{place.CONTROL},IP:{place.API_SERVICE}")
    _name_users(nodes, certificate)
    _start_programs(folder, certificate)
    others = {f"node{number}": start_node(number, nodes, images) for number in range(2, nodes + 1)}
    run_node(1, nodes, images)
    for number in range(1, nodes + 1):
        wait = ("kubectl", "wait", "--for=condition=Ready", f"node/node{number}", "--timeout=1s")
        wait_for(f"node{number} is ready", succeeds(*wait), others)
        wait_for(f"node{number} keeps network policies", functools.partial(_keeps_policies, number), others)
    _make_volumes(nodes)
    (folder / "up").touch()
    say("up")
    reap_for_ever()


def _lay_network() -> None:
    """A bridge, since there need be no kind of interface beside it in a kernel; the nodes hang on it."""
    call("ip", "link", "set", "lo", "up")
    call("ip", "link", "add", "node0", "type", "bridge")
    call("ip", "address", "add", f"{place.CONTROL}/24", "dev", "node0")
    call("ip", "link", "set", "node0", "up")
    # It leads nowhere; some programs only ask that there be one.
    call("ip", "route", "add", "default", "dev", "node0")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    # So that who is run by `exec` finds Services by name, too.
    resolver = place.run_folder() / "resolv.conf"
    resolver.write_text(f"nameserver {place.CONTROL}\nsearch svc.cluster.local cluster.local\n")
    call("mount", "--bind", str(resolver), "/etc/resolv.conf")


def _name_users(nodes: int, certificate: Path) -> None:
    """A token for each program."""
    of_nodes = {f"kubelet{number}": (f"system:node:node{number}", "system:nodes") for number in range(1, nodes + 1)}
    lines = []
    for name, (user, groups) in {**_WHO, **of_nodes}.items():
        token = secrets.token_hex(16)
        lines.append(f'{token},{user},{user},"{groups}"\n')
        place.kubeconfig(name).write_text(kubeconfig_text(place.API_URL, certificate, token))
    (place.run_folder() / "pki" / "tokens.csv").write_text("".join(lines))


def _start_programs(folder: Path, certificate: Path) -> None:
    accounts = str(folder / "pki" / "accounts.key")
    call("openssl", "genrsa", "-out", accounts, "2048")
    peer = "http://127.0.0.1:2380"
    etcd = start("etcd", [
        "etcd", f"--data-dir={folder}/etcd", "--unsafe-no-fsync",
        f"--listen-client-urls={place.ETCD_URL}", f"--advertise-client-urls={place.ETCD_URL}",
        f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}",
    ])  # fmt: skip
    wait_for("etcd", lambda: _answers(f"{place.ETCD_URL}/health"), {"etcd": etcd})
    api_server = start("api-server", [
        "kube-apiserver", f"--etcd-servers={place.ETCD_URL}", f"--service-cluster-ip-range={place.SERVICES}",
        f"--tls-cert-file={certificate}", f"--tls-private-key-file={certificate.with_suffix('.key')}",
        "--bind-address=0.0.0.0", "--secure-port=6443", f"--advertise-address={place.CONTROL}",
        f"--token-auth-file={folder}/pki/tokens.csv", "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={accounts}", f"--service-account-signing-key-file={accounts}",
        "--kubelet-preferred-address-types=InternalIP",
    ])  # fmt: skip
    wait_for("API server", succeeds("kubectl", "get", "--raw", "/readyz"), {"api-server": api_server})
    start("controllers", [
        "kube-controller-manager", f"--kubeconfig={place.kubeconfig('controllers')}",
        f"--service-account-private-key-file={accounts}", f"--root-ca-file={certificate}",
        "--use-service-account-credentials", "--leader-elect=false", f"--cluster-cidr={place.POD_NETWORK}.0.0/16",
        "--allocate-node-cidrs=false", f"--node-monitor-grace-period={NODE_GRACE_S}s",
    ])  # fmt: skip
    start("scheduler", ["kube-scheduler", f"--kubeconfig={place.kubeconfig('scheduler')}", "--leader-elect=false"])
    names = folder / "Corefile"
    names.write_text(
        f".:53 {{\n bind {place.CONTROL}\n errors\n ready\n"
        f" kubernetes cluster.local in-addr.arpa {{\n  kubeconfig {place.kubeconfig('admin')}\n  ttl 1\n }}\n"
        " cache 1\n}\n"
    )
    start("name-server", ["coredns", "-conf", str(names)])


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1):
            return True
    except (urllib.error.URLError, OSError):
        return False


def _keeps_policies(number: int) -> bool:
    log = place.log_file(f"policies{number}")
    return log.exists() and "full sync goroutine" in log.read_text()


def _make_volumes(nodes: int) -> None:
    """Volumes on the nodes' own disks, for whoever claims one: nothing here makes them on demand."""
    objects = [_storage_class("local", "true"), _storage_class("small", "false")]
    for number in range(1, nodes + 1):
        for volume in range(place.VOLUMES):
            folder = place.node_folder(number) / "volumes" / str(volume)
            folder.mkdir(parents=True)
            objects.append(_volume(f"node{number}-{volume}", number, folder, "local", "100Gi"))
        for volume in range(place.SMALL_VOLUMES):
            path = place.small_volume(number, volume)
            objects.append(_volume(f"node{number}-small-{volume}", number, path, "small", f"{place.SMALL_MIB}Mi"))
    manifest = place.run_folder() / "volumes.yaml"
    manifest.write_text("---\n".join(objects))
    subprocess.run(["kubectl", "apply", "-f", str(manifest)], check=True, env=place.environment(), stdout=sys.stderr)


def _storage_class(name: str, default: str) -> str:
    return f"""apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {{name: {name}, annotations: {{storageclass.kubernetes.io/is-default-class: "{default}"}}}}
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
"""


def _volume(name: str, node: int, path: Path, storage_class: str, capacity: str) -> str:
    return f"""apiVersion: v1
kind: PersistentVolume
metadata: {{name: {name}}}
spec:
  capacity: {{storage: {capacity}}}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: {storage_class}
  local: {{path: "{path}"}}
  nodeAffinity:
    required:
      nodeSelectorTerms:
      - matchExpressions: [{{key: kubernetes.io/hostname, operator: In, values: [node{node}]}}]
"""
