"""Kind and rank as reports show them: by the rule about customers, whatever is recorded.

What is recorded stays in the store and is what the digest is of, so a rule that is taken back leaves nothing behind.
These columns follow from it and from the rules. Where the rules say nothing about customers they are the store's own
arrays, and cost nothing; else 1 and 2 bytes a member.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from services.shared.rules import Rules
from services.treenode.tree.columns.names import Names
from services.treenode.tree.kernels.kernel import Int16s, Int32s, UInt8s
from services.treenode.tree.store import CUSTOMER, NOBODY, Store

if TYPE_CHECKING:
    from services.treenode.tree.tree import Tree


class Shown(NamedTuple):
    """By row. Other arrays whenever the tree's store is another one; never written where they are the store's own."""

    #: uint8, as in the store.
    kind: UInt8s
    #: int16, from 0.
    rank: Int16s


def shown_of(store: Store, names: Names, rules: Rules) -> Shown:
    """The columns of all rows."""
    kind, rank = store.kind, store.rank
    used = store.used
    if rules.customer_statuses:
        kind = np.empty(store.capacity, np.uint8)
        kind[:used] = _kinds(store, names, rules, slice(used))
    if rules.customers_are_rank_zero:
        rank = np.empty(store.capacity, np.int16)
        rank[:used] = np.where(kind[:used] == CUSTOMER, 0, store.rank[:used])
    return Shown(kind, rank)


def show_rows(tree: Tree, rows: Int32s | int) -> None:
    """After a change to what is recorded of these rows, before anybody reads them."""
    shown, rules = tree.shown, tree.rules
    if rules.customer_statuses:
        shown.kind[rows] = _kinds(tree.store, tree.statuses, rules, rows)
    if rules.customers_are_rank_zero:
        shown.rank[rows] = np.where(shown.kind[rows] == CUSTOMER, 0, tree.store.rank[rows])


def _kinds(store: Store, names: Names, rules: Rules, rows: Int32s | int | slice) -> UInt8s:
    is_customers = np.zeros(len(names), np.bool_)
    is_customers[[code for each in rules.customer_statuses if (code := names.find(each)) >= 0]] = True
    kind = store.kind[rows]
    # A free row may have kept the status of whoever had it.
    found: UInt8s = np.where((kind != NOBODY) & is_customers[store.status[rows]], np.uint8(CUSTOMER), kind)
    return found
