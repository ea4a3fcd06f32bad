"""What `fasttree status` says of the pusher's log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fasttree.v1 import pusher_pb2


def log_json(pusher: pusher_pb2.GetPusherResponse) -> dict[str, Any]:
    """As JSON has it."""
    return {
        "log_id": pusher.log_id,
        "first_position": pusher.log_end.first_position,
        "position": pusher.log_end.position if pusher.log_id else None,
        "closed": pusher.closed_reason,
        "damage": pusher.log_damage,
        "store": pusher.log_durability.store,
        "survives_machine_loss": pusher.log_durability.survives_machine_loss,
        "durability": pusher.log_durability.description,
        "rule_version": pusher.rules.version,
        "known_rule_version": pusher.known_rule_version,
        "rule_version_waits_for": list(pusher.rule_version_waits_for),
    }


def log_lines(log: dict[str, Any]) -> Iterator[str]:
    """What a person has to know of it; nothing where all is as it usually is."""
    if log["closed"] and log["closed"] != log["damage"]:
        yield f"no pushes are taken: {log['closed']}"
    if log["store"] not in ("", "sqlite"):
        safe = "outlives any one machine" if log["survives_machine_loss"] else "does not outlive its machine"
        yield f"log: what is acknowledged {safe}: {log['durability']}"
    if log["rule_version_waits_for"]:
        versions = f"updates have the meaning of version {log['rule_version']}"
        waits_for = ", ".join(log["rule_version_waits_for"])
        yield f"{versions}: {log['known_rule_version']} waits for {waits_for}; see docs/upgrades.md"
