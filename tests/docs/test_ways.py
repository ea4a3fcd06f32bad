"""docs/ways.md is true: its files are there and lead to each other, and they are the ones that are entered."""

from __future__ import annotations

from pathlib import Path

import pytest

from fasttree.client import PushOptions, UploadOptions
from fasttree.v1 import pusher_pb2, types_pb2
from tests.docs.small_cluster import Entered, small_cluster
from tests.docs.ways import ROOT, Way, linked, way
from tests.fakes.import_file import csv_of
from tests.updates import posted

ORDER, IMPORT = "An order", "An import"
STEPS_MAX = {ORDER: 18, IMPORT: 25}
MEMBERS = csv_of([("a", "", "1.00"), ("b", "a", "2.00")])


@pytest.mark.parametrize("title", STEPS_MAX)
def test_the_way_is_short_and_passes_no_file_twice(title: str) -> None:
    paths = way(title).paths
    assert 3 <= len(paths) <= STEPS_MAX[title]
    assert len(set(paths)) == len(paths)
    assert [step.number for step in way(title).steps] == list(range(1, len(paths) + 1))


@pytest.mark.parametrize("title", STEPS_MAX)
def test_every_step_leads_to_the_next(title: str) -> None:
    found = way(title)
    for place in [*found.paths, *found.beside]:
        assert (ROOT / place).exists(), f"{place} is not there"
    for step in found.steps[1:]:
        assert 0 < step.reached_from < step.number
        earlier = found.steps[step.reached_from - 1].path
        assert linked(earlier, step.path, step.name), f"`{step.name}` does not lead from {earlier} to {step.path}"


def expect_entered(found: Way, entered: list[str]) -> None:
    missing = [step.path for step in found.steps if not step.elsewhere and step.path not in entered]
    assert not missing, f"the page has files that are not entered: {', '.join(missing)}"
    more = [path for path in entered if path not in found.paths and not found.is_beside(path)]
    assert not more, f"put these on the way, or beside it with a reason: {', '.join(more)}"
    both = [path for path in found.paths if found.is_beside(path)]
    assert not both, f"on the way and beside it: {', '.join(both)}"


@pytest.mark.timeout(300)
async def test_an_order_goes_its_way(tmp_path: Path) -> None:
    entered = Entered()
    with entered.watched():
        async with small_cluster(tmp_path) as client:
            await client.upload_import(file_of(tmp_path))
            assert [status async for status in client.watch_import()][-1].state == pusher_pb2.IMPORT_STATE_DONE
            options = PushOptions(ack_level=pusher_pb2.ACK_LEVEL_ALL_NODES)
            with entered.noting():
                (receipt,) = [receipt async for receipt in client.push([posted("order-1", "b")], options)]
            assert receipt.outcome == types_pb2.OUTCOME_APPLIED
    expect_entered(way(ORDER), entered.paths)


@pytest.mark.timeout(300)
async def test_an_import_goes_its_way(tmp_path: Path) -> None:
    entered = Entered()
    with entered.watched():
        async with small_cluster(tmp_path) as client:
            # Held: nobody knows the member yet. The first is in the file's past, the second after it.
            waiting = [posted("order-1", "b"), posted("order-2", "b")]
            options = PushOptions(ack_level=pusher_pb2.ACK_LEVEL_ALL_NODES)
            outcomes = [receipt.outcome async for receipt in client.push(waiting, options)]
            assert outcomes == [types_pb2.OUTCOME_HELD] * 2
            with entered.noting():
                await client.upload_import(file_of(tmp_path), UploadOptions(as_of_position=2))
                last = [status async for status in client.watch_import()][-1]
            assert (last.state, list(last.manifest.carried_positions)) == (pusher_pb2.IMPORT_STATE_DONE, [2])
    expect_entered(way(IMPORT), entered.paths)


def file_of(folder: Path) -> Path:
    path = folder / "members.csv"
    path.write_bytes(MEMBERS)
    return path


def test_a_name_leads_on_only_where_both_files_have_it() -> None:
    service, runner = "services/pusher/service.py", "services/pusher/admission/runner.py"
    assert linked(service, runner, "stream")
    assert not linked(service, runner, "ApplyUpdates")
    assert not linked(service, runner, "nothing")
