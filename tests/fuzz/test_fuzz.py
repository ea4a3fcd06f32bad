"""A short run of every target, and that a fault is found; `make fuzz` goes on for longer."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.shared.python_process import python_command
from tests.fuzz.asking import end_all
from tests.fuzz.every_target import TARGETS
from tests.fuzz.mutation import mutated

_EXECUTIONS = 300


@pytest.fixture(scope="module", autouse=True)
def services() -> Iterator[None]:
    """Those that targets ask are begun once, and ended with these tests."""
    yield
    end_all()


def fuzzed(*options: str) -> tuple[int, dict[str, Any], str]:
    """Its exit code, what it said last, and of what it found."""
    ended = subprocess.run(python_command("tests.fuzz", *options), capture_output=True, text=True, check=False)
    return ended.returncode, json.loads(ended.stdout.splitlines()[-1]), ended.stderr


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", TARGETS)
def test_no_input_gets_more_than_a_refusal_out_of_a_parser(name: str) -> None:
    target = TARGETS[name]
    run = target.run()
    for data in mutated(target.seeds(), _EXECUTIONS, target.length_max, name):
        try:
            run(data)
        except Exception as error:
            raise AssertionError(f"an input of {name}: {data!r}") from error


@pytest.mark.timeout(600)
@pytest.mark.parametrize("fault", ["crash", "hang", "silence"])
def test_a_parser_with_a_fault_is_found(fault: str, tmp_path: Path) -> None:
    code, told, words = fuzzed(
        "--executions", "200000", "--input-seconds", "5", "--kept", str(tmp_path), f"planted.{fault}"
    )
    assert code == 1
    assert list(told["fuzz_findings"]) == [f"planted.{fault}"]
    assert [each.name.split("-")[0] for each in (tmp_path / "found").iterdir()] == [f"planted.{fault}"], words


def test_every_target_has_inputs_to_begin_with_that_it_takes() -> None:
    """Else it would only be shown what is refused at its first byte."""
    for name, target in TARGETS.items():
        run, taken = target.prepared(), 0
        for seed in target.seeds():
            try:
                run(seed)
                taken += 1
            except target.refusals:
                continue
        assert taken > 0, name
