"""What is installed is pinned by version and by the hashes of its files, and no other file is taken."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools.image.packages import needed, pinned_versions, pins_of
from tools.sbom import bill

ROOT = Path(__file__).parents[2]
LOCKS = ("run.txt", "dev.txt")


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_hashes_and_names_no_place(lock: str) -> None:
    path = ROOT / "requirements" / lock
    pins = pins_of(path)
    assert len(pins) > 30
    assert pinned_versions(path).keys() == pins.keys()
    for name, pin in pins.items():
        assert re.findall(r"--hash=sha256:[0-9a-f]{64}", pin), name
    text = path.read_text()
    assert "://" not in text
    assert "--index" not in text
    assert "--find-links" not in text


def test_what_runs_is_pinned_alike_in_both() -> None:
    run, dev = (pins_of(ROOT / "requirements" / lock) for lock in LOCKS)
    assert run.items() <= dev.items()


def test_set_up_takes_no_other_file() -> None:
    installs = [line for line in (ROOT / "Makefile").read_text().splitlines() if "pip install" in line]
    assert installs
    for line in installs:
        assert "--require-hashes" in line or "--no-deps --no-build-isolation --editable ." in line, line


def test_a_bill_has_every_package_with_its_licence() -> None:
    found = bill(ROOT)
    assert (found["bomFormat"], found["metadata"]["component"]["name"]) == ("CycloneDX", "ha-fasttree")
    packages = needed(ROOT / "pyproject.toml", ROOT / "requirements/run.txt")
    wanted = {f"pkg:pypi/{each.name}@{each.version}" for each in packages}
    assert {each["purl"] for each in found["components"]} == wanted
    unknown = [each["name"] for each in found["components"] if "licenses" not in each]
    assert not unknown
