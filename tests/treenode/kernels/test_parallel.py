"""Kernels that several processes compile: who does what, who waits, and what is left when one is not there."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from services.treenode.kernels import parallel
from services.treenode.kernels.parallel import Queue, compile_in_processes, one_at_a_time

#: For what has to happen sooner or later.
DEADLINE_S = 60.0

_HOLD = """
import sys, time
from pathlib import Path
from services.treenode.kernels.parallel import one_at_a_time
with one_at_a_time(Path(sys.argv[1]), print):
    print("has it", flush=True)
    time.sleep(600)
"""


def wait_until(is_so: Callable[[], bool]) -> None:
    """Fails after DEADLINE_S."""
    end_s = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def of(*lines: str) -> Queue:
    """A queue that gets no more."""
    queue = Queue()
    for line in lines:
        queue.add(line)
    queue.end()
    return queue


def test_a_process_stays_with_a_module_takes_a_new_one_next_and_helps_in_the_end() -> None:
    queue = of("a 1", "a 22", "a 333", "b 1", "b 22", "c 1")
    assert queue.take("") == "a 333"  # the largest module's largest kernel
    assert queue.take("a") == "a 22"
    assert queue.take("") == "b 22"  # of another process: not a, which somebody is at
    assert queue.take("b") == "b 1"
    assert queue.take("b") == "c 1"
    assert queue.take("c") == "a 1"
    assert queue.take("a") is None
    assert queue.total == 6


def test_a_process_waits_for_kernels_that_are_not_found_yet() -> None:
    queue, taken = Queue(), list[str | None]()
    thread = threading.Thread(target=lambda: taken.extend([queue.take(""), queue.take("a")]))
    thread.start()
    assert queue.total is None
    queue.add("a 1")
    wait_until(lambda: taken == [] and queue.total is None)
    queue.end()
    thread.join(DEADLINE_S)
    assert taken == ["a 1", None]


def test_the_second_waits_until_the_first_is_killed(tmp_path: Path) -> None:
    first = subprocess.Popen([sys.executable, "-c", _HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    assert first.stdout.readline() == "has it\n"
    told, had = list[str](), threading.Event()

    def second() -> None:
        with one_at_a_time(tmp_path, told.append):
            had.set()

    thread = threading.Thread(target=second)
    thread.start()
    wait_until(lambda: told == ["another process compiles the kernels: waits for it"])
    assert not had.is_set()
    with first:
        first.kill()
    assert had.wait(DEADLINE_S)
    thread.join()


def test_one_that_is_frozen_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    told = list[str]()
    with one_at_a_time(tmp_path, told.append), one_at_a_time(tmp_path, told.append, wait_s_max=0.01):
        pass
    assert told[-1] == "another process has compiled for too long: does not wait for it any more"


def test_where_there_can_be_no_lock_it_goes_on(tmp_path: Path) -> None:
    done = False
    with one_at_a_time(tmp_path / "not there", print):
        done = True
    assert done


def test_without_other_processes_it_says_so_and_leaves_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    told = list[str]()
    compile_in_processes(2, told.append)
    assert told == ["no other process can be started (No such file or directory): this one compiles all"]


def program(folder: Path, worker: str) -> str:
    """An executable in Python's place: it finds two kernels, and its workers are as given."""
    path = folder / "python"
    path.write_text(f'#!/bin/sh\ncase "$*" in *.signatures) printf "a 1\\nb 1\\nc";; *) {worker};; esac\n')
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("worker", "compiled"),
    [
        pytest.param("exit 1", 0, id="never starts"),
        pytest.param("read line; kill -9 $$", 0, id="killed in the middle of a kernel"),
        pytest.param("read line; echo; exit 0", 1, id="gone after the first"),
        pytest.param("while read line; do echo; done", 2, id="well"),
    ],
)
def test_a_process_that_dies_leaves_its_kernels_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, worker: str, compiled: int
) -> None:
    monkeypatch.setattr(sys, "executable", program(tmp_path, worker))
    monkeypatch.setattr(parallel, "TELL_EVERY_S", 0.0)
    told = list[str]()
    compile_in_processes(1, told.append)
    assert told[0] == "with 1 processes"
    assert len(told) - 1 == compiled


_MODULE = """
from services.treenode.tree.kernels.kernel import AnyArray, inner, kernel

@inner
def twice(value: object) -> object:
    return value + value

@kernel
def doubled(values: AnyArray) -> object:
    return twice(values[0])
"""
_SAY = """
import numba, numpy
from services.treenode.kernels.signatures import line_of
print(line_of(("kernel_of_a_test", "doubled", (numba.typeof(numpy.zeros(1)),))))
print(line_of(("kernel_of_a_test", "missing", (numba.typeof(numpy.zeros(1)),))))
"""
_RUN = """
import numpy
import kernel_of_a_test as module
print(module.doubled(numpy.array([1.5])), sum(module.doubled.stats.cache_hits.values()))
try:
    module.twice(1)
except TypeError as error:
    print(error)
"""


def environment(folder: Path, **others: str) -> dict[str, str]:
    """With a kernel of its own and a cache of its own."""
    (folder / "kernel_of_a_test.py").write_text(_MODULE)
    search = os.pathsep.join([str(folder), *sys.path])
    own = {"PYTHONPATH": search, "NUMBA_CACHE_DIR": str(folder / "cache"), "NUMBA_DISABLE_JIT": "0"}
    return os.environ | own | others


def run(folder: Path, *arguments: str, **others: str) -> str:
    """What a process prints."""
    done = subprocess.run(
        [sys.executable, *arguments],
        env=environment(folder, **others),
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_what_one_process_compiles_another_finds_and_only_kernels_call_what_is_theirs(tmp_path: Path) -> None:
    kernel, unknown = run(tmp_path, "-c", _SAY).splitlines()
    worker = subprocess.Popen(
        [sys.executable, "-m", "services.treenode.kernels.worker"],
        env=environment(tmp_path),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdin is not None
    assert worker.stdout is not None
    for line in (unknown, kernel):
        worker.stdin.write(line + "\n")
        worker.stdin.flush()
        assert worker.stdout.readline() == "\n"
    worker.stdin.close()
    assert worker.wait(DEADLINE_S) == 0
    worker.stdout.close()
    assert run(tmp_path, "-c", _RUN).splitlines() == ["3.0 1", "only kernels call twice"]
    # A clone's files have other times.
    environment(tmp_path)
    os.utime(tmp_path / "kernel_of_a_test.py", (1, 1))
    assert run(tmp_path, "-c", "import kernel_of_a_test\n" + _RUN).splitlines()[0] == "3.0 1"


def test_where_nothing_can_be_kept_nothing_is_compiled_for_nobody(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("no folder")
    said = run(tmp_path, "-m", "services.treenode.kernels.warm_up")
    assert said.splitlines() == [
        "compiled kernels can't be kept: each process compiles its own; NUMBA_CACHE_DIR names another folder"
    ]


#: What a node calls kernels with, for the first time each.
_USED = """
from numba.core.dispatcher import Dispatcher
compile_for, used = Dispatcher._compile_for_args, []

def noted(self, *arguments, **named):
    types = tuple(self.typeof_pyval(argument) for argument in arguments)
    used.append(f"{self.__module__}|{self.__qualname__}|{types}")
    return compile_for(self, *arguments, **named)

Dispatcher._compile_for_args = noted
from services.treenode.kernels.warm_up import warm_up_imports, warm_up_node
warm_up_imports()
warm_up_node()
print("\\n".join(used))
"""
_FOUND = """
import sys
from services.treenode.kernels.signatures import wanted_of
for line in sys.stdin:
    print(*wanted_of(line), sep="|")
"""


def test_the_kernels_that_are_found_are_those_that_a_node_uses() -> None:
    own = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "NUMBA_DISABLE_JIT": "0"}
    lines = subprocess.run(
        [sys.executable, "-m", "services.treenode.kernels.signatures"],
        env=own | {"NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found, used = (
        subprocess.run(
            [sys.executable, "-c", code], env=own, input=lines, capture_output=True, text=True, check=True
        ).stdout.splitlines()
        for code in (_FOUND, _USED)
    )
    assert len(found) > 90
    assert set(found) == set(used)
