"""Kinds of other projects that manifests name, as those projects define them: their Go modules have the definitions."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import NamedTuple

from tests.kubernetes.binaries import go, go_environment


class _Module(NamedTuple):
    version: str
    #: As go.sum would have it.
    digest: str
    files: tuple[str, ...]


_GATEWAY = "config/crd/standard/gateway.networking.k8s.io"
_CERTIFICATES = "deploy/crds/cert-manager.io"
_MONITORING = "example/prometheus-operator-crd/monitoring.coreos.com"
_MODULES = (
    _Module(
        "sigs.k8s.io/gateway-api@v1.6.3",
        "h1:lKpJa5bGlraC/QeACvCpsHLdmO6y0iKfzVl6gzaFEYc=",
        (f"{_GATEWAY}_grpcroutes.yaml", f"{_GATEWAY}_tlsroutes.yaml"),
    ),
    _Module(
        "github.com/cert-manager/cert-manager@v1.21.2",
        "h1:UWgoYM+KLNtRlqmoWOKjKBOBUPVHeepQ6/ac3ERJW68=",
        (f"{_CERTIFICATES}_certificates.yaml", f"{_CERTIFICATES}_issuers.yaml"),
    ),
    _Module(
        "github.com/prometheus-operator/prometheus-operator@v0.85.0",
        "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
        (f"{_MONITORING}_podmonitors.yaml", f"{_MONITORING}_prometheusrules.yaml"),
    ),
)


def custom_resource_definitions() -> list[Path]:
    """Files for `kubectl apply`; the modules are fetched the first time, some megabytes."""
    return [_folder(module) / name for module in _MODULES for name in module.files]


def _folder(module: _Module) -> Path:
    kept = Path(go_environment()["GOMODCACHE"]) / module.version
    # It has this name once it is whole, and was held to the digest when it was fetched.
    if kept.is_dir():
        return kept
    ran = subprocess.run(
        [go(print), "mod", "download", "-json", module.version],
        env=go_environment(),
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    told = json.loads(ran.stdout)
    assert told["Sum"] == module.digest, f"{module.version} is not what it was: {told['Sum']}"
    return Path(told["Dir"])


if __name__ == "__main__":
    # Fetches them, for who can't later on: inside of a cluster of the project's own there is no network.
    print(*custom_resource_definitions(), sep="\n")
