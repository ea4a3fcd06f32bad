"""The bill of materials of a release, in CycloneDX's JSON, with each package's licence: python -m tools.sbom FILE"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

from tools.image.bill import bill_of_materials
from tools.image.packages import needed

ROOT = Path(__file__).parents[1]


def bill(root: Path) -> dict[str, Any]:
    """Of the packages that a release runs with, at the versions that are pinned. Raises PackagesError."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    packages = needed(root / "pyproject.toml", root / "requirements/run.txt")
    text = bill_of_materials(project["name"], project["version"], _made_s(root), packages, (), kind="application")
    made: dict[str, Any] = json.loads(text)
    return made


def _made_s(root: Path) -> int:
    """When what is here was committed last, so that the same state has the same bill."""
    command = ["git", "log", "-1", "--format=%ct"]
    ran = subprocess.run(command, cwd=root, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return int(ran.stdout) if ran.returncode == 0 and ran.stdout.strip() else 0


def main() -> None:
    """Writes it, and says what is in it."""
    path = Path(sys.argv[1])
    made = bill(ROOT)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(made, indent=1, sort_keys=True) + "\n")
    for each in made["components"]:
        licences = " ".join(licence["expression"] for licence in each.get("licenses", ()))
        print(f"{each['name']} {each['version']}  {licences or '(none told)'}")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
