"""Short texts as codes: statuses."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from services.treenode.tree.kernels.kernel import UInt64s, text_hash


class Names:
    """Texts by code, each text once. Codes are a node's own business: they never leave it and are in no digest."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        """Takes texts in, with the codes 0, 1, 2, … Raises ValueError where one comes twice."""
        #: Texts by code.
        self.texts: list[str] = list(texts)
        self._codes = {text: code for code, text in enumerate(self.texts)}
        if len(self._codes) != len(self.texts):
            raise ValueError("a name comes twice among the names of a column")
        #: Hashes by code; 0 for the empty text, which stands for unknown. A new array whenever a text is added.
        self.hashes: UInt64s = np.array([_hash(text) for text in self.texts], dtype=np.uint64)

    def copy(self) -> Names:
        """The same names with the same codes."""
        return Names(self.texts)

    def code(self, text: str) -> int:
        """The code of a text, which is taken in if it is new."""
        code = self._codes.get(text)
        if code is None:
            code = len(self.texts)
            self.texts.append(text)
            self._codes[text] = code
            self.hashes = np.append(self.hashes, np.uint64(_hash(text)))
        return code

    def find(self, text: str) -> int:
        """The code of a text; -1 where no row ever had it."""
        return self._codes.get(text, -1)

    def __len__(self) -> int:
        return len(self.texts)


def _hash(text: str) -> int:
    return text_hash(text) if text else 0
