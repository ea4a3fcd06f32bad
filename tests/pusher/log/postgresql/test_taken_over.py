"""Another pusher takes over at each word that the active one says to the server in a trim or a merge of ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
import psycopg
import pytest

from bench.rivals.postgres_replicas import ReplicatedPostgres
from services.pusher.log.ids.archive import run_path
from services.pusher.log.ids.runs import Run
from services.pusher.log.postgresql.store import PostgresqlLog
from services.pusher.log.settings import LogSettings
from tests.postgresql_server import schema_settings
from tests.pusher.log.postgresql.cutting import PostgresqlProxy
from tests.pusher.log.taking_over import FATES, Machines, Work, merge, taken_over_at, trim


class PostgresqlMachines(Machines):
    def __init__(self, folder: Path, server: ReplicatedPostgres, settings: LogSettings, proxy: PostgresqlProxy) -> None:
        super().__init__(folder)
        self._server, self._settings, self._proxy = server, settings, proxy

    def _open(self, folder: Path, *, by_proxy: bool) -> PostgresqlLog:
        settings = self._settings
        if by_proxy:
            url = f"postgresql:///postgres?user=postgres&host={self._proxy.folder}"
            settings = msgspec.structs.replace(settings, log_url=url)
        return PostgresqlLog(folder, settings, "test")

    def _numbers(self, statement: str) -> list[int]:
        with psycopg.connect(self._server.url()) as asked:
            asked.execute(f"SET search_path = {self._settings.postgresql.log_schema}")
            return [number for (number,) in asked.execute(statement).fetchall()]

    def gone(self, folder: Path) -> Iterable[int]:
        return [int(position) for run in self._runs(folder) for position in run.read(0, run.count).positions]

    def _runs(self, folder: Path) -> Sequence[Run]:
        numbers = self._numbers("SELECT number FROM id_runs ORDER BY number")
        return [Run(run_path(folder / "postgresql-ids", number)) for number in numbers]

    def left_over(self) -> object:
        return self._numbers("SELECT run FROM id_pieces EXCEPT SELECT number FROM id_runs")

    def left_on(self, folder: Path) -> object:
        return set((folder / "postgresql-ids").iterdir()) - {run.path for run in self._runs(folder)}


@pytest.fixture
def proxy(server: ReplicatedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresqlProxy]:
    made = PostgresqlProxy(tmp_path_factory.mktemp("way"), server.folder / ".s.PGSQL.5432")
    yield made
    made.close()


@pytest.mark.parametrize("fate", FATES)
@pytest.mark.parametrize("work", [trim, merge])
def test_whoever_takes_over_in_the_middle_knows_each_id_once(
    server: ReplicatedPostgres, proxy: PostgresqlProxy, tmp_path: Path, work: Work, fate: str
) -> None:
    words, is_over = 0, False
    while not is_over:
        # Who is killed has no patience to show.
        with schema_settings(server, log_patience_s=0.2 if fate == "killed" else 10.0) as settings:
            machines = PostgresqlMachines(tmp_path / str(words), server, settings, proxy)
            try:
                is_over = taken_over_at(machines, proxy, work, fate, words)
            finally:
                proxy.let_go()
                machines.close()
        words += 1
    assert words > 5
