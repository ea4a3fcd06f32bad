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
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

BIN = Path("/usr/lib/postgresql/15/bin")
USER = "postgres"
STANDBYS = ("standby1", "standby2")

#: No program takes so long that is well.
_RUN_S = 600

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
    """A primary and its synchronous standbys on unix sockets of a temporary folder.

    Args:
        settings: What postgresql.conf gets at its end.
        standbys: Their names; none for a server alone.
    """

    def __init__(self, folder: Path, settings: str = SETTINGS, standbys: Sequence[str] = STANDBYS) -> None:
        self.folder = folder
        self._settings = settings
        self.names = ("primary", *standbys)
        self.first_port = 5432
        self._started: list[str] = []

    def run(self, *command: str | Path, text: str | None = None) -> str:
        """Runs a program as the servers' user; returns what it prints. Raises PostgresError."""
        arguments = [str(part) for part in command]
        if os.geteuid() == 0:
            arguments = ["setpriv", "--reuid", USER, "--regid", USER, "--init-groups", *arguments]
        try:
            done = subprocess.run(
                arguments, input=text, capture_output=True, text=True, cwd=self.folder, check=False, timeout=_RUN_S
            )
        except subprocess.TimeoutExpired as error:
            raise PostgresError(f"{Path(str(command[0])).name} was not done after {_RUN_S} s") from error
        if done.returncode:
            raise PostgresError(f"{Path(str(command[0])).name} failed: {done.stderr.strip()[-500:]}")
        return done.stdout

    def start_one(self, name: str) -> None:
        """Starts a server that is there."""
        data = self.folder / name
        options = f"-k {self.folder} -p {self.port(name)}"
        self.run(BIN / "pg_ctl", "-D", data, "-l", self.folder / f"{name}.log", "-w", "-o", options, "start")
        if name not in self._started:
            self._started.append(name)

    def port(self, name: str) -> int:
        """Each server's own number beside the shared socket folder; no TCP port is opened."""
        return self.first_port + self.names.index(name)

    def url(self, user: str = USER, database: str = "postgres") -> str:
        """The address of all of them, for clients."""
        hosts = ",".join(str(self.folder) for _ in self.names)
        ports = ",".join(str(self.port(name)) for name in self.names)
        return f"postgresql:///{database}?user={user}&host={hosts}&port={ports}"

    def psql(self, sql: str, server: str = "primary") -> str:
        """Runs SQL; returns what it prints, unaligned."""
        port = str(self.port(server))
        return self.run(
            BIN / "psql", "-h", self.folder, "-p", port, "-d", "postgres", "-qAtX", "-v", "ON_ERROR_STOP=1", text=sql
        ).strip()

    def start(self, synchronous_commit: str = "remote_apply") -> None:
        """Makes the servers; from then on a commit waits for every standby."""
        self.run(BIN / "initdb", "-D", self.folder / "primary", "--auth=trust", "--no-sync", "-U", USER)
        with (self.folder / "primary" / "postgresql.conf").open("a") as settings:
            settings.write(self._settings)
        self.start_one("primary")
        standbys = self.names[1:]
        for name in standbys:
            connection = self._conninfo(name, "primary")
            self.run(BIN / "pg_basebackup", "-D", self.folder / name, "-R", "-c", "fast", "--no-sync", "-d", connection)
            self.start_one(name)
        if standbys:
            self.psql(
                f"ALTER SYSTEM SET synchronous_standby_names = '{len(standbys)} ({', '.join(standbys)})';"
                f"ALTER SYSTEM SET synchronous_commit = '{synchronous_commit}';"
                "SELECT pg_reload_conf();"
            )

    def kill(self, name: str) -> None:
        """Ends every process of a server at once, as the loss of its machine does."""
        parent = int((self.folder / name / "postmaster.pid").read_text().split()[0])
        os.kill(parent, signal.SIGSTOP)  # it starts no more
        for process in (*_children(parent), parent):
            os.kill(process, signal.SIGKILL)
        self._started.remove(name)
        # As a machine that starts again has them: the processes in these are gone, whoever still has to reap them.
        socket = f".s.PGSQL.{self.port(name)}"
        for left in (self.folder / name / "postmaster.pid", self.folder / socket, self.folder / f"{socket}.lock"):
            left.unlink(missing_ok=True)

    def freeze(self, name: str) -> None:
        """No process of it answers, and no connection ends."""
        self._signal(name, signal.SIGSTOP)

    def go_on(self, name: str) -> None:
        """After `freeze`."""
        self._signal(name, signal.SIGCONT)

    def _signal(self, name: str, number: signal.Signals) -> None:
        parent = int((self.folder / name / "postmaster.pid").read_text().split()[0])
        for process in (parent, *_children(parent)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)

    def follow(self, name: str, primary: str) -> None:
        """A standby that runs takes the log from that server from now on."""
        self.psql(
            f"ALTER SYSTEM SET primary_conninfo = '{self._conninfo(name, primary)}'; SELECT pg_reload_conf();", name
        )

    def copy_anew(self, name: str, primary: str) -> None:
        """What a server had is removed; it begins as a standby with all that the primary has."""
        shutil.rmtree(self.folder / name)
        connection = self._conninfo(name, primary)
        self.run(BIN / "pg_basebackup", "-D", self.folder / name, "-R", "-c", "fast", "--no-sync", "-d", connection)
        self.start_one(name)

    def _conninfo(self, name: str, primary: str) -> str:
        return f"host={self.folder} port={self.port(primary)} user={USER} application_name={name}"

    def promote(self, name: str, standbys: Sequence[str] = ()) -> None:
        """Makes a standby the primary. Its commits wait for those of `standbys`."""
        names = f"{len(standbys)} ({', '.join(standbys)})" if standbys else ""
        with (self.folder / name / "postgresql.auto.conf").open("a") as settings:
            settings.write(f"\nsynchronous_standby_names = '{names}'\n")
        self.run(BIN / "pg_ctl", "-D", self.folder / name, "-w", "promote")
        self.psql("SELECT pg_reload_conf();", name)

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
        script = self.folder / "order.sql"
        script.write_text(f"\\set member random(0, {members - 1})\nSELECT post_order(:member, 100);\n")
        out = self.run(
            BIN / "pgbench", "-h", self.folder, "-p", str(self.port("primary")), "-n", "-M", "prepared",
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
                self.run(BIN / "pg_ctl", "-D", self.folder / name, "-m", "immediate", "-w", "stop")
        self._started.clear()


def _children(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            text = stat.read_text()
            if int(text.rpartition(")")[2].split()[1]) == parent:
                found.append(int(stat.parent.name))
    return found


@contextlib.contextmanager
def replicated_postgres(
    settings: str = SETTINGS, standbys: Sequence[str] = STANDBYS, synchronous_commit: str = "remote_apply"
) -> Iterator[ReplicatedPostgres]:
    """The servers for the length of a `with` block, in a folder that is removed after it."""
    if not BIN.exists():
        raise PostgresError("PostgreSQL 15 is missing: apt-get install postgresql-15, or PEER=none")
    folder = Path(tempfile.mkdtemp(prefix="fasttree-pg-"))
    if os.geteuid() == 0:
        owner = pwd.getpwnam(USER)
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    servers = ReplicatedPostgres(folder, settings, standbys)
    try:
        servers.start(synchronous_commit)
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


def best_rate(
    sponsor: NDArray[np.int32], clients: Sequence[int], seconds: int, synchronous_commit: str = "remote_apply"
) -> dict[str, float]:
    """PostgreSQL's rates by number of clients ("clients_8": orders a second), and the best as "best"."""
    with replicated_postgres(synchronous_commit=synchronous_commit) as servers:
        servers.load(_sponsors_first(sponsor))
        rates = {f"clients_{count}": servers.orders_per_s(len(sponsor), count, seconds)[0] for count in clients}
        root = servers.psql(
            "SELECT group_volume = (SELECT sum(amount) FROM orders) FROM members WHERE id = 0", STANDBYS[0]
        )
        if root != "t":
            raise PostgresError("a standby's root does not hold the sum of the orders")
    return {**rates, "best": max(rates.values())}
