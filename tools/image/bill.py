"""The bill of materials of an image, in CycloneDX's JSON: what scanners hold against lists of known faults."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from tools.image.packages import Package


def bill_of_materials(
    image: str,
    version: str,
    time_s: int,
    python: Sequence[Package],
    debian: Sequence[str],
    kind: str = "container",
) -> bytes:
    """One file, the same for the same parts.

    Args:
        image: Its name, without the version; or that of what `kind` says.
        version: Of the project.
        time_s: When it was made: the time of the last commit.
        python: What pip installed.
        debian: Lines of name, version and architecture of Debian's packages; none where the base was given.
    """
    components = [_python_component(package) for package in python] + [_debian_component(line) for line in debian]
    made = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time_s)),
            "component": {"type": kind, "bom-ref": image, "name": image, "version": version},
        },
        "components": sorted(components, key=lambda component: str(component["purl"])),
    }
    # Of what is in it, so that two builds have one number.
    made["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(made, sort_keys=True))}"
    return json.dumps(made, indent=1, sort_keys=True).encode() + b"\n"


def _python_component(package: Package) -> dict[str, Any]:
    purl = f"pkg:pypi/{package.name}@{package.version}"
    component = {"type": "library", "bom-ref": purl, "name": package.name, "version": package.version, "purl": purl}
    return component | ({"licenses": [{"expression": package.license}]} if package.license else {})


def _debian_component(line: str) -> dict[str, Any]:
    name, version, architecture = line.split()
    purl = f"pkg:deb/debian/{name}@{quote(version)}?arch={architecture}&distro=debian-12"
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
