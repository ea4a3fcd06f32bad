"""A Kubernetes API without nodes: etcd and an API server as processes of this user, on ports of loopback.

It takes, checks and keeps objects as a whole cluster does (schemas, admission, PodSecurity, RBAC, compare-and-set); no
controller acts on them and nothing runs. It needs no root, and is there after some six seconds.
"""

from __future__ import annotations

import contextlib
import secrets
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from fasttree.command.local.free_ports import free_ports
from tests.kubernetes.binaries import CONTROL_PLANE, found

_READY_S = 120.0


class ControlPlane(NamedTuple):
    """How it is spoken to."""

    url: str
    #: Of an administrator.
    token: str
    #: The API server's certificate, which signs itself.
    ca_file: Path
    kubeconfig: Path
    kubectl_binary: Path

    def kubectl(
        self, *arguments: str, stdin: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Runs kubectl with this cluster; where it fails and `check` is set, the test fails with what it said."""
        ran = subprocess.run(
            [str(self.kubectl_binary), "--kubeconfig", str(self.kubeconfig), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0 or not check, f"kubectl {' '.join(arguments)}: {ran.stderr or ran.stdout}"
        return ran


def kubeconfig_text(url: str, ca_file: Path, token: str) -> str:
    """The file that tells kubectl where a cluster is, and who asks."""
    return f"""apiVersion: v1
kind: Config
clusters: [{{name: test, cluster: {{server: "{url}", certificate-authority: "{ca_file}"}}}}]
users: [{{name: admin, user: {{token: {token}}}}}]
contexts: [{{name: test, context: {{cluster: test, user: admin}}}}]
current-context: test
"""


def certify(certificate: Path, names: str) -> Path:
    """Makes a certificate that signs itself, for a day; returns its key."""
    key = certificate.with_suffix(".key")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=kubernetes"]
    files = ["-keyout", str(key), "-out", str(certificate), "-addext", f"subjectAltName={names}"]
    subprocess.run([*command, *files], check=True, capture_output=True)
    return key


@contextlib.contextmanager
def control_plane(folder: Path) -> Iterator[ControlPlane]:
    """Runs one, with all that it writes in `folder`, and ends it.

    Raises:
        BuildError: Its programs have not been built.
    """
    programs = found(CONTROL_PLANE)
    etcd_port, peer_port, port = free_ports("127.0.0.1", 3)
    token = secrets.token_hex(16)
    plane = ControlPlane(
        f"https://127.0.0.1:{port}", token, folder / "pki" / "apiserver.crt", folder / "kubeconfig", programs["kubectl"]
    )
    (folder / "pki").mkdir(parents=True)
    certificate_key = certify(plane.ca_file, "IP:127.0.0.1,DNS:localhost")
    (folder / "tokens.csv").write_text(f'{token},admin,admin,"system:masters"\n')
    plane.kubeconfig.write_text(kubeconfig_text(plane.url, plane.ca_file, token))
    key = folder / "pki" / "service-accounts.key"
    subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
    etcd = [
        str(programs["etcd"]),
        f"--data-dir={folder}/etcd",
        "--unsafe-no-fsync",
        f"--listen-client-urls=http://127.0.0.1:{etcd_port}",
        f"--advertise-client-urls=http://127.0.0.1:{etcd_port}",
        f"--listen-peer-urls=http://127.0.0.1:{peer_port}",
        f"--initial-advertise-peer-urls=http://127.0.0.1:{peer_port}",
        f"--initial-cluster=default=http://127.0.0.1:{peer_port}",
    ]
    api_server = [
        str(programs["kube-apiserver"]),
        f"--etcd-servers=http://127.0.0.1:{etcd_port}",
        f"--tls-cert-file={plane.ca_file}",
        f"--tls-private-key-file={certificate_key}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        # There is no Service to reach it by, and loopback is no address of one.
        "--endpoint-reconciler-type=none",
        f"--secure-port={port}",
        "--service-cluster-ip-range=10.96.0.0/16",
        f"--token-auth-file={folder}/tokens.csv",
        "--authorization-mode=RBAC",
        # No controller is there to make a namespace's account, without which pods would be refused.
        "--disable-admission-plugins=ServiceAccount",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
    ]
    with contextlib.ExitStack() as running:
        running.enter_context(_process(etcd, folder / "etcd.log"))
        server = running.enter_context(_process(api_server, folder / "apiserver.log"))
        _wait_until_ready(plane, server, folder / "apiserver.log")
        yield plane


@contextlib.contextmanager
def _process(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output, subprocess.Popen(
        command, cwd=log.parent, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            # Nothing of it is kept: it need not end in good order, which takes an API server seconds.
            process.kill()


def _wait_until_ready(plane: ControlPlane, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline_s = time.monotonic() + _READY_S
    while True:
        assert server.poll() is None, f"the API server ended: {log.read_text()[-4000:]}"
        assert time.monotonic() < deadline_s, (
            f"the API server is not ready after {_READY_S:g} s: {log.read_text()[-4000:]}"
        )
        with contextlib.suppress(OSError):
            request = urllib.request.Request(f"{plane.url}/readyz", headers={"Authorization": f"Bearer {plane.token}"})
            context = ssl.create_default_context(cafile=str(plane.ca_file))
            with urllib.request.urlopen(request, timeout=5, context=context):
                return
        time.sleep(0.1)
