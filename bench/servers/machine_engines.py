"""The servers of engines as three machines have them, one of each on every machine: lost with it, and given back.

What an operator has to do is done here: with PostgreSQL, a standby is promoted, the other one follows it, and what was
the primary comes back as a copy of the new one.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from bench.rivals.postgres_replicas import PostgresError, ReplicatedPostgres, replicated_postgres
from bench.servers.etcd_members import Etcd, running_etcd
from bench.servers.nats_servers import NatsServers, nats_servers

COUNT = 3
_WHOLE_S, _LOOK_S = 120.0, 0.1
_POSTGRESQL = """
listen_addresses = ''
shared_buffers = 64MB
max_wal_size = 1GB
wal_level = replica
hot_standby = on
wal_keep_size = 512MB
wal_receiver_timeout = 3s
wal_sender_timeout = 3s
"""


class MachineEngines(Protocol):
    """The servers of machines 1, 2 and 3. All methods block.

    Attributes:
        url: As `fasttree up --machines` wants a server of PostgreSQL named.
        settings: What coordinators and pushers are set to.
    """

    url: str
    settings: dict[str, str]

    def lose(self, machine: int, *, frozen: bool) -> str:
        """The servers of a machine end at once, or answer nothing; what it was, in words."""

    def give_back(self, machine: int) -> None:
        """They run again, and all of them are whole when this returns."""


class EtcdAndNats:
    """The coordinators' record in etcd, the log in JetStream."""

    def __init__(self, etcd: Etcd, nats: NatsServers) -> None:
        self._etcd, self._nats = etcd, nats
        self.url = "postgresql:///nowhere"  # no part of these clusters uses it
        self.settings = {
            "coordinator.store": "etcd",
            "coordinator.etcd_endpoints": ",".join(etcd.endpoints),
            "pusher.log_store": "jetstream",
            "pusher.log_url": nats.url,
            "pusher.nats_monitoring_urls": nats.monitoring_urls,
        }

    def lose(self, machine: int, *, frozen: bool) -> str:
        """See `MachineEngines`."""
        member, name = self._etcd.members[machine - 1], self._nats.names[machine - 1]
        leads = [kind for kind, so in (("etcd", member.is_leader()), ("stream", self._leads(name))) if so]
        if frozen:
            member.freeze()
            self._nats.freeze(name)
        else:
            member.kill()
            self._nats.kill(name)
        return f"etcd and NATS of M{machine}" + (f", leader of {' and '.join(leads)}" if leads else "")

    def _leads(self, name: str) -> bool:
        return self._nats.leader("fasttree") == name

    def give_back(self, machine: int) -> None:
        """See `MachineEngines`."""
        self._etcd.members[machine - 1].mend()
        self._nats.mend()
        self._etcd.wait_healthy()


class Postgresql:
    """Both in PostgreSQL; a commit waits for one of two standbys."""

    def __init__(self, servers: ReplicatedPostgres) -> None:
        self._servers = servers
        self.url = servers.url()
        self.settings: dict[str, str] = {}
        self._primary = servers.names[0]
        #: What is away, and whether it is to be copied anew.
        self._frozen: set[str] = set()
        self._was_primary = ""
        self._wait_for_one()

    def _wait_for_one(self) -> None:
        others = ", ".join(name for name in self._servers.names if name != self._primary)
        statements = f"ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 ({others})'; SELECT pg_reload_conf();"
        self._servers.psql(statements, self._primary)

    def lose(self, machine: int, *, frozen: bool) -> str:
        """See `MachineEngines`. A primary that is frozen is ended as well: whoever promotes another one has to."""
        name = self._servers.names[machine - 1]
        if name == self._primary:
            self._servers.kill(name)
            self._promote()
            return f"PostgreSQL of M{machine}, the primary; {self._primary} is promoted"
        if frozen:
            self._servers.freeze(name)
            self._frozen.add(name)
        else:
            self._servers.kill(name)
        return f"PostgreSQL of M{machine}, a standby"

    def _promote(self) -> None:
        servers = self._servers
        standbys = [name for name in servers.names if name != self._primary]
        received = "SELECT pg_wal_lsn_diff(pg_last_wal_receive_lsn(), '0/0')"
        furthest = max(standbys, key=lambda name: int(servers.psql(received, name)))
        self._was_primary, self._primary = self._primary, furthest
        others = [name for name in servers.names if name != furthest]
        # Of both at first: it takes no commit before one that counts has it.
        servers.promote(furthest, others)
        for name in others:
            if name != self._was_primary:
                servers.follow(name, furthest)
        self._wait_for_one()

    def give_back(self, machine: int) -> None:
        """See `MachineEngines`."""
        name = self._servers.names[machine - 1]
        if name in self._frozen:
            self._frozen.discard(name)
            self._servers.go_on(name)
        elif name == self._was_primary:
            self._was_primary = ""
            self._servers.copy_anew(name, self._primary)
        else:
            self._servers.start_one(name)
        deadline_s = time.monotonic() + _WHOLE_S
        while self._streaming() < COUNT - 1:
            if time.monotonic() > deadline_s:
                raise PostgresError(f"the standbys of {self._primary} don't follow it; see {self._servers.folder}")
            time.sleep(_LOOK_S)

    def _streaming(self) -> int:
        rows = "SELECT count(DISTINCT application_name) FROM pg_stat_replication WHERE state = 'streaming'"
        return int(self._servers.psql(rows, self._primary))


@contextlib.contextmanager
def machine_engines(kind: str, folder: Path) -> Iterator[MachineEngines]:
    """Those of one kind, "nats" or "postgresql", for the length of a `with` block."""
    if kind == "postgresql":
        with replicated_postgres(_POSTGRESQL, standbys=("standby1", "standby2"), synchronous_commit="on") as servers:
            yield Postgresql(servers)
        return
    (folder / "etcd").mkdir(parents=True)
    with running_etcd(folder / "etcd", members=COUNT) as etcd, nats_servers(count=COUNT) as nats:
        yield EtcdAndNats(etcd, nats)
