"""The tour in README.md, word for word, against a running cluster."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools.tour import README, Step, blocks, comparable, demo_cluster, python_program, run_step, steps


@pytest.mark.timeout(900)
def test_the_tour_prints_what_the_readme_says(tmp_path: Path) -> None:
    tour = [step for block in blocks(README.read_text(encoding="utf-8")) for step in steps(block)]
    assert len(tour) > 10
    with demo_cluster(tmp_path) as environment:
        for step in tour:
            printed = run_step(step, tmp_path, environment)
            assert comparable(step.command, printed) == comparable(step.command, step.output), (
                f"$ {step.command}\n{printed}\n(if the new output is right: python -m tools.tour)"
            )
        program = tmp_path / "example.py"
        program.write_text(python_program(README.read_text(encoding="utf-8")))
        position, figures = run_step(Step(f"{sys.executable} example.py", ""), tmp_path, environment).splitlines()
        assert figures == f"500 {position}"  # of the month that has just begun


def test_what_the_tour_writes_into_a_checkout_is_no_change_of_it() -> None:
    tour = [step for block in blocks(README.read_text(encoding="utf-8")) for step in steps(block)]
    written = {name for step in tour for name in re.findall(r">\s*([\w./-]+)", step.command)} | {".demo", ".fasttree"}
    assert len(written) > 2
    ignored = subprocess.run(
        ["git", "check-ignore", *(f"{name}/" if name.startswith(".") else name for name in written)],
        cwd=README.parent,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split()
    assert {name.rstrip("/") for name in ignored} == written


def test_a_block_is_read_as_commands_and_their_output() -> None:
    block = "$ one \\\n  more\nprinted\n$ two\n"
    assert [(step.command, step.output) for step in steps(block)] == [("one \\\n  more", "printed\n"), ("two", "")]
