"""What `fasttree status` says of stored snapshots."""

from __future__ import annotations

from collections.abc import Iterator

from fasttree.client.status.snapshots import StoredSnapshotsJson


def stored_lines(stored: StoredSnapshotsJson | None) -> Iterator[str]:
    """The newest one, and what is wrong with the place; nothing where none is set."""
    if stored is None:
        return
    if stored["position"] is None:
        # Whoever can't look there knows of none.
        found = "none is known" if stored["problems"] else "none yet"
        yield f"stored snapshots: {found} in {stored['place']}"
    else:
        state = f"import {stored['import_id']}, position {stored['position']}"
        age = _age_words(stored["age_s"] or 0)
        yield f"stored snapshots: the newest is of {state}, {age} old, in {stored['place']}"
    problems: dict[str, list[str]] = {}
    for each in stored["problems"]:
        problems.setdefault(each["problem"], []).append(each["node"])
    for problem, nodes in problems.items():
        yield f"stored snapshots ({', '.join(nodes)}): {problem}"


def _age_words(age_s: int) -> str:
    if age_s < 120:
        return f"{age_s} s"
    return f"{age_s // 60} min" if age_s < 7_200 else f"{age_s // 3_600} h"
