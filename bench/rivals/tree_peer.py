"""The same genealogy and questions in PostgreSQL: tables with paths and group volumes, recursive CTE, ltree."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.rivals.postgres import Session

#: Members and personal volume (hundredths) by level below the start.
Levels = dict[int, tuple[int, int]]

# One statement a step. The sponsor index makes the walk down cheap; the levels make the roll-up one pass over all.
_STEPS = (
    (
        "copy",
        """
        CREATE EXTENSION IF NOT EXISTS ltree;
        CREATE UNLOGGED TABLE members (member_id text, sponsor_id text, status text, rank smallint, joined_on date,
            pv numeric(20, 2));
        COPY members FROM '{file}' (FORMAT csv, HEADER true)
        """,
    ),
    ("primary key", "ALTER TABLE members ADD PRIMARY KEY (member_id)"),
    ("sponsor index", "CREATE INDEX members_sponsor ON members (sponsor_id); ANALYZE members"),
    (
        "paths",
        """
        SET enable_hashjoin = off; SET enable_mergejoin = off;
        CREATE UNLOGGED TABLE paths AS
        WITH RECURSIVE below AS (
            SELECT member_id, sponsor_id, text2ltree(member_id) AS path, 0 AS level, (pv * 100)::bigint AS pv
            FROM members WHERE sponsor_id IS NULL
            UNION ALL
            SELECT m.member_id, m.sponsor_id, b.path || m.member_id, b.level + 1, (m.pv * 100)::bigint
            FROM below b JOIN members m ON m.sponsor_id = b.member_id)
        SELECT * FROM below;
        RESET enable_hashjoin; RESET enable_mergejoin
        """,
    ),
    ("levels", "CREATE INDEX paths_level ON paths (level); ANALYZE paths"),
    (
        "group volumes",
        """
        CREATE UNLOGGED TABLE groups (member_id text, sponsor_id text, level int, gv bigint, downline_count bigint);
        CREATE INDEX groups_level ON groups (level);
        DO $$ BEGIN FOR deep IN REVERSE (SELECT max(level) FROM paths) .. 0 LOOP
            INSERT INTO groups
            SELECT p.member_id, p.sponsor_id, deep, p.pv + coalesce(c.gv, 0), coalesce(c.members, 0)
            FROM paths p LEFT JOIN (
                SELECT sponsor_id, sum(gv)::bigint AS gv, (count(*) + sum(downline_count))::bigint AS members
                FROM groups WHERE level = deep + 1 GROUP BY sponsor_id) c ON c.sponsor_id = p.member_id
            WHERE p.level = deep;
        END LOOP; END $$
        """,
    ),
    ("keys of group volumes", "ALTER TABLE groups ADD PRIMARY KEY (member_id); ANALYZE groups"),
)

_CTE = """
WITH RECURSIVE below AS (
    SELECT member_id, pv, 0 AS level FROM members WHERE {start}
    UNION ALL
    SELECT m.member_id, m.pv, b.level + 1 FROM below b JOIN members m ON m.sponsor_id = b.member_id)
SELECT level, count(*), (sum(pv) * 100)::bigint FROM below GROUP BY level
"""
_LTREE = """
SELECT p.level - s.level, count(*), sum(p.pv) FROM paths p, (SELECT path, level FROM paths WHERE member_id = '{id}') s
WHERE p.path <@ s.path GROUP BY 1
"""


@dataclass(frozen=True)
class PeerMember:
    """What PostgreSQL says of a member."""

    level: int
    gv: int
    downline_count: int
    upline: list[str]


def load(session: Session, file: Path) -> float:
    """Loads a CSV file of the six basic columns: keys, paths, and group volumes of all; seconds."""
    folder = Path(tempfile.mkdtemp(prefix="bench-copy-"))
    total_s = 0.0
    try:
        # PostgreSQL's own user must be able to read it; a second name costs nothing.
        folder.chmod(0o755)
        copy = folder / "members.csv"
        try:
            os.link(file, copy)
        except OSError:
            shutil.copyfile(file, copy)
        copy.chmod(0o644)
        for name, statement in _STEPS:
            taken_s = session.run(statement.format(file=copy))[1]
            total_s += taken_s
            sys.stderr.write(f"  PostgreSQL, {name}: {taken_s:.2f} s\n")
    finally:
        shutil.rmtree(folder)
    return total_s


def add_path_index(session: Session) -> float:
    """What the questions by ltree need beside: seconds. No part of the import's time."""
    return session.run(
        "CREATE INDEX paths_path ON paths USING gist (path gist_ltree_ops(siglen=100));"
        "ALTER TABLE paths ADD PRIMARY KEY (member_id); ANALYZE paths"
    )[1]


def _levels(rows: Sequence[Sequence[str]]) -> Levels:
    return {int(level): (int(members), int(pv)) for level, members, pv in rows}


def summarize_by_cte(session: Session, member_id: str) -> tuple[Levels, float]:
    """A downline by level (every root's where `member_id` is empty), by recursive CTE; and its time."""
    start = f"member_id = '{member_id}'" if member_id else "sponsor_id IS NULL"
    rows, taken_s = session.run(_CTE.format(start=start))
    return _levels(rows), taken_s


def summarize_by_ltree(session: Session, member_id: str) -> tuple[Levels, float]:
    """A downline by level, by ltree and its index; and its time."""
    rows, taken_s = session.run(_LTREE.format(id=member_id))
    return _levels(rows), taken_s


def members(session: Session, member_ids: Sequence[str]) -> dict[str, PeerMember]:
    """What PostgreSQL says of members."""
    listed = ", ".join(f"'{member_id}'" for member_id in member_ids)
    rows, _ = session.run(
        "SELECT g.member_id, g.level, g.gv, g.downline_count, p.path FROM groups g JOIN paths p USING (member_id) "
        f"WHERE g.member_id IN ({listed})"
    )
    return {
        member_id: PeerMember(int(level), int(gv), int(count), path.split(".")[-2::-1])
        for member_id, level, gv, count, path in rows
    }
