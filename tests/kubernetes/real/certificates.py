"""Certificates of a cluster in a cluster: the component's script makes them, and what a port shows is looked at."""

from __future__ import annotations

import json
from pathlib import Path

from tests.kubernetes.cert_manager import secrets_of
from tests.kubernetes.manifests import kustomized
from tests.kubernetes.real.deployed import ROOT, Deployed
from tests.kubernetes.real.pages import run

#: What a port shows to who shows a certificate, by its digest; and of a page, what it says.
_LOOK = """
import hashlib, http.client, socket, ssl, sys
host, port, name, folder, page = sys.argv[1:]
context = ssl.create_default_context(cafile=f"{folder}/ca.crt")
context.load_cert_chain(f"{folder}/tls.crt", f"{folder}/tls.key")
context.set_alpn_protocols(["http/1.1" if page else "h2"])
with context.wrap_socket(socket.create_connection((host, int(port)), timeout=10), server_hostname=name) as connection:
    print(hashlib.sha256(connection.getpeercert(True)).hexdigest())
    if page:
        connection.sendall(f"GET {page} HTTP/1.1\\r\\nHost: {host}\\r\\nConnection: close\\r\\n\\r\\n".encode())
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        print(answer.status, answer.read().decode())
"""


def make_secrets(running: Deployed, certs: Path) -> None:
    """By the page's command: into the cluster's namespace, which has to be there."""
    told = f"NAMESPACE={running.namespace} CERTS={certs} PATH={ROOT / '.venv/bin'}:$PATH"
    run("sh deploy/k8s/components/tls/secrets.sh", **{"sh deploy": f"env {told} sh deploy"})


def make_secrets_by_cert_manager(running: Deployed) -> None:
    """As its controllers would, which need a network: by its code, of the component's Certificates."""
    for name, files in secrets_of(kustomized("overlays/cert-manager")).items():
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": files}
        running.kubectl("apply", "-f", "-", stdin=json.dumps(secret))


def shown(
    running: Deployed, host: str, port: int, name: str, *, folder: str = "/run/fasttree/tls", page: str = ""
) -> str:
    """Digest of the certificate that a port shows to the operator's pod, below it the page; empty: no connection."""
    look = ("python3", "-P", "-c", _LOOK, host, str(port), name, folder, page)
    return running.kubectl("exec", "operator", "--", *look, check=False)
