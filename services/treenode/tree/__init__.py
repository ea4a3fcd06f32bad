"""The genealogy engine: columns, kernels, updates. No I/O, no clock, no threads of its own."""

from services.treenode.tree.held import NotApplied
from services.treenode.tree.ids import IdIndex
from services.treenode.tree.reconcile import Reconciliation
from services.treenode.tree.state import StateError
from services.treenode.tree.table import NO_DAY, NO_NUMBER, FurtherColumn, ImportTable
from services.treenode.tree.tree import Tree, TreeConfig
from services.treenode.tree.validate import InvariantError

__all__ = [
    "NO_DAY",
    "NO_NUMBER",
    "FurtherColumn",
    "IdIndex",
    "ImportTable",
    "InvariantError",
    "NotApplied",
    "Reconciliation",
    "StateError",
    "Tree",
    "TreeConfig",
]
