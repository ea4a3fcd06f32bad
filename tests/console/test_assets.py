"""What the pages consist of: small, and the packages in it exactly those that were released."""

from __future__ import annotations

import hashlib
import json
import re

from services.console.http.assets import FOLDER, read_assets

GZIPPED_BYTES_MAX = 120_000
VENDOR = FOLDER / "vendor"


def test_the_pages_are_small() -> None:
    assert sum(len(asset.packed) for asset in read_assets().values()) <= GZIPPED_BYTES_MAX


def test_packages_are_as_they_were_released() -> None:
    listed = json.loads((VENDOR / "vendor.json").read_text())
    for entry in listed:
        assert hashlib.sha256((VENDOR / entry["file"]).read_bytes()).hexdigest() == entry["sha256"], entry["file"]
        assert re.fullmatch(r"\d+\.\d+\.\d+", entry["version"])
        for licence in entry["licence_files"]:
            assert (VENDOR / licence).stat().st_size > 500
    licences = {licence for entry in listed for licence in entry["licence_files"]}
    there = {path.name for path in VENDOR.iterdir()} - {"vendor.json"}
    assert there == {entry["file"] for entry in listed} | licences


def test_nothing_is_fetched_from_elsewhere() -> None:
    """And every file that one of them names is there."""
    assets = read_assets()
    for path in FOLDER.rglob("*"):
        if path.suffix not in (".js", ".css", ".html") or path.parent == VENDOR:
            continue
        text = path.read_text()
        assert not re.search(r"https?://|//cdn|@import|innerHTML|eval\(", text), path
        for named in re.findall(r"""(?:from|import) "(\.[^"]+)\"""", text):
            target = (path.parent / named).resolve()
            assert target.relative_to(FOLDER).as_posix() in assets, f"{path} imports {named}"
