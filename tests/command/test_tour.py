"""The tour in README.md, word for word, against a running cluster."""

from pathlib import Path

import pytest

from tools.tour import README, blocks, comparable, demo_cluster, run_step, steps


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


def test_a_block_is_read_as_commands_and_their_output() -> None:
    block = "$ one \\\n  more\nprinted\n$ two\n"
    assert [(step.command, step.output) for step in steps(block)] == [("one \\\n  more", "printed\n"), ("two", "")]
