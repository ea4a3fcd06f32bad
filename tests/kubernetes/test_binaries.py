"""A program of Kubernetes is kept under what it is made of, and nothing else is taken for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kubernetes import binaries


def test_a_lock_that_changes_changes_the_key_of_its_programs_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {name: binaries.key(name) for name in binaries.PROGRAMS}
    locks = shutil.copytree(binaries.LOCKS, tmp_path / "locks")
    monkeypatch.setattr(binaries, "LOCKS", locks)
    assert {name: binaries.key(name) for name in binaries.PROGRAMS} == before
    sums = locks / "etcd" / "go.sum"
    sums.write_text(sums.read_text() + "\n")
    assert [name for name in before if binaries.key(name) != before[name]] == ["etcd"]


def test_what_has_not_been_built_is_told_with_the_command_that_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTTREE_KUBERNETES_HOME", str(tmp_path))
    with pytest.raises(
        binaries.BuildError, match=r"build them first, once: .* tests\.kubernetes\.binaries etcd kubectl$"
    ):
        binaries.found(("etcd", "kubectl"))


def test_a_program_that_is_there_is_not_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTTREE_KUBERNETES_HOME", str(tmp_path))
    kept = binaries.folder("etcd") / "etcd"
    kept.parent.mkdir(parents=True)
    kept.write_text("")
    told: list[str] = []
    assert binaries.ensure(("etcd",), told.append) == {"etcd": kept}
    assert told == []


def test_a_name_that_is_none_of_them_is_refused_with_those_that_are() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.kubernetes.binaries", "etc"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 2
    assert ran.stderr.startswith("error: no program of a cluster: etc (known: etcd, ")


def test_whether_all_have_been_built_is_told_without_building(tmp_path: Path) -> None:
    def told() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tests.kubernetes.binaries", "--built"],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"FASTTREE_KUBERNETES_HOME": str(tmp_path)},
        )

    ran = told()
    assert ran.returncode == 1
    assert ran.stderr.startswith("error: build them first, once: ")
    assert not list(tmp_path.iterdir())
    for name in binaries.PROGRAMS:
        program = tmp_path / "programs" / binaries.folder(name).name / name
        program.parent.mkdir(parents=True)
        program.write_text("")
    assert told().returncode == 0
