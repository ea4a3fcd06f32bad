"""Which names mean a personal column: all that a reader takes for it, however a program writes it.

`str.lower`, by which names of columns are the same elsewhere, tells apart what capitals make of one word: STRASSE and
straße, ΟΔΟΣ:text and οδος, İSİM and isim; and letters that were put together otherwise (é, as one character or two). A
value under such a name would lie in the log and in files for good.
"""

from __future__ import annotations

import re
from typing import Final
from unicodedata import normalize

from services.shared.domain.sentences import SHAPELESS

_SHAPELESS: Final = re.compile(f"[{SHAPELESS}]")


def meant(name: str) -> str:
    """The same for all names that mean one column, and no two of ASCII but for their case."""
    if name.isascii():
        return _SHAPELESS.sub("", name).strip().lower()
    seen = _SHAPELESS.sub("", normalize("NFKC", name)).strip()
    # By capitals, so that ı, whose capital is I, is i, as whoever has no other I writes it; so is what İ becomes.
    return normalize("NFKC", seen.upper().casefold()).replace("i\u0307", "i")
