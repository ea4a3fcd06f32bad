"""Secrets as cert-manager makes them, by its own code: a program of `locks/certificates` signs as a CA issuer."""

from __future__ import annotations

import json
import subprocess

from tests.kubernetes.binaries import found
from tests.kubernetes.manifests import Manifest, of_kind


def secrets_of(manifests: list[Manifest]) -> dict[str, dict[str, str]]:
    """Secret to its files, of every Certificate among the manifests, one of which is an authority."""
    certificates = of_kind(manifests, "Certificate")
    asked = sorted(certificates, key=lambda each: not each["spec"].get("isCA", False))
    program = found(("certificates",))["certificates"]
    ran = subprocess.run([str(program)], input=json.dumps(asked), capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    made: dict[str, dict[str, str]] = json.loads(ran.stdout)
    return made
