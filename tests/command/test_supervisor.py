"""Child processes: restarted when they die, ended in order, and never left behind."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fasttree.command.local.free_ports import free_ports, is_free
from fasttree.command.local.supervisor import Child, Supervisor

SLEEPER = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)


def child(folder: Path, program: str, name: str = "part", grace_s: float = 10.0) -> Child:
    return Child(name=name, command=[sys.executable, "-c", program], log=folder / f"{name}.log", grace_s=grace_s)


async def wait_until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


async def test_a_killed_child_comes_back_with_another_pid(tmp_path: Path) -> None:
    changes: list[int] = []
    said: list[str] = []
    supervisor = Supervisor(lambda: changes.append(1), said.append, restart=True)
    await supervisor.start(child(tmp_path, SLEEPER))
    supervisor.all_started()
    first = supervisor.pid("part")
    os.kill(first, signal.SIGKILL)
    await wait_until(lambda: supervisor.pid("part") != first)
    assert len(changes) == 2
    assert "signal SIGKILL" in said[0]
    second = supervisor.pid("part")
    await supervisor.stop([["part"]])
    assert not alive(second)


async def test_a_child_that_cannot_be_started_is_tried_again_until_it_can(tmp_path: Path) -> None:
    """As after a full disk, or without descriptors: whatever keeps it from starting passes."""
    said: list[str] = []
    supervisor = Supervisor(lambda: None, said.append, restart=True)
    (tmp_path / "logs").mkdir()
    await supervisor.start(child(tmp_path / "logs", SLEEPER))
    supervisor.all_started()
    first = supervisor.pid("part")
    (tmp_path / "logs").rename(tmp_path / "aside")
    (tmp_path / "logs").touch()  # no log file can be opened there
    os.kill(first, signal.SIGKILL)
    await wait_until(lambda: any("part can't be started" in line for line in said))
    await asyncio.sleep(1.0)
    assert sum("can't be started" in line for line in said) == 1
    (tmp_path / "logs").unlink()
    await wait_until(lambda: supervisor.pid("part") != first)
    assert alive(supervisor.pid("part"))
    await supervisor.stop([["part"]])


async def test_a_new_process_id_that_cannot_be_noted_is_noted_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, on which the file with the endpoints can't be written: the child is watched as ever."""
    monkeypatch.setattr("fasttree.command.local.supervisor.WAIT_S_MAX", 0.3)
    noted: list[int] = []
    said: list[str] = []
    full = True

    def changed() -> None:
        if full:
            raise OSError(28, "No space left on device")
        noted.append(supervisor.pid("part"))

    supervisor = Supervisor(changed, said.append, restart=True)
    await supervisor.start(child(tmp_path, SLEEPER))
    supervisor.all_started()
    for _ in range(2):
        before = supervisor.pid("part")
        os.kill(before, signal.SIGKILL)
        await wait_until(lambda before=before: supervisor.pid("part") != before)  # type: ignore[misc]
    assert any("No space left on device; tries again" in line for line in said)
    full = False
    await wait_until(lambda: bool(noted))
    assert noted == [supervisor.pid("part")]
    await supervisor.stop([["part"]])


async def test_without_restart_it_stays_down(tmp_path: Path) -> None:
    said: list[str] = []
    supervisor = Supervisor(lambda: None, said.append, restart=False)
    supervisor.all_started()
    await supervisor.start(child(tmp_path, "raise SystemExit(3)"))
    pid = supervisor.pid("part")
    await wait_until(lambda: bool(said))
    assert "exit code 3" in said[0]
    assert supervisor.pid("part") == pid
    await supervisor.stop([["part"]])


async def test_one_that_dies_at_once_is_tried_more_and_more_seldom(tmp_path: Path) -> None:
    said: list[str] = []
    supervisor = Supervisor(lambda: None, said.append, restart=True)
    supervisor.all_started()
    await supervisor.start(child(tmp_path, "raise SystemExit(1)"))
    await wait_until(lambda: len(said) >= 3)
    await supervisor.stop([["part"]])
    assert [line.split("starts again in ")[1].split(" s")[0] for line in said[:3]] == ["0.1", "0.2", "0.4"]


async def test_one_that_dies_while_all_start_is_told_and_left(tmp_path: Path) -> None:
    supervisor = Supervisor(lambda: None, print, restart=True)
    await supervisor.start(child(tmp_path, "raise SystemExit(1)"))
    await wait_until(lambda: supervisor.failed == ["part"])
    await supervisor.stop([["part"]])


async def test_what_a_child_wrote_is_of_its_newest_process(tmp_path: Path) -> None:
    (tmp_path / "part.log").write_text("error: an old fault\n")
    supervisor = Supervisor(lambda: None, print, restart=False)
    assert supervisor.written("part") == ""
    await supervisor.start(child(tmp_path, "print('error: a new one')"))
    await wait_until(lambda: supervisor.failed == ["part"])
    assert supervisor.written("part") == "error: a new one\n"
    assert (tmp_path / "part.log").read_text() == "error: an old fault\nerror: a new one\n"


async def test_one_that_will_not_end_is_killed(tmp_path: Path) -> None:
    said: list[str] = []
    supervisor = Supervisor(lambda: None, said.append, restart=True)
    part = child(tmp_path, STUBBORN, grace_s=0.2)
    await supervisor.start(part)
    await wait_until(lambda: part.log.read_text() == "up\n")
    pid = supervisor.pid("part")
    assert not await supervisor.stop([["part"]])
    assert not alive(pid)
    assert "did not end within 0.2 s" in said[0]


async def test_children_die_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    program = f"""
import asyncio
from pathlib import Path
from fasttree.command.local.supervisor import Child, Supervisor
async def main():
    supervisor = Supervisor(lambda: None, print, restart=True)
    await supervisor.start(Child(name="part", command=[{sys.executable!r}, "-c", {SLEEPER!r}], log=Path("part.log")))
    print(supervisor.pid("part"), flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE, cwd=tmp_path
    )
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    assert alive(pid)
    parent.kill()
    await parent.wait()
    await wait_until(lambda: not alive(pid))


def test_two_programs_that_start_together_find_different_ports() -> None:
    # Nobody listens on the ports yet; each program takes 100 of 250.
    program = """
from fasttree.command.local import free_ports
free_ports._LAST = free_ports._FIRST + 250
print(free_ports.free_ports("127.0.0.1", 100))
input()
"""
    programs = [
        subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    found = [set(json.loads(each.stdout.readline())) for each in programs if each.stdout is not None]
    for each in programs:
        each.communicate("\n")
    assert [len(ports) for ports in found] == [100, 100]
    assert not found[0] & found[1]


def test_free_ports_are_different_and_free() -> None:
    ports = free_ports("127.0.0.1", 20)
    assert len(set(ports)) == 20
    assert all(is_free("127.0.0.1", port) for port in ports)


@pytest.mark.parametrize("host", ["127.0.0.1"])
def test_a_taken_port_is_not_free(host: str) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind((host, 0))
        taken.listen()
        assert not is_free(host, taken.getsockname()[1])
