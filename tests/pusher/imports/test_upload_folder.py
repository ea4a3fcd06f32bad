"""The watched folder: whatever ends the pusher, a file is taken once, as of the position that it came with."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fasttree.v1 import pusher_pb2
from services.pusher.imports.uploads.folder import UploadFolder
from services.shared.files import durable
from services.shared.markers import read_marker
from services.shared.serving.background import Background
from tests.pusher.imports.watched_folder import (
    FILE,
    NAME,
    POSITION,
    UNREADABLE,
    Ended,
    EndingOs,
    Imports,
    Time,
    folder_of,
    put,
    refusal,
    run_until,
)
from tests.shared.files.power import Disk, ForgetfulOs


def is_over(folder: Path) -> bool:
    """Whether the file has moved and its result says how the rollout ended."""
    result = folder / "done" / f"{NAME}.result.txt"
    return (
        (folder / "done" / NAME).exists()
        and result.exists()
        and result.read_text() == ("import 1 done: every healthy node serves from it\n")
    )


async def calls_of_one_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> ForgetfulOs:
    """Everything that is done to the disk for one file, from its claim to the result of its rollout."""
    imports = Imports()
    folder = folder_of(path, imports, Background())
    put(path)
    power = ForgetfulOs(path, path / "done")
    monkeypatch.setattr(durable, "os", power)
    await run_until(folder, lambda: is_over(path))
    monkeypatch.undo()
    return power


def still_told(disk: Disk, folder: Path) -> bool:
    """Whether a disk has the file, and the position unless that was recorded."""
    if (folder / "done" / NAME) in disk:
        return (folder / "done" / f"{NAME}.result.txt") in disk
    if (folder / NAME) in disk:
        return (folder / f"{NAME}.done") in disk
    return (folder / f".taking-{POSITION}-{NAME}") in disk


async def test_a_power_failure_forgets_neither_file_nor_position_nor_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    power = await calls_of_one_file(tmp_path, monkeypatch)
    assert len(power.calls) > 10
    for moment, disks in enumerate([*power.moments, power.ends()]):
        for disk in disks:
            assert still_told(disk, tmp_path), f"before call {moment + 1} of {power.calls}: {sorted(disk)}"


async def test_an_end_at_any_call_is_made_good_by_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "whole").mkdir()
    calls = (await calls_of_one_file(tmp_path / "whole", monkeypatch)).calls
    for number in range(1, len(calls) + 1):
        path = tmp_path / str(number)
        path.mkdir()
        imports = Imports()
        background = Background()
        folder = folder_of(path, imports, background)
        put(path)
        monkeypatch.setattr(durable, "os", EndingOs(path, path / "done", fails_at=number))
        with pytest.raises(Ended):
            await run_until(folder, background.failed.is_set)
            raise background.error or AssertionError("it went on")
        monkeypatch.undo()
        # The next process, with a file of the same name that is not whole yet.
        imports.state = pusher_pb2.IMPORT_STATE_WAITING
        folder = folder_of(path, imports, Background())
        await run_until(folder, lambda path=path: (path / "done" / NAME).exists())
        assert [(each.file_name, each.as_of_position) for each in imports.taken] == [(NAME, POSITION)], calls[
            number - 1
        ]
        left = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
        assert left == [f"done/{NAME}", f"done/{NAME}.result.txt"], f"after an end at call {number} of {calls}"


#: Marker to what the refusal says of it.
BAD_MARKERS = {
    "42".encode("utf-16"): "is UTF-16",
    b"position 42": 'holds "position 42", which is no position',
    b"42.0": "no position",
    b"1_0": "no position",
    b"-5": "no position",
    "\u0663".encode(): "no position",
    b"9" * 19: "no position",
    b"1" * 20: "no position",
    b" " * 65: "more than 64 bytes",
}


@pytest.mark.parametrize("content", BAD_MARKERS)
async def test_a_marker_that_holds_no_position_refuses_its_file(tmp_path: Path, content: bytes) -> None:
    imports = Imports()
    folder = folder_of(tmp_path, imports, Background())
    (tmp_path / NAME).write_bytes(FILE)
    (tmp_path / f"{NAME}.DONE").write_bytes(content)
    await run_until(folder, lambda: sorted(os.listdir(tmp_path)) == ["done", "refused"])
    assert BAD_MARKERS[content] in refusal(tmp_path, NAME)
    assert not imports.taken


@pytest.mark.parametrize(("content", "position"), [(b"\xef\xbb\xbf42\r\n", 42), (b"", 100), (b"\n", 100), (b"0", 0)])
async def test_a_marker_is_a_position_or_nothing(tmp_path: Path, content: bytes, position: int) -> None:
    imports = Imports()
    folder = folder_of(tmp_path, imports, Background())
    (tmp_path / NAME).write_bytes(FILE)
    (tmp_path / f"{NAME}.Done").write_bytes(content)
    await run_until(folder, lambda: is_over(tmp_path))
    assert [manifest.as_of_position for manifest in imports.taken] == [position]


@pytest.mark.parametrize("first", [b"-5", b"1"], ids=["refused", "taken"])
async def test_the_marker_of_the_next_file_of_that_name_stays_with_it(
    first: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who puts the next one the moment the name is free, before the marker of the last one is gone."""
    imports = Imports()
    folder = folder_of(tmp_path, imports, Background())

    def replace_and_put(file: Path, target: Path) -> None:
        durable.replace_durably(file, target)
        if file == tmp_path / NAME and not imports.taken and (tmp_path / f"{NAME}.done").read_bytes() == first:
            put(tmp_path)

    monkeypatch.setattr("services.pusher.imports.uploads.folder.replace_durably", replace_and_put)
    (tmp_path / NAME).write_bytes(FILE)
    (tmp_path / f"{NAME}.done").write_bytes(first)
    taken = [1, POSITION] if first == b"1" else [POSITION]
    await run_until(folder, lambda: len(imports.taken) == len(taken))
    assert [manifest.as_of_position for manifest in imports.taken] == taken
    assert not (tmp_path / f"{NAME}.done").exists()


async def test_a_marker_that_is_written_anew_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell's `>` makes it empty first, and empty means the log's end."""
    imports = Imports()
    folder = folder_of(tmp_path, imports, Background())
    marker = tmp_path / f"{NAME}.done"
    reads = 0

    def read_while_it_is_written(path: Path) -> int | None:
        nonlocal reads
        reads += 1
        if reads > 2:
            return read_marker(path)
        marker.write_bytes(b"" if reads == 1 else b"no position")
        try:
            return read_marker(path)
        finally:
            marker.write_text(f"{POSITION}\n")

    monkeypatch.setattr("services.pusher.imports.uploads.folder.read_marker", read_while_it_is_written)
    put(tmp_path)
    await run_until(folder, lambda: imports.taken)
    assert [manifest.as_of_position for manifest in imports.taken] == [POSITION]
    assert reads == 3


def put_hostile_things(folder: Path) -> dict[str, str]:
    """What nobody means well with; name to what its refusal says."""
    secret = folder.parent / "secret"
    secret.write_bytes(FILE)
    (folder / "link.csv").symlink_to(secret)
    (folder / "dangling.csv").symlink_to(folder / "nothing")
    os.mkfifo(folder / "pipe.csv")
    (folder / "marked-by-a-pipe.csv").write_bytes(FILE)
    os.mkfifo(folder / "marked-by-a-pipe.csv.done")
    (folder / "marked-by-a-folder.csv").write_bytes(FILE)
    (folder / "marked-by-a-folder.csv.done").mkdir()
    (folder / "marked-by-a-link.csv").write_bytes(FILE)
    (folder / "marked-by-a-link.csv.done").symlink_to(secret)
    (folder / ("n" * 250)).write_bytes(FILE)
    (folder / "eine\nZeile.csv").write_bytes(FILE)
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.csv")).write_bytes(FILE)
    (folder / "fault.csv").write_bytes(UNREADABLE)
    (folder / "fault.csv.done").write_bytes(b"")
    # Those that are no files, and none that was being taken.
    (folder / ".taking-abc-x.csv").write_bytes(FILE)
    (folder / ".taking-99999999999999999999-x.csv").write_bytes(FILE)
    (folder / f".taking-{2**63}-x.csv").write_bytes(FILE)
    (folder / ".taking-1-a link.csv").symlink_to(secret)
    (folder / "a-folder.csv").mkdir()
    (folder / "copied.csv.filepart").write_bytes(FILE)
    return {
        "link.csv": "no regular file",
        "dangling.csv": "no regular file",
        "pipe.csv": "no regular file",
        "marked-by-a-pipe.csv": "marker marked-by-a-pipe.csv.done is no regular file",
        "marked-by-a-folder.csv": "marker marked-by-a-folder.csv.done is no regular file",
        "marked-by-a-link.csv": "marker marked-by-a-link.csv.done is no regular file",
        "n" * 100: "use 1 to 200 bytes of UTF-8",
        "eine_Zeile.csv": "use 1 to 200 bytes of UTF-8",
        "_.csv": "use 1 to 200 bytes of UTF-8",
        "fault.csv": "a fault that nobody thought of",
    }


async def test_whatever_lies_in_the_folder_every_good_file_is_taken(tmp_path: Path) -> None:
    imports, background = Imports(), Background()
    (tmp_path / "uploads").mkdir()
    path = tmp_path / "uploads"
    expected = put_hostile_things(path)
    folder = UploadFolder(path, imports, imports, background, poll_s=0.01, stable_s=0.05, marker_settle_s=0.0)  # type: ignore[arg-type]
    put(path)
    await run_until(folder, lambda: is_over(path) and all(refusal(path, name) for name in expected))
    for name, said in expected.items():
        assert said in refusal(path, name), name
    assert [manifest.file_name for manifest in imports.taken] == [NAME]
    assert not background.failed.is_set()
    assert (path / "refused" / "link.csv").is_symlink(), "moved as the link that it is"
    assert (path / "copied.csv.filepart").exists()


async def test_a_folder_that_is_called_as_a_file_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("dir.csv", "marked", "a profile's"):
        (tmp_path / name).mkdir()
    (tmp_path / "marked.done").write_text("3\n")
    folder = folder_of(tmp_path, Imports(), Background())
    put(tmp_path)
    await run_until(folder, lambda: is_over(tmp_path))
    told = [record.getMessage() for record in caplog.records if "is a folder" in record.getMessage()]
    assert sorted(told) == [
        f"{tmp_path / name} is a folder, and not taken: put the file itself here" for name in ("dir.csv", "marked")
    ]


async def test_a_file_that_ends_within_a_line_waits_for_the_rest_and_is_refused_in_the_end(tmp_path: Path) -> None:
    imports, time = Imports(), Time()
    # A file is whole after a minute in which it stays the same.
    folder = folder_of(tmp_path, imports, Background(), time.now_s)
    (tmp_path / NAME).write_bytes(FILE[:-1])
    (tmp_path / "whole.csv").write_bytes(FILE)
    await run_until(folder, lambda: time.looks > 1)
    assert not imports.taken
    time.pass_s(599.0)
    await run_until(folder, lambda: (tmp_path / "done" / "whole.csv").exists())
    assert (tmp_path / NAME).exists(), "waits"
    time.pass_s(1.0)
    await run_until(folder, lambda: refusal(tmp_path, NAME))
    assert "put members.csv.done beside it" in refusal(tmp_path, NAME)
    assert [manifest.file_name for manifest in imports.taken] == ["whole.csv"]


@pytest.mark.parametrize("name", ["Mitglieder März 2024 (Export).csv", "a b.csv", "名" * 65 + ".csv", "`id` $HOME.csv"])
@pytest.mark.parametrize("marker", ["", "5"])
async def test_a_name_with_blanks_and_letters_of_any_script(name: str, marker: str, tmp_path: Path) -> None:
    """The longest ones have room for what is put before and behind them, also where one of that name was there."""
    imports = Imports()
    for number in (1, 2):
        (tmp_path / name).write_bytes(FILE)
        (tmp_path / f"{name}.done").write_text(marker)
        folder = UploadFolder(tmp_path, imports, imports, Background(), poll_s=0.01, stable_s=60, marker_settle_s=0.0)  # type: ignore[arg-type]
        await run_until(folder, lambda number=number: len(told_of(tmp_path)) == number)
    assert [manifest.file_name for manifest in imports.taken] == [name, name]
    assert (tmp_path / "done" / name).read_bytes() == FILE
    assert len([file for file in (tmp_path / "done").iterdir() if file.name.endswith(f"-{name}")]) == 1


def told_of(folder: Path) -> list[Path]:
    """The results that say how a rollout ended."""
    return [result for result in (folder / "done").glob("*.result.txt") if result.read_text().startswith("import ")]


async def test_a_mended_file_of_the_same_name_and_size_is_taken_again(tmp_path: Path) -> None:
    imports = Imports()
    folder = folder_of(tmp_path, imports, Background())
    for number, content in enumerate((b"member_id\nA\n", b"member_id\nB\n"), 1):
        (tmp_path / NAME).write_bytes(content)
        (tmp_path / f"{NAME}.done").write_text("3")
        await run_until(folder, lambda number=number: len(told_of(tmp_path)) == number)
    assert len({manifest.sha256 for manifest in imports.taken}) == 2


async def test_a_left_over_claim_with_other_bytes_is_an_import_of_its_own(tmp_path: Path) -> None:
    imports = Imports()
    (tmp_path / "before").write_bytes(b"member_id\nB\n")
    await imports.take(tmp_path / "before", NAME, POSITION)
    (tmp_path / f".taking-{POSITION}-{NAME}").write_bytes(FILE)
    await run_until(folder_of(tmp_path, imports, Background()), lambda: (tmp_path / "done" / NAME).exists())
    assert len(imports.taken) == 2


async def test_a_result_is_true_in_the_end_also_after_a_restart(tmp_path: Path) -> None:
    imports = Imports()
    imports.state = pusher_pb2.IMPORT_STATE_WAITING
    put(tmp_path)
    result = tmp_path / "done" / f"{NAME}.result.txt"
    await run_until(folder_of(tmp_path, imports, Background()), lambda: (tmp_path / "done" / NAME).exists())
    assert result.read_text() == "taken as import 1\n"
    imports.state = pusher_pb2.IMPORT_STATE_SUPERSEDED
    await run_until(folder_of(tmp_path, imports, Background()), lambda: "superseded" in result.read_text())
    assert result.read_text() == "import 1 superseded: a newer import took its place\n"
