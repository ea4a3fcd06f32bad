"""checkov over every manifest: python -m tests.kubernetes.checkov

It is large and pins what others need newer, so it has an environment of its own, beside the binaries. What it finds and
may stay is in `ACCEPTED`, each with its reason; a line there that accepts nothing any more is an error too.
"""

from __future__ import annotations

import fnmatch
import json
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import yaml

from tests.kubernetes.binaries import home
from tests.kubernetes.manifests import EXAMPLES, KUSTOMIZATIONS, kustomized

VERSION = "3.3.30"
_HERE = "tests/kubernetes/checkov.py"


class Finding(NamedTuple):
    """What it says of one resource."""

    check: str
    name: str
    resource: str


#: Check and resources (kind.namespace.name, with *) to the reason why it may stay.
ACCEPTED = {
    ("CKV_K8S_11", "*"): "no limit of processors: a node that is throttled is late with everything, its lease too",
    (
        "CKV_K8S_15",
        "*",
    ): "images are pinned by version, by digest where tags may move: pulled once, and there when the registry is not",
    ("CKV_K8S_43", "*"): "a digest is the company's own image's: overlays/production says where it stands",
    (
        "CKV_K8S_38",
        "StatefulSet.fasttree.fasttree-coordinator",
    ): "it keeps its record and the pods' labels in Kubernetes",
    ("CKV_K8S_38", "StatefulSet.fasttree.fasttree-pusher"): "it lists the nodes' EndpointSlices",
    ("CKV_K8S_8", "Pod.fasttree.*"): "a shell for people: nothing in it can be ready or dead",
    ("CKV_K8S_9", "Pod.fasttree.*"): "the same",
}


def accepted_by(finding: Finding) -> Iterator[tuple[str, str]]:
    """The lines of `ACCEPTED` that let it stay."""
    for check, resources in ACCEPTED:
        if check == finding.check and fnmatch.fnmatchcase(finding.resource, resources):
            yield check, resources


def findings(report: str) -> Iterator[Finding]:
    """Those of checkov's JSON."""
    content = json.loads(report)
    for part in content if isinstance(content, list) else [content]:
        assert part["summary"]["resource_count"] > 0
        assert part["summary"]["parsing_errors"] == 0
        for failed in part["results"]["failed_checks"]:
            yield Finding(failed["check_id"], failed["check_name"], failed["resource"])


def main() -> None:
    """Prints what is found and not accepted; fails where there is any."""
    with tempfile.TemporaryDirectory(prefix="fasttree-checkov-") as name:
        folder = Path(name)
        for source in KUSTOMIZATIONS:
            (folder / f"{Path(source).name}.yaml").write_text(yaml.safe_dump_all(kustomized(source)))
        for path in EXAMPLES:
            shutil.copy(path, folder)
        command = [
            str(_checkov()),
            "--directory",
            name,
            "--framework",
            "kubernetes",
            "--skip-download",
            "--output",
            "json",
        ]
        found = set(findings(subprocess.run(command, capture_output=True, text=True, check=False).stdout))
    left = sorted(each for each in found if not any(accepted_by(each)))
    for each in left:
        print(f"{each.resource}: {each.name} ({each.check}): mend it, or accept it with a reason in {_HERE}")
    stale = sorted(ACCEPTED.keys() - {line for each in found for line in accepted_by(each)})
    for line in stale:
        print(f"{_HERE}: {line} accepts nothing any more: remove it")
    print(f"checkov: {len(found)} found, {len(found) - len(left)} accepted")
    sys.exit(bool(left or stale))


def _checkov() -> Path:
    """Its program, installed the first time."""
    folder = home() / f"checkov-{VERSION}"
    program = folder / "bin" / "checkov"
    if not program.exists():
        print(f"installing checkov {VERSION} into {folder}, once: a minute or so", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([folder / "bin/pip", "install", "--quiet", f"checkov=={VERSION}"], check=True)
    return program


if __name__ == "__main__":
    main()
