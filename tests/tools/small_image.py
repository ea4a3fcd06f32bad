"""Builds a small image, of what `tools.image` makes the real one of: python -m tests.tools.small_image CLONE ARCHIVE

All of the project, and a few packages as they lie installed here, one of them with a library: neither pip, nor Debian's
packages, nor a compiler of kernels, which take minutes the first time.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from importlib.metadata import distribution
from pathlib import Path

from tools.image.archive import Image, write_archive
from tools.image.bill import bill_of_materials
from tools.image.contents import Contents, Layer
from tools.image.packages import INSTALLED_IN, Package, finish
from tools.image.project import ENTRY_POINT, ENVIRONMENT, HOME, USER, lay_out, project_contents

#: Python alone, and with a library that is stripped.
PACKAGES = ("click", "msgspec")
_TIME_S = 1_700_000_000


def build(clone: Path, archive: Path) -> str:
    """The image's digest."""
    with tempfile.TemporaryDirectory(dir=archive.parent) as name:
        work = Path(name)
        lay_out(work / "project", clone=clone)
        bill = bill_of_materials("localhost/small", "1", _TIME_S, [_package(each) for each in PACKAGES], [])
        contents = Contents()
        contents.add_bytes("usr/share/sbom/small.cdx.json", bill)
        layers = [
            _packages(work),
            project_contents(work / "project").write(work / "project.tar", _TIME_S),
            contents.write(work / "bill.tar", _TIME_S),
        ]
        image = Image("localhost/small:1", layers, (ENTRY_POINT,), ENVIRONMENT, f"{USER}:{USER}", f"/{HOME}", {})
        (digest,) = write_archive(archive, [image], _TIME_S).values()
    return digest


def _package(name: str) -> Package:
    return Package(name, distribution(name).version, "MIT")


def _packages(work: Path) -> Layer:
    folder = work / "packages"
    for name in PACKAGES:
        for file in distribution(name).files or ():
            if ".." not in file.parts and "__pycache__" not in file.parts:
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(str(file.locate()), folder / file)
    finish(folder)
    contents = Contents()
    contents.add_folder(folder, INSTALLED_IN)
    return contents.write(work / "packages.tar")


if __name__ == "__main__":
    print(build(Path(sys.argv[1]), Path(sys.argv[2])))
