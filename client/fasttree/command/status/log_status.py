"""What `fasttree status` says of the pusher's log."""

from __future__ import annotations

from collections.abc import Iterator

from fasttree.client.status.log import LogJson


def log_lines(log: LogJson) -> Iterator[str]:
    """What a person has to know of it; nothing where all is as it usually is."""
    if log["closed"] and log["closed"] != log["damage"]:
        yield f"no pushes are taken: {log['closed']}"
    if log["store"] not in ("", "sqlite"):
        safe = "outlives any one machine" if log["survives_machine_loss"] else "does not outlive its machine"
        yield f"log: what is acknowledged {safe}: {log['durability']}"
    if log["imports_kept"]["shared"]:
        yield f"import files: in {log['imports_kept']['place']}"
    if log["imports_kept"]["problem"]:
        yield f"import files: {log['imports_kept']['problem']}"
    if log["rule_version_waits_for"]:
        versions = f"updates have the meaning of version {log['rule_version']}"
        waits_for = ", ".join(log["rule_version_waits_for"])
        yield f"{versions}: {log['known_rule_version']} waits for {waits_for}; see docs/upgrades.md"
