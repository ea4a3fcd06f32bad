"""Two builds of one state give the same bytes, whoever makes them, when and where."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.image.contents import sha256_of
from tools.image.project import ROOT

pytestmark = pytest.mark.timeout(600)

#: By hand it was compared for long: each of these has made a difference to some builder.
_ELSEWHERE = (
    {"PYTHONHASHSEED": "1", "TZ": "UTC", "LC_ALL": "C.UTF-8"},
    {"PYTHONHASHSEED": "2", "TZ": "Asia/Kathmandu", "LC_ALL": "C"},
)
#: What of a clone an image is made of.
_PARTS = ("client", "deploy", "gen", "pyproject.toml", "services")
_UMASKS = (0o022, 0o077)
_AN_HOUR_S = 3_600


def _clone(folder: Path, age_s: float) -> Path:
    """The clone as it is now, what is not committed too, with files that are so old."""
    command = ["git", "ls-files", "-z", *_PARTS]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    names = [name for name in listed.split("\0") if name and (ROOT / name).is_file()]
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
        made_s = (folder / name).stat().st_mtime - age_s
        os.utime(folder / name, (made_s, made_s))
    subprocess.run(["git", "add", "--all", "--force"], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture
def archives(tmp_path: Path) -> list[Path]:
    """Built beside each other: of clones in two folders, one of them an hour older."""
    made: list[Path] = []
    running: list[subprocess.Popen[str]] = []
    for number, (environment, umask) in enumerate(zip(_ELSEWHERE, _UMASKS, strict=True)):
        home = tmp_path / ("a", "another/place")[number]
        home.mkdir(parents=True)
        clone = _clone(home / "clone", number * _AN_HOUR_S)
        made.append(home / "small.oci.tar")
        command = [sys.executable, "-P", "-m", "tests.tools.small_image", str(clone), str(made[-1])]
        child = {**os.environ, **environment, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]])}
        running.append(subprocess.Popen(command, cwd=home, env=child, umask=umask, stdout=subprocess.PIPE, text=True))
    digests = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert digests[0].startswith("sha256:")
    assert digests[0] == digests[1]
    return made


def test_two_builds_of_one_state_are_the_same_bytes(archives: list[Path]) -> None:
    assert sha256_of(archives[0]) == sha256_of(archives[1])
