"""Files that settings name: a pipe, a device or a folder in the place of one is told, and holds nobody up.

Whoever waits for one on a loop of events holds up its leases too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services.coordinator.stores.etcd_client import EtcdError, read_user
from services.pusher.import_store.settings import ImportStoreSettings
from services.pusher.log.jetstream.connecting import Connection
from services.pusher.log.jetstream.settings import JetstreamSettings
from services.pusher.log.store import LogStoreError
from services.shared.config.load import SettingsError
from services.shared.objects.opening import open_objects
from services.shared.telemetry.settings import TelemetrySettings
from services.shared.telemetry.sinks.collector import Collector

ROOT = Path(__file__).parents[3]
#: "path:times" of what is read whole by its name alone, to why nothing odd can be there.
_OURS = "of this program's own folder"
LISTED = {
    "services/shared/processors.py:3": "the kernel's",
    "services/pusher/log/disk/end_mark.py:1": "a regular one, as it has looked before",
    "services/pusher/imports/uploads/folder.py:1": "a regular one, as it has looked before",
    "services/datatrax/jobs/outgoing.py:2": "of the service's own folder, written by it",
    "services/datatrax/progress.py:1": "a regular one, as it has looked before",
    "services/treenode/tree/kernels/kernel_cache.py:3": _OURS,
    "services/treenode/imports/files.py:1": "of the service's own folder, written by it",
    "services/console/http/assets.py:1": _OURS,
    "services/console/api/runbook.py:2": _OURS,
}


def test_what_is_read_by_a_name_that_somebody_gives_is_a_regular_file() -> None:
    found = set()
    for path in sorted((ROOT / "services").rglob("*.py")):
        if times := len(re.findall(r"\.read_(?:bytes|text)\(", path.read_text())):
            found.add(f"{path.relative_to(ROOT).as_posix()}:{times}")
    assert found == set(LISTED), "use services.shared.config.text_file, or list it above with the reason"


def nats(path: Path, setting: str) -> object:
    given: dict[str, Any] = {setting: str(path)}
    return Connection("nats://127.0.0.1:1", JetstreamSettings(**given))


def s3(path: Path, setting: str) -> object:
    given: dict[str, Any] = {"import_store": "s3", "import_url": "s3://company", setting: str(path)}
    return open_objects(ImportStoreSettings(**given).place, "company")


def collector(path: Path, setting: str) -> object:
    given: dict[str, Any] = {"endpoint": "127.0.0.1:1", "tls": True, setting: str(path)}
    return Collector(TelemetrySettings(**given), dict)


@pytest.mark.parametrize(
    ("read", "setting", "error"),
    [
        (lambda path, _: read_user(path), "etcd_user_file", EtcdError),
        (nats, "nats_password_file", LogStoreError),
        (nats, "nats_credentials_file", LogStoreError),
        (nats, "nats_ca_file", LogStoreError),
        (nats, "nats_certificate_file", LogStoreError),
        (s3, "import_ca_file", SettingsError),
        (collector, "ca", OSError),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_a_pipe_or_a_folder_is_told_and_not_waited_for(
    tmp_path: Path, kind: str, read: Callable[[Path, str], object], setting: str, error: type[Exception]
) -> None:
    path = tmp_path / "odd"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(error, match="it is no regular file"):
        read(path, setting)
