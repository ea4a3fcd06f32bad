"""A PostgreSQL of its own for benches: a temporary cluster on a Unix socket, tuned for this work, gone afterwards.

Generous to it: everything in shared buffers, nothing made durable, no autovacuum beside a measurement, unlogged tables.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_BINARIES = Path("/usr/lib/postgresql/15/bin")
_SETTINGS = {
    "listen_addresses": "",
    "shared_buffers": "2GB",
    "work_mem": "512MB",
    "maintenance_work_mem": "1GB",
    "effective_cache_size": "8GB",
    "temp_buffers": "512MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "1h",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "jit": "off",
    "random_page_cost": "1.0",
    "max_parallel_workers_per_gather": "2",
}


class PostgresError(Exception):
    """PostgreSQL is missing, did not start, or refused a statement; one line."""


class Session:
    """One connection, through psql, which times each statement at the client."""

    def __init__(self, folder: Path, user: str | None) -> None:
        #: Where the server's socket is, and whose it is.
        self.folder = folder
        self.user = user
        self._psql = subprocess.Popen(
            [_BINARIES / "psql", "-h", folder, "-U", "postgres", "-d", "postgres", "-XqAt", "-v", "ON_ERROR_STOP=1"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            user=user,
            cwd=folder,
        )

    def run(self, sql: str) -> tuple[list[list[str]], float]:
        """The rows of a statement, fields as text, and its time in seconds. Raises PostgresError."""
        assert self._psql.stdin is not None
        assert self._psql.stdout is not None
        begin = time.perf_counter()
        self._psql.stdin.write(f"{sql.rstrip().rstrip(';')};\n\\echo ==end==\n")
        self._psql.stdin.flush()
        rows: list[list[str]] = []
        for line in self._psql.stdout:
            text = line.rstrip("\n")
            if text == "==end==":
                return rows, time.perf_counter() - begin
            if text.startswith(("ERROR:", "psql:", "FATAL:")):
                raise PostgresError(f"{text}; in: {' '.join(sql.split())[:300]}")
            rows.append(text.split("|"))
        raise PostgresError(f"psql ended at: {' '.join(sql.split())[:300]}")

    def close(self) -> None:
        """Ends the connection."""
        assert self._psql.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._psql.stdin.close()
        self._psql.wait(timeout=30)


def pgbench(session: Session, script: str, clients: int, seconds: float) -> float:
    """Transactions a second of a script, prepared, by so many clients. Raises PostgresError."""
    file = session.folder / "script.sql"
    file.write_text(script)
    command: list[str | Path] = [_BINARIES / "pgbench", "-h", session.folder, "-U", "postgres", "-d", "postgres", "-n"]
    command += ["-M", "prepared", "-f", file, "-c", str(clients), "-j", str(min(clients, 2)), "-T", str(round(seconds))]
    done = subprocess.run(command, user=session.user, cwd=session.folder, capture_output=True, text=True, check=False)
    rate = re.search(r"tps = ([0-9.]+)", done.stdout)
    if done.returncode or rate is None:
        raise PostgresError(f"pgbench failed: {' '.join(done.stderr.split())[-300:]}")
    return float(rate[1])


def is_installed() -> bool:
    """Whether PostgreSQL 15 is here."""
    return (_BINARIES / "initdb").exists()


@contextlib.contextmanager
def running_postgres() -> Iterator[Session]:
    """A connection to a new cluster, which ends with the `with` block. Runs as user postgres where we are root, which
    PostgreSQL refuses to be. Raises PostgresError.
    """
    if not is_installed():
        raise PostgresError("PostgreSQL 15 is missing: apt-get install postgresql-15, or set PEER=none")
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="bench-postgres-"))
    server: subprocess.Popen[bytes] | None = None
    session: Session | None = None
    try:
        if user:
            os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
        _check([_BINARIES / "initdb", "-D", folder / "data", "-U", "postgres", "-A", "trust", "-N"], user, folder)
        arguments = [item for name, value in _SETTINGS.items() for item in ("-c", f"{name}={value}")]
        command: list[str | Path] = [_BINARIES / "postgres", "-D", folder / "data", "-k", folder, *arguments]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(command, stdout=log, stderr=log, user=user, cwd=folder)
        _wait_for(folder, server)
        session = Session(folder, user)
        yield session
    finally:
        if session is not None:
            session.close()
        if server is not None:
            server.terminate()
            server.wait(timeout=60)
        shutil.rmtree(folder, ignore_errors=True)


def _check(command: list[str | Path], user: str | None, folder: Path) -> None:
    done = subprocess.run(command, user=user, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PostgresError(f"{command[0]} failed: {' '.join(done.stderr.split())[-300:]}")


def _wait_for(folder: Path, server: subprocess.Popen[bytes]) -> None:
    ready: list[str | Path] = [_BINARIES / "pg_isready", "-q", "-h", folder]
    deadline = time.monotonic() + 60
    while subprocess.run(ready, check=False).returncode:
        if server.poll() is not None or time.monotonic() > deadline:
            raise PostgresError(f"PostgreSQL did not start: {(folder / 'log').read_text()[-300:]}")
        time.sleep(0.05)


if __name__ == "__main__":
    with running_postgres() as found:
        sys.stdout.write(f"{found.run('SELECT version()')[0][0][0]}\n")
