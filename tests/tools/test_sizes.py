"""Files, functions and folders are measured whole."""

from pathlib import Path

from tools.sizes import files, folders, functions


def test_each_is_measured_where_it_is(tmp_path: Path) -> None:
    room = tmp_path / "services" / "room"
    room.mkdir(parents=True)
    (room / "one.py").write_text("x = 1\n\n\nclass A:\n    async def f(self):\n        return 1\n")
    (room / "two.py").write_text("")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_one.py").write_text("")
    assert {str(size) for size in files(tmp_path)} == {
        "services/room/one.py: 6 lines",
        "services/room/two.py: 0 lines",
        "tests/test_one.py: 0 lines",
    }
    assert [str(size) for size in functions(tmp_path)] == ["services/room/one.py:5 f: 2 lines"]
    assert [str(size) for size in folders(tmp_path)] == ["services/room: 2 files"], (
        "tests may have as many as they need"
    )
