"""Whether an import may take the place of the live tree: how much of it may differ."""

from __future__ import annotations

from fasttree.v1 import treenode_pb2
from services.treenode.settings import TreeNodeSettings


def refusal(figures: treenode_pb2.Reconciliation, settings: TreeNodeSettings) -> str | None:
    """Why the import is refused, in one line with the way out; None where it is within every threshold."""
    if figures.members_before < settings.import_threshold_members_min:
        return None
    checks = (
        ("removes", figures.members_removed, settings.import_removed_percent_max, "import_removed_percent_max"),
        ("moves", figures.members_moved, settings.import_moved_percent_max, "import_moved_percent_max"),
        (
            "changes the volumes of",
            figures.volumes_changed,
            settings.import_volumes_changed_percent_max,
            "import_volumes_changed_percent_max",
        ),
    )
    for verb, count, percent_max, setting in checks:
        percent = 100 * count / figures.members_before
        if percent > percent_max:
            return (
                f"import refused: it {verb} {count:,} of {figures.members_before:,} members ({percent:.1f} %), more "
                f"than {percent_max:g} %; check the file, then send it with --force or raise treenode.{setting}"
            )
    return None
