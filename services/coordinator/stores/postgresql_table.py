"""The table of the coordinators' record in PostgreSQL, and what a coordinator needs to be allowed.

It belongs to whoever made it. What is in a row is an object that says itself what it holds (`lease.py`), so the table
never changes.
"""

from __future__ import annotations

TABLE = """CREATE TABLE IF NOT EXISTS {schema}.coordinators (
    cluster text PRIMARY KEY, version text NOT NULL, lease text NOT NULL
) WITH (fillfactor = 10)"""
_GRANTS = """GRANT USAGE ON SCHEMA {schema} TO {role};
GRANT SELECT, INSERT, UPDATE ON {schema}.coordinators TO {role};
"""


def coordinators_sql(schema: str, role: str = "") -> str:
    """What a database's administrator runs where the coordinators themselves may make no table.

    `role`: theirs, which is given what it needs and no more.
    """
    quoted = f'"{schema}"'
    grants = _GRANTS.format(schema=quoted, role=f'"{role}"') if role else ""
    return f"BEGIN;\nCREATE SCHEMA IF NOT EXISTS {quoted};\n{TABLE.format(schema=quoted)};\n{grants}COMMIT;\n"
