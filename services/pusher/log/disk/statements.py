"""What the log asks SQLite for."""

from __future__ import annotations

from collections.abc import Iterator

#: Rows a statement; a group is cut into these, so that few different statements are ever prepared.
_ROWS = (500, 100, 25, 10, 5, 4, 3, 2, 1)
#: The fence and the end of the log are compared in the statement itself: nothing is stored where they are others.
INSERTS = {
    rows: f"INSERT INTO log SELECT * FROM (VALUES {','.join(['(?,?,?)'] * rows)}) "
    "WHERE (SELECT claims FROM fence) = ? AND (SELECT max(position) FROM log) IS ?"
    for rows in _ROWS
}
FINDS = {
    rows: f"SELECT position, update_id, frame FROM log WHERE update_id IN ({','.join('?' * rows)})" for rows in _ROWS
}
#: One step for a whole run of rows: a step a row would let go of the interpreter lock, and wait for it, each time.
READ = """
SELECT count(*), CAST(group_concat(frame, '') AS BLOB)
FROM (SELECT position, frame FROM log WHERE position BETWEEN ? AND ? ORDER BY position)
"""
READ_ROWS = 1000
NAMED = "SELECT position, frame FROM log WHERE update_id BETWEEN ? AND ? ORDER BY position"
TIME_MARK_S = 30.0
KEEP_TIME_S = 600.0
#: Some updates take so much.
ROOM_BYTES = 64 * 1024
#: How far the running time had come, by the newest mark or by what was kept since.
KEPT_TIME = """
SELECT max(kept) FROM (
    SELECT max(stored_at) AS kept FROM time_marks
    UNION ALL SELECT CAST(value AS REAL) FROM meta WHERE name = 'running_s'
)
"""


def pieces(count: int) -> Iterator[tuple[int, int]]:
    """(offset, rows) that cut `count` rows into statements of `_ROWS`."""
    offset = 0
    for rows in _ROWS:
        while count - offset >= rows:
            yield offset, rows
            offset += rows
