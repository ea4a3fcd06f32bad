"""The texts of a personal column: tokens in the tree, values where they are put together for an answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from services.treenode.reports.columns import Column
from services.treenode.tree import Tree
from services.treenode.tree.columns.texts import Texts
from services.treenode.tree.kernels.kernel import Int64s, UInt8s

#: Texts as whoever may see them is shown them, in order: the values of tokens.
Reveal: TypeAlias = Callable[[Sequence[str]], Sequence[str]]


class RevealedTexts(Texts):
    """The texts of a tree's column, whose tokens are values when they are put together."""

    def __init__(self, tokens: Texts, reveal: Reveal) -> None:
        super().__init__()
        self._tokens, self._reveal = tokens, reveal

    def joined(self, references: Int64s) -> tuple[UInt8s, Int64s]:
        """As of Texts."""
        content, places = self._tokens.joined(references)
        packed = content.tobytes()
        encoded = [
            text.encode()
            for text in self._reveal([packed[begin:end].decode() for begin, end in pairwise(places.tolist())])
        ]
        offsets = np.zeros(len(encoded) + 1, np.int64)
        np.cumsum([len(text) for text in encoded], out=offsets[1:])
        return np.frombuffer(bytearray().join(encoded), np.uint8), offsets


def revealed(column: Column, reveal: Reveal) -> Column:
    """A personal column as it is shown."""
    tokens = column.texts
    if tokens is None:  # a file had one of this name that is no column of texts
        return column

    def texts(tree: Tree) -> Texts:
        return RevealedTexts(tokens(tree), reveal)

    return replace(column, texts=texts)
