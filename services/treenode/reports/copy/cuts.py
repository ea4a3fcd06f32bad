"""A cut through the tree: rows copied at one position, and what is to become of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.treenode.reports.copy.freeze import without_empty_places
from services.treenode.reports.copy.rows import FrozenRows
from services.treenode.reports.pages import Sort
from services.treenode.reports.plan.choice import Choice
from services.treenode.reports.plan.filters import RowFilter


@dataclass(frozen=True)
class Cut:
    """Copied rows; nothing of it changes with the tree."""

    #: Empty places and what the filter does not want among them.
    rows: FrozenRows
    choice: Choice
    row_filter: RowFilter
    sort: Sort

    def members(self) -> FrozenRows:
        """The rows that the report shows."""
        mask = self.row_filter.mask(self.rows)
        return without_empty_places(self.rows if mask is None else self.rows.take(np.flatnonzero(mask)))
