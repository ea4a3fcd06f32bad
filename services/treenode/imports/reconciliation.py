"""Whether an import may take the place of the live tree: how much of it may differ."""

from __future__ import annotations

from fasttree.v1 import treenode_pb2
from services.shared.domain.thresholds import ImportThresholds


def refusal(figures: treenode_pb2.Reconciliation, thresholds: ImportThresholds) -> str | None:
    """Why the import is refused, in one line with the way out; None where it is within every threshold."""
    if figures.members_before < thresholds.members_min:
        return None
    checks = (
        ("removes", figures.members_removed, thresholds.removed_percent_max, "removed"),
        ("moves", figures.members_moved, thresholds.moved_percent_max, "moved"),
        ("changes the volumes of", figures.volumes_changed, thresholds.volumes_changed_percent_max, "volumes-changed"),
    )
    for verb, count, percent_max, option in checks:
        percent = 100 * count / figures.members_before
        if percent > percent_max:
            return (
                f"import refused: it {verb} {count:,} of {figures.members_before:,} members ({percent:.1f} %), more "
                f"than {percent_max:g} %; check the file, then send it with --force, or allow more from now on by "
                f"`fasttree rules set --import-{option}-percent-max`"
            )
    return None
