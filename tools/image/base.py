"""The base of an image: the files of a few of Debian's packages, and nothing that installs or builds.

apt finds and checks the packages, into folders of its own: nothing of this machine's system changes, and no root is
needed. What they install is laid out as it is; scripts of packages do not run.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from tools.image.contents import Contents, key_of
from tools.image.python_files import compile_to_bytecode

RELEASE = "bookworm"
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
#: What a pod runs (Python), and what people use in one: a shell, `kubectl cp`.
PACKAGES = ("python3.11", "libstdc++6", "dash", "coreutils", "grep", "tar")
#: What apt takes along for its own work and for the scripts of packages.
_LEFT_OUT = {
    "dpkg", "debconf", "libdb5.3", "libmd0", "debianutils", "mawk", "base-files", "libtirpc3", "libtirpc-common",
    "libnsl2", "libkrb5-3", "libgssapi-krb5-2", "libk5crypto3", "libkrb5support0", "libkeyutils1", "libcom-err2",
    "readline-common", "gcc-12-base",
}  # fmt: skip
#: Files that no program of ours opens.
_UNUSED = re.compile(
    r"usr/share/(doc|man|info|locale|lintian|bug|menu|doc-base|bash-completion|applications|pixmaps|binfmts|python3)(/|$)"
    r"|usr/lib/x86_64-linux-gnu/(gconv|audit|perl)(/|$)"
    r"|usr/lib/python3\.11/(lib2to3|idlelib|pydoc_data|ensurepip|tkinter|turtledemo|distutils|test|unittest/test)(/|$)"
    r"|usr/lib/python3\.11/lib-dynload/(nis|_dbm|_ctypes_test|_test\w*|_xx\w*|xx\w*)\."
    r"|usr/bin/(pydoc|2to3|pygettext|pdb3)[^/]*$"
    r"|(usr/)?s?bin/(ldconfig|iconvconfig|zic|zdump)$"
    r"|etc/(python3\.11|ld\.so\.conf\.d/fakeroot).*"
)
#: Where Debian has folders, and packages of old have had others.
_MERGED = ("bin", "lib", "lib64", "sbin")


class BaseError(Exception):
    """Why there is no base, and the mend."""


def build_base(cache: Path, tell: Callable[[str], None]) -> tuple[Path, Path]:
    """Makes the base, where it is not kept yet.

    Returns:
        Its tar, and the list of its packages: name, version and architecture of one a line.

    Raises:
        BaseError: apt or its keys are missing, or a package can't be fetched.
    """
    kept = cache / f"base-{key_of((RELEASE, *PACKAGES, _UNUSED.pattern, *sorted(_LEFT_OUT)))}"
    tar, listed = kept / "base.tar", kept / "packages.txt"
    if tar.exists():
        return tar, listed
    if not shutil.which("apt-get") or not Path(_KEYRING).exists():
        raise BaseError(
            "a base is made of Debian's packages by apt-get, with debian-archive-keyring: give one, BASE=base.tar"
        )
    with tempfile.TemporaryDirectory(prefix="fasttree-base-") as name:
        work = Path(name)
        tell(f"base: fetching Debian's packages for {', '.join(PACKAGES)}")
        packages = _fetch(work)
        root = work / "root"
        root.mkdir()
        lines = []
        for package in sorted(packages):
            title, version, architecture = (
                _field(package, "Package"),
                _field(package, "Version"),
                _field(package, "Architecture"),
            )
            if title not in _LEFT_OUT:
                _unpack(package, root)
                lines.append(f"{title} {version} {architecture}\n")
        _remove_unused(root)
        compile_to_bytecode(root / "usr/lib/python3.11", "/usr/lib/python3.11")
        kept.mkdir(parents=True, exist_ok=True)
        listed.write_text("".join(sorted(lines)))
        _contents(root).write(tar)
    return tar, listed


def _fetch(work: Path) -> list[Path]:
    """The packages and what they depend on."""
    (work / "lists/partial").mkdir(parents=True)
    (work / "archives/partial").mkdir(parents=True)
    (work / "status").touch()
    server = "http://deb.debian.org"
    suites = (
        f"{server}/debian {RELEASE}",
        f"{server}/debian {RELEASE}-updates",
        f"{server}/debian-security {RELEASE}-security",
    )
    (work / "sources.list").write_text("".join(f"deb [signed-by={_KEYRING}] {suite} main\n" for suite in suites))
    options = {
        "Dir::State": work, "Dir::State::Lists": work / "lists", "Dir::State::status": work / "status",
        "Dir::Etc::SourceList": work / "sources.list", "Dir::Etc::SourceParts": "/dev/null",
        "Dir::Cache": work, "Dir::Cache::archives": work / "archives",
        "APT::Architecture": "amd64", "APT::Sandbox::User": "root", "Debug::NoLocking": "1",
    }  # fmt: skip
    apt = [
        "apt-get",
        "--quiet",
        "--quiet",
        *(word for name, value in options.items() for word in ("-o", f"{name}={value}")),
    ]
    for arguments in (["update"], ["install", "--yes", "--no-install-recommends", "--download-only", *PACKAGES]):
        ran = subprocess.run([*apt, *arguments], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        if ran.returncode:
            raise BaseError(f"apt-get {arguments[0]} failed: {ran.stderr.strip()}")
    return list((work / "archives").glob("*.deb"))


def _field(package: Path, name: str) -> str:
    return subprocess.run(
        ["dpkg-deb", "--field", str(package), name], check=True, capture_output=True, text=True
    ).stdout.strip()


def _unpack(package: Path, root: Path) -> None:
    """Lays a package's files out; what it has in /bin or /lib comes to /usr, where these lead."""
    with tempfile.TemporaryDirectory(dir=root.parent) as name:
        subprocess.run(["dpkg-deb", "--extract", str(package), name], check=True)
        for folder in _MERGED:
            if (Path(name) / folder).is_dir():
                shutil.copytree(Path(name) / folder, root / "usr" / folder, symlinks=True, dirs_exist_ok=True)
                shutil.rmtree(Path(name) / folder)
        shutil.copytree(name, root, symlinks=True, dirs_exist_ok=True)


def _remove_unused(root: Path) -> None:
    for path in sorted(root.rglob("*"), reverse=True):
        if _UNUSED.match(path.relative_to(root).as_posix()):
            path.unlink() if path.is_symlink() or not path.is_dir() else path.rmdir()


def _contents(root: Path) -> Contents:
    contents = Contents()
    contents.add_folder(root, "")
    for folder in _MERGED:
        contents.add_link(folder, f"usr/{folder}")
    for folder in ("proc", "sys", "dev", "run", "etc"):
        contents.add_empty_folder(folder)
    contents.add_empty_folder("tmp", 0o1777)
    return contents
