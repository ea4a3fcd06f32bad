"""Names that settings had before: one that still stands somewhere is refused with the new one named."""

from __future__ import annotations

#: The old name to the new one, or ones.
RENAMED = {
    "coordinator.shun_s": "coordinator.demotion_s",
    "pusher.folder": "pusher.state_folder",
    "pusher.grace_s": "pusher.drain_grace_s",
    "pusher.http_listen": "pusher.listen_host and pusher.http_port",
    "pusher.import_files_kept": "pusher.imports_kept",
    "pusher.listen": "pusher.listen_host and pusher.port",
    "treenode.import_moved_percent_max": "cluster.import_moved_percent_max",
    "treenode.import_removed_percent_max": "cluster.import_removed_percent_max",
    "treenode.import_threshold_members_min": "cluster.import_threshold_members_min",
    "treenode.import_volumes_changed_percent_max": "cluster.import_volumes_changed_percent_max",
    "treenode.relay_changed_percent": "treenode.relayout_changed_percent",
    "treenode.relay_changes_min": "treenode.relayout_changes_min",
}

#: Settings that are no more, and why.
RETIRED = {"imports.field_bytes": "what a text may be is a rule, alike on every node: remove it; see docs/imports.md"}

#: Sections that are no more, and what to do instead.
RETIRED_SECTIONS = {
    "reports": "nothing was ever read from it: remove it; [treenode] has what reports are set by",
    "vip": "nothing was ever read from it: remove it; the VIP is set by its own configuration, see deploy/",
}
