"""What a file's name may be when it comes from outside, and where it may lead."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from services.shared.domain.columns import obeyed_problem
from services.shared.domain.sentences import quoted
from services.shared.serving.errors import InvalidArgumentError

#: In UTF-8: with what is put before and behind it (`.taking-end-POSITION-`, a time, `.result.txt`, `.part`) it is
#: still a name on every disk, which takes 255.
FILE_NAME_BYTES_MAX: Final = 200
_FORM = (
    f"use 1 to {FILE_NAME_BYTES_MAX} bytes of UTF-8, without control characters, / and \\, and neither . nor .., which "
    "are folders"
)
# ASCII's controls and line ends of Unicode, which would begin a line in a log; what separates folders, here or where
# the file comes from; bytes of a disk that are no UTF-8, which Python tells as lone surrogates.
_UNFIT = re.compile(r"[\x00-\x1f\x7f\u2028\u2029/\\\ud800-\udfff]")
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9._-]")
_SHOWN_MAX = 140
_FIT_MAX = 100


def file_name_problem(name: str) -> str | None:
    """What makes a name one that could be a path, could not be written to a disk, or that a terminal would obey; None
    where nothing does. The rule is the proto's (`UploadImportHeader`)."""
    if _is_fit(name):
        return None
    return f"file_name {quoted(name)}: {_FORM}"


def _is_fit(name: str) -> bool:
    if name in ("", ".", "..") or len(name) > FILE_NAME_BYTES_MAX or _UNFIT.search(name) or obeyed_problem(name):
        return False
    return len(name.encode()) <= FILE_NAME_BYTES_MAX


def check_file_name(name: str, field: str = "file_name") -> None:
    """Raises InvalidArgumentError where a name has a problem; `field` is named."""
    if problem := file_name_problem(name):
        raise InvalidArgumentError(problem, field=field, value=name[:_SHOWN_MAX])


def fit_file_name(name: str) -> str:
    """The name itself where a file beside others may have it, else one that reminds of it."""
    if _is_fit(name) and not name.startswith("."):
        return name
    return _NOT_PLAIN.sub("_", name)[:_FIT_MAX].lstrip(".") or "_"


def inside(folder: Path, name: str) -> Path:
    """The path of that name right inside the folder. Raises InvalidArgumentError where it would be anywhere else.

    For names that are not, or not yet, known to fit `check_file_name`.
    """
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise InvalidArgumentError(f"file_name {name[:_SHOWN_MAX]!r} is no name inside a folder", field="file_name")
    return folder / name
