"""The project's own part of an image: its modules, how they are started, and where a pod's folders are."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import tomllib
from pathlib import Path

from tools.image.contents import Contents
from tools.image.packages import INSTALLED_IN
from tools.image.python_files import compile_to_bytecode

ROOT = Path(__file__).parents[2]
HOME = "opt/fasttree"
KERNELS = f"{HOME}/numba"
USER = 10001
#: The processors that the kernels in the image are compiled for: Intel's since Haswell (2013), AMD's since Excavator.
PROCESSOR = "x86-64-v3"
ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "PYTHONDONTWRITEBYTECODE": "1",
    "NUMBA_CACHE_DIR": f"/{KERNELS}",
    "NUMBA_CPU_NAME": PROCESSOR,
    # None beyond those that the name stands for; without it those of this machine would be added.
    "NUMBA_CPU_FEATURES": "",
}
ENTRY_POINT = "/usr/local/bin/fasttree-service"

#: What of a clone is in an image, with what pyproject.toml takes into the package from elsewhere.
_PARTS = ("services", "gen/fasttree", "client/fasttree")
_PROGRAMS = ROOT / "deploy" / "k8s" / "image"


def version() -> str:
    """The project's."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])


def commit(named: str = "HEAD") -> tuple[str, int]:
    """A commit of this clone, the one that it is at unless one is named, and its time in seconds: that of all files.

    Raises:
        CalledProcessError: This clone has no such commit.
    """
    command = ["git", "log", "-1", "--format=%H %ct", named, "--"]
    said = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    return said[0], int(said[1])


def lay_out(folder: Path, of: str | None = None, *, clone: Path = ROOT) -> None:
    """The modules as the package has them, compiled to bytecode. Only what git knows: nothing that lies about.

    Args:
        folder: Where to.
        of: A commit; None: as they lie in the clone.
        clone: Of the project.
    """
    shutil.rmtree(folder, ignore_errors=True)
    beside = from_elsewhere(clone, of)
    parts = [*_PARTS, *beside]
    with tempfile.TemporaryDirectory(prefix="fasttree-commit-") as checkout:
        source = clone
        if of:
            source = Path(checkout)
            archive = subprocess.run(["git", "archive", of, *parts], cwd=clone, check=True, capture_output=True).stdout
            subprocess.run(["tar", "--extract", "--directory", checkout], input=archive, check=True)
            names = [path.relative_to(source).as_posix() for path in sorted(source.rglob("*")) if path.is_file()]
        else:
            listed = subprocess.run(["git", "ls-files", "-z", *parts], cwd=clone, check=True, capture_output=True)
            names = [name for name in listed.stdout.decode().split("\0") if name]
        for name in names:
            inside = name.removeprefix("gen/").removeprefix("client/")
            for place, target in beside.items():
                if name == place or name.startswith(f"{place}/"):
                    inside = target + name.removeprefix(place)
            (folder / inside).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, folder / inside)
    compile_to_bytecode(folder, f"/{HOME}")


def from_elsewhere(clone: Path = ROOT, of: str | None = None) -> dict[str, str]:
    """What the package has that lies in no package of the clone: where it is there, to where it is installed."""
    if of:
        command = ["git", "show", f"{of}:pyproject.toml"]
        text = subprocess.run(command, cwd=clone, check=True, capture_output=True, text=True).stdout
    else:
        text = (clone / "pyproject.toml").read_text(encoding="utf-8")
    places: dict[str, str] = tomllib.loads(text)["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    return places


def project_contents(folder: Path) -> Contents:
    """The layer of the project, as `lay_out` made its folder."""
    contents = Contents()
    contents.add_folder(folder, HOME)
    # The names of packages that Python shows, and what `fasttree --version` says.
    metadata = f"Metadata-Version: 2.1\nName: ha-fasttree\nVersion: {version()}\n"
    contents.add_bytes(f"{HOME}/ha_fasttree-{version()}.dist-info/METADATA", metadata.encode())
    contents.add_bytes(f"{INSTALLED_IN}/fasttree.pth", f"/{HOME}\n".encode())
    for program in ("fasttree-service", "fasttree"):
        contents.add_path(_PROGRAMS / program, f"usr/local/bin/{program}")
    contents.add_link("usr/bin/python3", "python3.11")
    # A user that the manifests don't name has no line here, and needs none.
    contents.add_bytes("etc/passwd", f"root:x:0:0::/:/bin/sh\nfasttree:x:{USER}:{USER}::/tmp:/bin/sh\n".encode())
    contents.add_bytes("etc/group", f"root:x:0:\nfasttree:x:{USER}:\n".encode())
    contents.add_bytes("etc/nsswitch.conf", b"passwd: files\ngroup: files\nhosts: files dns\n")
    contents.add_empty_folder("etc/fasttree")
    # As a volume is laid over it: without one, nothing can be written there.
    contents.add_empty_folder("var/lib/fasttree")
    contents.add_empty_folder(KERNELS)
    return contents
