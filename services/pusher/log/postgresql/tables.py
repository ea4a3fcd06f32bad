"""The tables of a log, how they came to be, and what a pusher needs to be allowed.

Every statement names its schema: nothing is kept in a session, so a pooler may give each transaction another one. The
tables belong to whoever made them; a pusher that may only read and change rows finds them made by `schema_sql`.

| table | holds |
|---|---|
| `meta` | the version of these tables, the cluster, the log's id, how far its running time is |
| `fence` | one row: who may write, the ends of the log, and how many writes there were |
| `records` | the frame at each position that is kept |
| `kept_ids` | each id of a record that is kept, with its position and the hash of its content |
| `id_runs`, `id_pieces` | the same of records that were trimmed, for good, by their keys (`trimmed_ids.py`) |
| `old_ids` | the same of ids that were trimmed in SQLite before version 1 moved the log here |
| `rules`, `imports`, `time_marks`, `replaced_logs` | as in every log |
"""

from __future__ import annotations

import uuid

VERSION = 2

#: From the version before to that one. A released one never changes.
MIGRATIONS = {
    1: """
CREATE TABLE {schema}.meta (name text PRIMARY KEY, value text NOT NULL);
CREATE TABLE {schema}.fence (
    only_row boolean PRIMARY KEY CHECK (only_row), epoch bigint NOT NULL, holder text NOT NULL, claims bigint NOT NULL,
    first bigint NOT NULL, last bigint NOT NULL, writes bigint NOT NULL
) WITH (fillfactor = 10);
CREATE TABLE {schema}.records (position bigint PRIMARY KEY, update_id text COLLATE "C" NOT NULL, frame bytea NOT NULL);
CREATE TABLE {schema}.ids (
    update_id text COLLATE "C" PRIMARY KEY, position bigint NOT NULL, content_hash bigint NOT NULL
);
CREATE TABLE {schema}.old_ids (
    high bigint, low bigint, position bigint NOT NULL, content_hash bigint NOT NULL, PRIMARY KEY (high, low)
);
CREATE TABLE {schema}.rules (position bigint PRIMARY KEY, content bytea NOT NULL, crc32 bigint NOT NULL);
CREATE TABLE {schema}.imports (import_id bigint PRIMARY KEY, taken boolean NOT NULL, status bytea NOT NULL);
CREATE TABLE {schema}.time_marks (position bigint PRIMARY KEY, stored_at double precision NOT NULL);
CREATE TABLE {schema}.replaced_logs (number bigint PRIMARY KEY, log_id text NOT NULL, reason text NOT NULL);
INSERT INTO {schema}.fence VALUES (true, 0, '', 0, 1, 0, 0);
""",
    # Under another name: a pusher of the version before, which knows no runs, can take nothing more.
    2: """
ALTER TABLE {schema}.ids RENAME TO kept_ids;
CREATE TABLE {schema}.id_runs (
    number bigint PRIMARY KEY, level bigint NOT NULL, header bytea NOT NULL, pieces bigint NOT NULL
);
CREATE TABLE {schema}.id_pieces (run bigint, piece bigint, bytes bytea NOT NULL, PRIMARY KEY (run, piece));
ALTER TABLE {schema}.id_pieces ALTER COLUMN bytes SET STORAGE EXTERNAL;
""",
}
_GRANTS = """
GRANT USAGE ON SCHEMA {schema} TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role};
"""


def schema_sql(schema: str, cluster: str, role: str = "") -> str:
    """What a database's administrator runs where the pusher itself may make no tables: once, in one transaction.

    `role`: the pusher's own, which is given what it needs and no more.
    """
    quoted = f'"{schema}"'
    made = f"CREATE SCHEMA IF NOT EXISTS {quoted};{_steps(quoted, 0)}{founding(quoted, cluster)}"
    return f"BEGIN;\n{made}{_grants(quoted, role)}COMMIT;\n"


def upgrade_sql(schema: str, version: int, role: str = "") -> str:
    """The same for tables that are there, of an earlier version: those of another one are left as they are."""
    quoted = f'"{schema}"'
    check = f"""
DO $$ BEGIN
    IF (SELECT value FROM {quoted}.meta WHERE name = 'version') <> '{version}' THEN
        RAISE EXCEPTION 'the tables of schema {schema} are not of version {version}: nothing was changed';
    END IF;
END $$;"""
    return f"BEGIN;{check}{_steps(quoted, version)}{raised(quoted)}{_grants(quoted, role)}COMMIT;\n"


def _steps(quoted: str, version: int) -> str:
    return "".join(MIGRATIONS[step].format(schema=quoted) for step in range(version + 1, VERSION + 1))


def _grants(quoted: str, role: str) -> str:
    return _GRANTS.format(schema=quoted, role=f'"{role}"') if role else ""


def raised(quoted: str) -> str:
    """What a log of an earlier version says once its tables are of this one."""
    return f"UPDATE {quoted}.meta SET value = '{VERSION}' WHERE name = 'version';\n"


def founding(quoted: str, cluster: str) -> str:
    """What a new log says of itself."""
    rows = {"version": str(VERSION), "cluster": cluster, "log_id": uuid.uuid4().hex}
    values = ", ".join("('{}', '{}')".format(name, value.replace("'", "''")) for name, value in rows.items())
    return f"INSERT INTO {quoted}.meta VALUES {values};\n"
