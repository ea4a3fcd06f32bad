"""What a vault's owner does, as a process of its own, which is watched (`tests/shared/files/moments.py`)."""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from typing import Final

from services.shared.files.sealed.own import keys_for_now
from services.shared.personal.vault import FILE_NAME, Cell, Vault
from tests.shared.files.moments import wait_to_be_watched
from tests.shared.files.sealed.own_keys import keys

#: Nothing of the one who is erased is in anybody else's values.
ERASED: Final = [Cell("anna-1", f"column-{number}", f"<anna {number}>" * 30) for number in range(16)]
OTHERS: Final = [
    Cell(f"member-{number}", f"column-{of}", f"<{number} {of}>" * 20) for number in range(6) for of in range(4)
]


def filled(folder: Path) -> Vault:
    """All of them in turns, so that pages have some of both."""
    folder.mkdir(exist_ok=True)
    vault = Vault(folder / FILE_NAME)
    vault.follow_key()
    for begin in range(8):
        vault.put([*OTHERS[begin::8], *ERASED[begin::8]])
    return vault


def opened(folder: Path) -> Vault:
    """With so little of it in memory as SQLite can do with: as if it were larger than that."""
    vault = Vault(folder / FILE_NAME)
    vault._open.execute("PRAGMA cache_size = 4").close()
    return vault


def erase(folder: Path) -> None:
    vault = opened(folder)
    wait_to_be_watched()
    vault.erase("anna-1", "e-1")


def rotate(folder: Path) -> None:
    vault = opened(folder)
    with keys_for_now(keys("two", "one")):
        wait_to_be_watched()
        while not vault.tend().is_done:
            pass


def rotate_much(folder: Path) -> None:
    """Says by how many bytes more than before it grew."""
    vault = Vault(folder / FILE_NAME)
    with keys_for_now(keys("two", "one")):
        vault.tend(5)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        while not vault.tend(5).is_done:
            pass
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)


if __name__ == "__main__":
    with keys_for_now(keys("one") if sys.argv[3] == "sealed" else None):
        {"erase": erase, "rotate": rotate, "rotate much": rotate_much}[sys.argv[1]](Path(sys.argv[2]))
