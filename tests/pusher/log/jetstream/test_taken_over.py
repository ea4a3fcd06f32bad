"""Another pusher takes over within a trim or a merge of ids of the active one's."""

from __future__ import annotations

import base64
from pathlib import Path

import msgspec
import pytest

from bench.servers.nats_servers import NatsServers
from services.pusher.log.ids.archive import MERGE_RUNS
from services.pusher.log.jetstream.messages import decode
from services.pusher.log.jetstream.store import JetstreamLog
from services.pusher.log.settings import LogSettings
from services.pusher.log.store import DeposedError
from services.shared.python_process import python_command
from tests.jetstream_servers import asked, stream_settings
from tests.pusher.log.jetstream.conftest import Opener
from tests.pusher.log.jetstream.cutting import NatsProxy
from tests.pusher.log.taking_over import FATES, TRIMMED, UPDATES, Machines, knows_each_once, merge, taken_over_at, trim
from tests.pusher.updates import ids_and_contents, order, orders
from tests.shared.files.moments import moments, put_back


class JetstreamMachines(Machines):
    def __init__(self, folder: Path, settings: LogSettings, proxy: NatsProxy) -> None:
        super().__init__(folder)
        self._settings, self._proxy = settings, proxy

    def _open(self, folder: Path, *, by_proxy: bool) -> JetstreamLog:
        settings = msgspec.structs.replace(self._settings, log_url=self._proxy.url) if by_proxy else self._settings
        return JetstreamLog(folder, settings, "test")

    def gone(self, folder: Path) -> None:
        """The newest are in memory."""

    def left_over(self) -> object:
        """A message of which no record is kept."""
        subject = f"{self._settings.jetstream.nats_stream}.records"
        found = asked(self._settings, "STREAM.MSG.GET", {"seq": 1, "next_by_subj": subject})["message"]
        oldest = decode(found["seq"], base64.b64decode(found["data"])).draft
        first = self._opened[-1].ends().first
        return oldest if oldest.position + oldest.count <= first else None

    def left_on(self, folder: Path) -> object:
        return list((folder / "jetstream-ids").rglob("*.part"))


@pytest.mark.parametrize("fate", FATES)
def test_whoever_takes_over_in_the_middle_of_a_trim_knows_each_id_once(
    jetstream: NatsServers, tmp_path: Path, fate: str
) -> None:
    words, is_over = 0, False
    while not is_over:
        # Who is killed has no patience to show.
        with stream_settings(jetstream, nats_patience_s=0.5 if fate == "killed" else 10.0) as settings:
            proxy = NatsProxy(jetstream.ports["n1"], settings.jetstream.nats_stream)
            machines = JetstreamMachines(tmp_path / str(words), settings, proxy)
            try:
                is_over = taken_over_at(machines, proxy, trim, fate, words)
            finally:
                proxy.close()
                machines.close()
        words += 1
    assert words > 2


@pytest.fixture
def merging(opened: Opener) -> JetstreamLog:
    """A log of which as many runs are to be merged as can be."""
    first = opened().claim_alone()
    for begin in range(0, UPDATES, TRIMMED):
        first.append(*ids_and_contents(orders(begin, TRIMMED)))
    for _ in range(MERGE_RUNS):
        trim(first)
    first.close()
    store = opened()
    store.claim(2, "old")
    return store


def test_a_merge_of_one_that_was_deposed_meanwhile_changes_nothing(merging: JetstreamLog, opened: Opener) -> None:
    late = merging.merge_ids()
    assert late is not None
    new = opened()
    new.claim(3, "new")
    knows_each_once(new, UPDATES)
    new.append(*ids_and_contents([order(UPDATES)]))
    merge(new)
    trim(new)
    late()
    with pytest.raises(DeposedError):
        merging.append(*ids_and_contents([order(UPDATES + 1)]))
    assert len(merging.find([f"order-{number}" for number in range(UPDATES)])) == UPDATES
    knows_each_once(new, UPDATES + 1)
    merging.claim(4, "old")
    knows_each_once(merging, UPDATES + 1)
    assert merging.merge_ids() is None
    knows_each_once(opened().claim_alone(), UPDATES + 1)


def test_a_pusher_that_is_killed_at_any_moment_of_a_merge_knows_each_id_once(
    merging: JetstreamLog, settings: LogSettings, opened: Opener, tmp_path: Path
) -> None:
    folder = tmp_path / "killed"
    folder.mkdir()
    command = ("tests.pusher.log.jetstream.killed", str(folder), settings.log_url, settings.jetstream.nats_stream)
    found = moments(python_command(*command), folder / "jetstream-ids")
    assert len(found) > 4
    for number, left in enumerate(found):
        machine = tmp_path / f"left-{number}"
        put_back(left, machine / "jetstream-ids")
        again = opened(folder=machine).claim_alone()
        knows_each_once(again, UPDATES)
        merge(again)
        knows_each_once(again, UPDATES)
        again.close()
    with pytest.raises(DeposedError):
        merging.append(*ids_and_contents([order(UPDATES)]))
