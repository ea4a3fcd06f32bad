"""`fasttree bundle`: what is in it, and that nothing is that was planted."""

from __future__ import annotations

import json
import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest

from fasttree.command.bundle.commands import packed
from tests.command.fasttree_command import FastTree, Ran
from tests.fakes.cluster import FakeCluster

_TOKEN = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJwbGFudGVkIn0.cGxhbnRlZHNpZw"
_KEY = "-----BEGIN PRIVATE KEY-----\nUExBTlRFREtFWQ\nUExBTlRFREtFWTI\n-----END PRIVATE KEY-----"
_PLANTED = {
    "a password in an address": "Pl4ntedDsn",
    "a password": "Pl4ntedPw",
    "a token": "cGxhbnRlZHNpZw",
    "a key": "UExBTlRFREtFWTI",
    "a header's secret": "Pl4ntedHeader",
    "a first name": "Annamaria",
    "a last name": "Kowalczyk",
    "an address": "annamaria@example.org",
    "a member's number": "4711-77",
    "an order": "order-9917x",
    "a file's name": "kowalczyk-members",
}


@pytest.fixture
def planted(cluster: FakeCluster, fasttree: FastTree, tmp_path: Path) -> Path:
    """A folder of `fasttree up`, with secrets and members wherever there is room for them."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "log.db").write_text("order-9917x Annamaria")
    (tmp_path / "token").write_text(_TOKEN)
    (tmp_path / "cluster.toml").write_text(
        '[cluster]\nname = "dot-test"\n[coordinator]\npostgresql_url = "postgresql://ft:Pl4ntedDsn@db:5432/x"\n'
        f"# {_TOKEN}, password=Pl4ntedPw\n"
    )
    (tmp_path / "logs" / "pusher.log").write_text(
        "2026-11-28 00:08:01,402 INFO pusher services.pusher.app: takes pushes at 127.0.0.1:30962\n"
        "2026-11-28 00:08:01,500 ERROR pusher services.pusher.app: postgresql://ft:Pl4ntedDsn@db: "
        "No space left on device\n"
        "2026-11-28 00:08:01,501 WARNING pusher x: password=Pl4ntedPw, authorization: Bearer Pl4ntedHeader\n"
        f"{_KEY}\n"
        f"refused a call with {_TOKEN}\n"
        'order-9917x: the member "Annamaria Kowalczyk" (4711-77) writes from annamaria@example.org\n'
        "member 4711-77 Annamaria Kowalczyk, import 3 of kowalczyk-members.csv at position 5\n"
    )
    (tmp_path / "logs" / "n1.log").write_text(
        json.dumps({"time": "2026-11-28T00:08:01.402Z", "level": "INFO", "message": f"Annamaria has {_TOKEN}"}) + "\n"
    )
    cluster.pusher.log_damage = 'record 3 of the log is damaged: "order-9917x" of Annamaria Kowalczyk'
    return tmp_path


def contents(ran: Ran) -> dict[str, str]:
    """Of the archive that it names, by name."""
    with tarfile.open(ran.json["file"]) as archive:
        found = {}
        for entry in archive.getmembers():
            assert stat.S_IMODE(entry.mode) == 0o600
            file = archive.extractfile(entry)
            assert file is not None
            found[entry.name.removeprefix("fasttree-bundle/")] = file.read().decode()
        return found


async def test_nothing_that_was_planted_is_in_it(planted: Path, fasttree: FastTree) -> None:
    ran = await fasttree("bundle", "--out", str(planted / "b.tar.gz"), "--json")
    assert ran.code == 0, ran.err
    found = contents(ran)
    assert sorted(found) == ran.json["contents"] == [
        "doctor.json", "endpoints.json", "logs/n1.log", "logs/pusher.log", "settings.json", "status.json",
        "versions.json",
    ]  # fmt: skip
    for what, secret in _PLANTED.items():
        assert [name for name, text in found.items() if secret.lower() in text.lower()] == [], what
    # And what helps is there.
    log = found["logs/pusher.log"].splitlines()
    assert log[0].endswith("services.pusher.app: takes pushes at 127.0.0.1:30962")
    assert log[1].endswith("No space left on device")
    assert log[-1].startswith("member […]")
    assert log[-1].endswith("at position 5")
    # No service starts with that setting: what is wrong with it stands in the place of all.
    settings: dict[str, Any] = json.loads(found["settings.json"])
    assert "coordinator.postgresql_url" in found["settings.json"]
    assert "holds a password" in found["settings.json"]
    assert "pusher" not in settings
    assert json.loads(found["status.json"])["primary"] == "n1"
    assert isinstance(json.loads(found["doctor.json"]), list)
    assert json.loads(found["versions.json"])["ha-fasttree"]
    assert stat.S_IMODE((planted / "b.tar.gz").stat().st_mode) == 0o600


async def test_without_a_cluster_there_is_what_is_here(fasttree: FastTree, tmp_path: Path) -> None:
    fasttree.endpoints_path.unlink()
    further = tmp_path / "journal.txt"
    further.write_text("x" * 3_000 + "\n" + "epoch 4\n" * 100)
    ran = await fasttree("bundle", "--json", "--log", str(further), "--log-kb", "1")
    assert ran.code == 0
    found = contents(Ran(0, json.dumps({"file": str(tmp_path / ran.json["file"])}), ""))
    assert "does not exist" in json.loads(found["status.json"])["problem"]
    assert set(found["logs/journal.log"].splitlines()) == {"epoch 4"}
    assert len(found["logs/journal.log"]) <= 1_024


async def test_what_is_there_already_stays(fasttree: FastTree, tmp_path: Path) -> None:
    (tmp_path / "b.tar.gz").write_text("mine")
    ran = await fasttree("bundle", "--out", "b.tar.gz")
    assert ran.code == 1
    assert ran.err == "error: b.tar.gz is there already: name another file with --out, or remove it\n"
    assert (tmp_path / "b.tar.gz").read_text() == "mine"


def test_the_same_contents_are_the_same_names() -> None:
    one = packed({"b": b"2", "a": b"1"}, 1_000)
    assert one[10:] == packed({"a": b"1", "b": b"2"}, 1_000)[10:]  # beside the time in gzip's own head
