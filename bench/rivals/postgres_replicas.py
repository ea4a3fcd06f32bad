"""The peer of the fan-out bench: PostgreSQL 15 with two synchronous standbys; an order returns applied on both.

What PostgreSQL gets: the path to the root of every member is stored beside it, so that an order is one insert and one
update by key; the work is one server-side function behind a prepared statement; memory is ample; checkpoints and
autovacuum stay out of the way. What it keeps is what the promises need: fsync, and remote_apply on both standbys.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

BIN = Path("/usr/lib/postgresql/15/bin")
USER = "postgres"
STANDBYS = ("standby1", "standby2")

SETTINGS = """
listen_addresses = ''
shared_buffers = 2GB
work_mem = 256MB
maintenance_work_mem = 1GB
max_wal_size = 16GB
checkpoint_timeout = 1h
autovacuum = off
max_wal_senders = 8
wal_level = replica
hot_standby = on
"""

SCHEMA = """
CREATE TABLE members (id int PRIMARY KEY, group_volume bigint NOT NULL, path int[] NOT NULL) WITH (fillfactor = 50);
CREATE TABLE orders (order_id uuid PRIMARY KEY, member_id int NOT NULL, amount bigint NOT NULL);
CREATE FUNCTION post_order(member int, points bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  upline int[] := (SELECT path FROM members WHERE id = member);
BEGIN
  INSERT INTO orders VALUES (gen_random_uuid(), member, points);
  -- The root first, so that two orders can't wait for each other in a circle.
  PERFORM 1 FROM members WHERE id = upline[1] FOR UPDATE;
  UPDATE members SET group_volume = group_volume + points WHERE id = ANY (upline);
END $$;
"""


class PostgresError(Exception):
    """PostgreSQL is missing or did not do what it was told; says the mend."""


class ReplicatedPostgres:
    """A primary and two synchronous standbys on unix sockets of a temporary folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[str] = []

    def _run(self, *command: str | Path, text: str | None = None) -> str:
        arguments = [str(part) for part in command]
        if os.geteuid() == 0:
            arguments = ["setpriv", "--reuid", USER, "--regid", USER, "--init-groups", *arguments]
        done = subprocess.run(arguments, input=text, capture_output=True, text=True, cwd=self._folder, check=False)
        if done.returncode:
            raise PostgresError(f"{Path(str(command[0])).name} failed: {done.stderr.strip()[-500:]}")
        return done.stdout

    def _start(self, name: str) -> None:
        data = self._folder / name
        options = f"-k {self._folder} -p {self.port(name)}"
        self._run(BIN / "pg_ctl", "-D", data, "-l", self._folder / f"{name}.log", "-w", "-o", options, "start")
        self._started.append(name)

    @staticmethod
    def port(name: str) -> int:
        """Each server's own number beside the shared socket folder; no TCP port is opened."""
        return 5432 + ("primary", *STANDBYS).index(name)

    def psql(self, sql: str, server: str = "primary") -> str:
        """Runs SQL; returns what it prints, unaligned."""
        port = str(self.port(server))
        return self._run(
            BIN / "psql", "-h", self._folder, "-p", port, "-d", "postgres", "-qAtX", "-v", "ON_ERROR_STOP=1", text=sql
        ).strip()

    def start(self) -> None:
        """Makes the three servers and waits until both standbys are synchronous."""
        self._run(BIN / "initdb", "-D", self._folder / "primary", "--auth=trust", "--no-sync", "-U", USER)
        with (self._folder / "primary" / "postgresql.conf").open("a") as settings:
            settings.write(SETTINGS)
        self._start("primary")
        for name in STANDBYS:
            connection = f"host={self._folder} port={self.port('primary')} user={USER} application_name={name}"
            self._run(
                BIN / "pg_basebackup", "-D", self._folder / name, "-R", "-c", "fast", "--no-sync", "-d", connection
            )
            self._start(name)
        names = ", ".join(STANDBYS)
        self.psql(
            f"ALTER SYSTEM SET synchronous_standby_names = '2 ({names})';"
            "ALTER SYSTEM SET synchronous_commit = 'remote_apply';"
            "SELECT pg_reload_conf();"
        )

    def load(self, sponsor: NDArray[np.int32]) -> None:
        """Loads members 0, 1, … by their sponsors' numbers (-1: the root, member 0), with their paths."""
        self.psql("SET synchronous_commit = off;" + SCHEMA)
        paths: list[str] = []
        text = ["SET synchronous_commit = off; COPY members FROM STDIN;\n"]
        for member, above in enumerate(sponsor.tolist()):
            path = f"{paths[above]},{member}" if above >= 0 else str(member)
            paths.append(path)
            text.append(f"{member}\t0\t{{{path}}}\n")
        text.append("\\.\nANALYZE members; CHECKPOINT;\n")
        self.psql("".join(text))

    def orders_per_s(self, members: int, clients: int, seconds: int) -> tuple[float, float]:
        """Runs orders; returns how many a second, and the mean latency in milliseconds."""
        script = self._folder / "order.sql"
        script.write_text(f"\\set member random(0, {members - 1})\nSELECT post_order(:member, 100);\n")
        out = self._run(
            BIN / "pgbench", "-h", self._folder, "-p", str(self.port("primary")), "-n", "-M", "prepared",
            "-c", str(clients), "-j", "1", "-T", str(seconds), "-f", script, "postgres",
        )  # fmt: skip
        rate = re.search(r"tps = ([\d.]+)", out)
        latency = re.search(r"latency average = ([\d.]+)", out)
        if not rate or not latency:
            raise PostgresError(f"pgbench said nothing of a rate: {out[-300:]}")
        return float(rate[1]), float(latency[1])

    def stop(self) -> None:
        """Ends every server that was started."""
        for name in reversed(self._started):
            with contextlib.suppress(PostgresError):
                self._run(BIN / "pg_ctl", "-D", self._folder / name, "-m", "immediate", "-w", "stop")


@contextlib.contextmanager
def replicated_postgres() -> Iterator[ReplicatedPostgres]:
    """Three servers for the length of a `with` block, in a folder that is removed after it."""
    if not BIN.exists():
        raise PostgresError("PostgreSQL 15 is missing: apt-get install postgresql-15, or PEER=none")
    folder = Path(tempfile.mkdtemp(prefix="fasttree-pg-"))
    if os.geteuid() == 0:
        owner = pwd.getpwnam(USER)
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    servers = ReplicatedPostgres(folder)
    try:
        servers.start()
        yield servers
    finally:
        servers.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _sponsors_first(sponsor: NDArray[np.int32]) -> NDArray[np.int32]:
    """The same tree with members numbered by level, so that everyone comes after their sponsor."""
    level = np.zeros(len(sponsor), np.int32)
    above = sponsor.copy()
    while (above >= 0).any():
        level += above >= 0
        above = np.where(above >= 0, sponsor[above], -1)
    order = np.argsort(level, kind="stable")
    number = np.empty(len(order), np.int32)
    number[order] = np.arange(len(order), dtype=np.int32)
    return np.where(sponsor[order] >= 0, number[sponsor[order]], -1).astype(np.int32)


def best_rate(sponsor: NDArray[np.int32], clients: Sequence[int], seconds: int) -> dict[str, float]:
    """PostgreSQL's rates by number of clients ("clients_8": orders a second), and the best as "best"."""
    with replicated_postgres() as servers:
        servers.load(_sponsors_first(sponsor))
        rates = {f"clients_{count}": servers.orders_per_s(len(sponsor), count, seconds)[0] for count in clients}
        root = servers.psql(
            "SELECT group_volume = (SELECT sum(amount) FROM orders) FROM members WHERE id = 0", STANDBYS[0]
        )
        if root != "t":
            raise PostgresError("a standby's root does not hold the sum of the orders")
    return {**rates, "best": max(rates.values())}
