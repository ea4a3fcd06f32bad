"""What a log in PostgreSQL promises, by the settings of its server."""

from __future__ import annotations

from services.pusher.log.store import Durability


def promised(standbys: str, syncs: bool, version: str, waits_for: str, place: str) -> Durability:
    """What becomes of an acknowledged update when a machine is lost.

    Args:
        standbys: `synchronous_standby_names`.
        syncs: `fsync`.
        waits_for: `synchronous_commit` of each write.
    """
    where = f"in PostgreSQL {version.split()[0]} at {place}"
    if standbys and waits_for != "local":
        waits = f"a commit waits for the standbys {standbys!r} (synchronous_commit {waits_for})"
        return Durability("postgresql", True, f"{where}; {waits}")
    why = "a commit waits for no standby (synchronous_commit local)" if standbys else "it has no synchronous standby"
    if not syncs:
        why += ", and fsync is off"
    return Durability("postgresql", False, f"{where}, lost with that server's disk: {why}")
