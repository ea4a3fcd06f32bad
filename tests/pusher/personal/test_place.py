"""A log on servers has no vault: no column becomes personal there, and a log that has one is not copied there."""

from __future__ import annotations

from pathlib import Path

import pytest

from fasttree.v1 import types_pb2
from services.pusher.log.settings import LogSettings
from services.pusher.log.sqlite import SqliteLog
from services.pusher.log.store import LogStoreError
from services.pusher.moving.moving import copy_log
from services.pusher.personal.place import NO_VAULT, vault_asked
from services.shared.wire.record import content_bytes
from tests.pusher.personal.test_personal_values import declared


@pytest.mark.parametrize("log_store", ["postgresql", "jetstream"])
def test_the_door_says_so(log_store: str) -> None:
    asked = vault_asked(LogSettings(log_store=log_store), lambda update: "another reason")
    assert asked(declared("phone")) == NO_VAULT
    assert asked(declared("shirt", personal=False)) == "another reason"
    assert asked(types_pb2.Update()) == "another reason"
    assert "SQLite (pusher.log_store)" in NO_VAULT
    assert vault_asked(LogSettings(), lambda update: None)(declared("phone")) is None


@pytest.mark.parametrize("log_store", ["postgresql", "jetstream"])
def test_a_log_that_has_one_is_not_copied(tmp_path: Path, log_store: str) -> None:
    store = SqliteLog(tmp_path, cluster="test").claim_alone()
    updates = [declared("shirt", personal=False), declared("phone")]
    store.append([each.update_id for each in updates], [content_bytes(each) for each in updates], (0, 1))
    store.close()
    settings = LogSettings(log_store=log_store)
    with pytest.raises(
        LogStoreError, match=r'^columns are personal \("phone"\): personal columns need a log in SQLite'
    ):
        copy_log(tmp_path, settings, "test", finish=True, progress=lambda what, done, total: None)
    SqliteLog(tmp_path).claim_alone().close()  # it goes on as it was
