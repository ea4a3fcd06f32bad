"""A state that is kept to be read for years: how it is written, and a tree over it as it lies in its file.

Nothing is copied or computed that has to do with all members: a tree of millions is there in milliseconds, and what a
report reads of it comes from the file. What a live tree is made ready for (more members, more periods, updates) is left
out. It must not be changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.treenode.tree import state
from services.treenode.tree.columns.further import Column, FurtherColumns
from services.treenode.tree.columns.names import Names
from services.treenode.tree.columns.texts import Texts
from services.treenode.tree.kernels.kernel import AnyArray
from services.treenode.tree.tree import Tree


def state_to_keep(tree: Tree) -> tuple[dict[str, Any], dict[str, AnyArray]]:
    """As `Tree.state`, which reads it too, with what else `tree_over` needs."""
    meta, arrays = tree.state()
    # One row of zeros stands for every type and period in which nobody has volume.
    arrays.update(state.volumes_of(tree.store, zeros=1))
    return meta, {**arrays, "magnitudes": tree.store.magnitudes}


def tree_over(meta: Mapping[str, Any], arrays: Mapping[str, AnyArray], period: str) -> Tree:
    """A tree that has these arrays for its columns. Whoever names no period means `period`.

    Raises StateError where they don't fit, or are none that `state_to_keep` gave.
    """
    if meta.get("format") != state.FORMAT:
        raise state.StateError(f"the state has format {meta.get('format')}, not {state.FORMAT}")
    state.check_meta(meta)
    try:
        rows = len(arrays["personal"])
        names = Names(meta["statuses"])
        rules, slots = state.rules_from_meta(meta)
        slots = slots.of_rows(rows, period)
        store = state.store_over(arrays, slots, names.hashes, arrays["magnitudes"][:rows])
        tree = Tree(rules, slots, meta["import_id"], names, store)
        tree.further = FurtherColumns(
            {
                name: Column(name, kind, arrays[f"further.{name}"], _texts_of(name, segments, arrays))
                for name, kind, segments, _ in meta["further"]
            }
        )
        tree.held_updates = state.held_from(meta, arrays, rules)
        tree.rejected_updates = state.rejected_from(meta)
        position, digest = meta["position"], meta["digest"]
    except state.ODD as error:
        raise state.StateError(f"the state does not fit together: {error!r}") from error
    if (tree.position, tree.digest) != (position, digest):
        raise state.StateError("the state's columns are of another position than it says")
    return tree


def _texts_of(column: str, segments: int, arrays: Mapping[str, AnyArray]) -> Texts:
    return Texts([arrays[f"texts.{column}.{place}"] for place in range(segments)])
