"""What a file's name may be when it comes from outside, and where it may lead."""

from __future__ import annotations

import re
from pathlib import Path

from services.shared.serving.errors import InvalidArgumentError

#: The proto's rule (`UploadImportHeader`). `.` and `..` are folders.
_FILE_NAME = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,128}")
_UNFIT = re.compile(r"[^A-Za-z0-9._-]")
_SHOWN_MAX = 140
#: With room for what is put before and behind it.
_FIT_MAX = 100


def file_name_problem(name: str) -> str | None:
    """What makes a name one that could be a path, or could not be written to a disk; None where nothing does."""
    if _FILE_NAME.fullmatch(name):
        return None
    return f"file_name {name[:_SHOWN_MAX]!r}: use 1 to 128 of A-Z a-z 0-9 . _ - and no folder"


def check_file_name(name: str, field: str = "file_name") -> None:
    """Raises InvalidArgumentError where a name has a problem; `field` is named."""
    if problem := file_name_problem(name):
        raise InvalidArgumentError(problem, field=field, value=name[:_SHOWN_MAX])


def fit_file_name(name: str) -> str:
    """The name itself where a file beside others may have it, else one that reminds of it."""
    if name.isprintable() and len(name.encode()) <= _FIT_MAX and not name.startswith("."):
        return name
    return _UNFIT.sub("_", name)[:_FIT_MAX].lstrip(".") or "_"


def inside(folder: Path, name: str) -> Path:
    """The path of that name right inside the folder. Raises InvalidArgumentError where it would be anywhere else.

    For names that are not, or not yet, known to fit `check_file_name`.
    """
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise InvalidArgumentError(f"file_name {name[:_SHOWN_MAX]!r} is no name inside a folder", field="file_name")
    return folder / name
