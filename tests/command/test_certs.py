"""`fasttree certs`: an authority, what it signs, what is renewed in place, and what is refused."""

from __future__ import annotations

import datetime
import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from fasttree.command.local.certificates import ClusterCertificates
from fasttree.command.session import CommandError
from services.shared.security.following import Tls
from services.shared.security.settings import TlsSettings
from tests.command.fasttree_command import FastTree


async def as_json(fasttree: FastTree, *arguments: str) -> Any:
    ran = await fasttree("certs", *arguments, "--json")
    assert ran.code == 0, ran.err
    assert "PRIVATE" not in ran.out
    return json.loads(ran.out)


async def test_the_endpoints_file_says_whose_certificates_are_meant(fasttree: FastTree, tmp_path: Path) -> None:
    for name in ("here", "there"):
        await as_json(fasttree, "init", "--dir", str(tmp_path / name / "certs"), "--cluster", name)
    for name in ("here", "there"):
        (root,) = await as_json(fasttree, "show", "--endpoints", str(tmp_path / name / "endpoints.json"))
        assert root["name"] == f"spiffe://{name}"


async def test_an_authority_signs_for_parts_and_clients(fasttree: FastTree, tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    (root,) = await as_json(fasttree, "init", "--dir", str(folder), "--cluster", "dot-test")
    assert root["name"] == "spiffe://dot-test"
    (node,) = await as_json(
        fasttree, "issue", "node/n1", "--dir", str(folder), "--host", "localhost", "--host", "127.0.0.1"
    )
    assert node["name"] == "spiffe://dot-test/node/n1"
    assert node["hosts"] == ["localhost", "127.0.0.1"]
    assert 29 * 86_400 < node["left_s"] <= 30 * 86_400
    for holder, file in (("reporter", "client-reporter.crt"), ("operator/anna", "client-operator-anna.crt")):
        (client,) = await as_json(fasttree, "issue", holder, "--dir", str(folder))
        assert client["file"] == str(folder / file)
    # A service takes it as it lies there.
    tls = Tls(TlsSettings(mode="mutual", folder=str(folder / "node/n1")))
    assert tls.identity.uris == ("spiffe://dot-test/node/n1",)
    shown = await as_json(fasttree, "show", "--dir", str(folder))
    assert [Path(each["file"]).name for each in shown] == [
        "ca.crt", "client-operator-anna.crt", "client-reporter.crt", "tls.crt",
    ]  # fmt: skip


async def test_files_are_for_their_owner_alone(fasttree: FastTree, tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    await as_json(fasttree, "init", "--dir", str(folder))
    await as_json(fasttree, "issue", "node/n1", "--dir", str(folder), "--host", "localhost")
    for path in (folder, *folder.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


async def test_what_is_due_is_renewed_in_place(fasttree: FastTree, tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    at = ("--dir", str(folder))
    await as_json(fasttree, "init", *at)
    await as_json(fasttree, "issue", "node/n1", *at, "--host", "n1.example.com")
    await as_json(fasttree, "issue", "reporter", *at)
    ran = await fasttree("certs", "renew", *at)
    assert (ran.code, ran.out) == (0, "none is due\n")
    certificate, key = folder / "node/n1/tls.crt", folder / "node/n1/tls.key"
    before = (certificate.read_bytes(), key.read_bytes())
    tls = Tls(TlsSettings(mode="mutual", folder=str(folder / "node/n1")))
    renewed = await as_json(fasttree, "renew", "--all", *at)
    assert {each["name"] for each in renewed} == {"spiffe://dot-live/node/n1", "spiffe://dot-live/reporter/reporter"}
    assert certificate.read_bytes() != before[0]
    assert key.read_bytes() != before[1]
    old, new = (x509.load_pem_x509_certificate(pem) for pem in (before[0], certificate.read_bytes()))
    assert old.subject == new.subject
    assert old.serial_number != new.serial_number
    assert old.not_valid_after_utc - old.not_valid_before_utc == new.not_valid_after_utc - new.not_valid_before_utc
    assert tls.look()


async def test_one_in_the_last_third_of_its_life_is_due(fasttree: FastTree, tmp_path: Path) -> None:
    # It begins five minutes before it is made, so of seven minutes less than a third is left.
    folder = tmp_path / "certs"
    at = ("--dir", str(folder))
    await as_json(fasttree, "init", *at)
    (made,) = await as_json(fasttree, "issue", "reporter", *at, "--days", str(2 / 1_440))
    assert made["due"]
    before = (folder / "client-reporter.crt").read_bytes()
    (renewed,) = await as_json(fasttree, "renew", *at)
    assert (folder / "client-reporter.crt").read_bytes() != before
    # Both may be made within one second.
    assert datetime.datetime.fromisoformat(renewed["expires"]) >= datetime.datetime.fromisoformat(made["expires"])


async def test_another_authority_s_is_told_and_left_alone(fasttree: FastTree, tmp_path: Path) -> None:
    folder, other = tmp_path / "certs", tmp_path / "other"
    await as_json(fasttree, "init", "--dir", str(folder))
    await as_json(fasttree, "init", "--dir", str(other))
    await as_json(fasttree, "issue", "reporter", "--dir", str(other))
    content = (other / "client-reporter.crt").read_bytes()
    (folder / "client-reporter.crt").write_bytes(content)
    ran = await fasttree("certs", "show", "--dir", str(folder))
    assert "another authority's" in ran.out
    assert await as_json(fasttree, "renew", "--all", "--dir", str(folder)) == []
    assert (folder / "client-reporter.crt").read_bytes() == content


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("issue", "reporter"), "begin with `fasttree certs init"),
        (("show",), "begin with `fasttree certs init`"),
        (("renew",), "begin with `fasttree certs init"),
        (("issue", "boss"), "'boss' is no role; there are node, pusher"),
        (("issue", "node", "--host", "x"), "which node? write its name, as node/n1"),
        (("issue", "node/n1"), "name its hosts"),
        (("issue", "reporter/../x"), "can't be a name"),
        (("init", "--cluster", "Dot/Live"), "can't be a cluster's name"),
        (("init", "--days", "nan"), "no number"),
    ],
)
async def test_what_can_not_be_is_refused_in_one_line(
    fasttree: FastTree, tmp_path: Path, arguments: tuple[str, ...], why: str
) -> None:
    ran = await fasttree("certs", *arguments, "--dir", str(tmp_path / "certs"))
    assert ran.code != 0
    assert why in ran.err
    assert ran.err.count("\n") == 1
    assert not (tmp_path / "certs").exists()


async def test_an_authority_is_not_replaced_by_mistake(fasttree: FastTree, tmp_path: Path) -> None:
    at = ("--dir", str(tmp_path))
    await as_json(fasttree, "init", *at)
    before = (tmp_path / "ca.crt").read_bytes()
    ran = await fasttree("certs", "init", *at)
    assert ran.code == 1
    assert "--anew" in ran.err
    assert (tmp_path / "ca.crt").read_bytes() == before
    await as_json(fasttree, "issue", "reporter", *at)
    await as_json(fasttree, "init", "--anew", *at)
    assert (tmp_path / "ca.crt").read_bytes() != before
    ran = await fasttree("certs", "issue", "boss", *at)
    assert "no role" in ran.err
    (tmp_path / "ca.key").write_text("damaged")
    ran = await fasttree("certs", "issue", "reporter", *at)
    assert "can't be read" in ran.err


async def test_a_policy_is_shown_and_tested(fasttree: FastTree, tmp_path: Path) -> None:
    shown = await fasttree("policy", "show", "--cluster", "dot-test")
    assert shown.code == 0
    file = tmp_path / "policy.json"
    file.write_text(shown.out)
    again = await fasttree("policy", "show", "--policy", str(file))
    assert again.out == shown.out
    for who, call, code in (
        ("reporter", "GetMember", 0),
        ("reporter", "PushUpdates", 1),
        ("node/n1", "CoordinatorService/KeepAlive", 0),
        ("spiffe://dot-test/monitor/m", "/metrics", 0),
        ("spiffe://dot-other/operator/o", "GetMember", 1),
    ):
        ran = await fasttree("policy", "test", who, call, "--policy", str(file), "--cluster", "dot-test")
        assert ran.code == code, (who, call, ran.err)
        assert ("allowed" if code == 0 else "refused") in ran.out
    every = await fasttree("policy", "test", "auditor", "--json")
    assert every.code == 0
    assert {each["path"] for each in every.json if each["allowed"]} >= {"/fasttree.v1.PusherService/GetPusher"}
    ran = await fasttree("policy", "test", "reporter", "Everything")
    assert ran.code == 1
    assert "is no call of the API" in ran.err


async def test_a_certificate_is_revoked_for_good(fasttree: FastTree, tmp_path: Path) -> None:
    at = ("--dir", str(tmp_path / "certs"))
    await as_json(fasttree, "init", *at)
    for holder in ("reporter", "operator/anna"):
        await as_json(fasttree, "issue", holder, *at)
    (revoked,) = await as_json(fasttree, "revoke", "operator/anna", *at)
    assert (revoked["name"], revoked["revoked"]) == ("spiffe://dot-live/operator/anna", True)
    shown = await as_json(fasttree, "show", *at)
    assert {each["name"]: each["revoked"] for each in shown} == {
        "spiffe://dot-live": False,
        "spiffe://dot-live/operator/anna": True,
        "spiffe://dot-live/reporter/reporter": False,
    }
    # It is not renewed; a new one of the holder is another one.
    (renewed,) = await as_json(fasttree, "renew", "--all", *at)
    assert renewed["name"] == "spiffe://dot-live/reporter/reporter"
    serial = renewed["serial"]
    await as_json(fasttree, "revoke", serial, *at)
    lists = x509.load_pem_x509_crl((tmp_path / "certs/revoked.crl").read_bytes())
    assert {f"0x{each.serial_number:X}" for each in lists} == {revoked["serial"], serial}
    for wrong, said in (("operator/bert", "give the serial number"), ("x", "no role")):
        ran = await fasttree("certs", "revoke", wrong, *at)
        assert ran.code == 1
        assert said in ran.err
        assert ran.err.count("\n") == 1


@pytest.mark.parametrize("content", [None, b"", b"junk"], ids=["gone", "empty", "damaged"])
async def test_a_list_that_is_lost_makes_nobody_believed_again(
    fasttree: FastTree, tmp_path: Path, content: bytes | None
) -> None:
    folder = tmp_path / "certs"
    at, revoked, believed = ("--dir", str(folder)), folder / "revoked.crl", folder / "believed.pem"
    await as_json(fasttree, "init", *at)
    for holder in ("reporter", "operator/anna"):
        await as_json(fasttree, "issue", holder, *at)
    await as_json(fasttree, "revoke", "operator/anna", *at)
    before = serials_in(revoked)

    def lose(path: Path) -> None:
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)

    lose(revoked)
    assert [each["revoked"] for each in await as_json(fasttree, "show", *at)] == [False, True, False]
    if content is None:  # as the next start of a cluster of `fasttree up` finds it
        ClusterCertificates(folder, "dot-live", "127.0.0.1").prepare([])
        assert serials_in(revoked) == before
        lose(revoked)
    await as_json(fasttree, "revoke", "reporter", *at)
    assert len(serials_in(revoked)) == 2
    assert before < serials_in(revoked) == serials_in(believed)
    if content is not None:
        for path in (revoked, believed):
            lose(path)
        ran = await fasttree("certs", "show", *at)
        assert (ran.code, ran.err.count("\n")) == (1, 1)
        assert "bring it back from a copy; without one, remove it and revoke again" in ran.err


def serials_in(path: Path) -> set[int]:
    return {each.serial_number for each in x509.load_pem_x509_crl(path.read_bytes())}


async def test_an_authority_whose_key_is_kept_elsewhere_is_no_missing_one(fasttree: FastTree, tmp_path: Path) -> None:
    at = ("--dir", str(tmp_path / "certs"))
    await as_json(fasttree, "init", *at)
    (tmp_path / "certs/ca.key").unlink()
    for words in (("issue", "reporter"), ("renew",), ("revoke", "0x1")):
        ran = await fasttree("certs", *words, *at)
        assert ran.code == 1
        assert "ca.key is not there: bring it back from where it is kept" in ran.err
    assert len(await as_json(fasttree, "show", *at)) == 1


async def test_a_serial_number_that_nobody_has_here_is_revoked_and_told(fasttree: FastTree, tmp_path: Path) -> None:
    at = ("--dir", str(tmp_path / "certs"))
    await as_json(fasttree, "init", *at)
    await as_json(fasttree, "init", "--dir", str(tmp_path / "other"))
    await as_json(fasttree, "issue", "reporter", "--dir", str(tmp_path / "other"))
    (tmp_path / "certs/client-reporter.crt").write_bytes((tmp_path / "other/client-reporter.crt").read_bytes())
    # The largest that a certificate may have; one that was replaced, say; one of another authority.
    largest = f"0x7{'F' * 39}"
    others = (await as_json(fasttree, "show", *at))[1]["serial"]
    for serial in ("0x1a2b", largest, others):
        ran = await fasttree("certs", "revoke", serial, *at)
        assert ran.code == 0
        assert f"note: {serial.replace('a2b', 'A2B')} is on the list; no certificate of this authority" in ran.err
        assert "`fasttree certs show --json`" in ran.err
    before = (tmp_path / "certs/revoked.crl").read_bytes()
    assert {f"0x{each.serial_number:X}" for each in x509.load_pem_x509_crl(before)} == {"0x1A2B", largest, others}
    for wrong in ("0x0", "0x8" + "0" * 39, "-0x1", "0x 1", "17", "0x١"):
        ran = await fasttree("certs", "revoke", *at, "--", "0x99", wrong)
        assert (ran.code, ran.err.count("\n")) == (1, 1), wrong
        assert "is no serial number: write 0x" in ran.err
    assert (tmp_path / "certs/revoked.crl").read_bytes() == before


async def test_every_certificate_that_somebody_has_yet_is_revoked_by_his_name(
    fasttree: FastTree, tmp_path: Path
) -> None:
    folder = tmp_path / "certs"
    at = ("--dir", str(folder))
    await as_json(fasttree, "init", *at)
    serials = set()
    for _ in range(2):
        (issued,) = await as_json(fasttree, "issue", "operator/anna", *at)
        serials.add(int(issued["serial"], 16))
    renewed = await as_json(fasttree, "renew", "--all", *at)
    serials.add(int(renewed[0]["serial"], 16))
    await as_json(fasttree, "issue", "operator/bert", *at)
    assert len(serials) == 3
    kept = sorted((folder / "issued/operator/anna").iterdir())
    # One that is damaged since counts by its name; one that was carried away is known all the same.
    kept[0].write_bytes(b"")
    for path in folder.glob("client-operator-anna.*"):
        path.unlink()
    ran = await fasttree("certs", "revoke", "operator/anna", *at)
    assert (ran.code, ran.err) == (0, "")
    assert serials_in(folder / "revoked.crl") == serials


async def test_one_of_a_version_that_kept_none_is_kept_before_another_has_its_place(
    fasttree: FastTree, tmp_path: Path
) -> None:
    folder = tmp_path / "certs"
    at = ("--dir", str(folder))
    await as_json(fasttree, "init", *at)
    (before,) = await as_json(fasttree, "issue", "reporter", *at)
    shutil.rmtree(folder / "issued")
    (after,) = await as_json(fasttree, "renew", "--all", *at)
    await as_json(fasttree, "revoke", "reporter", *at)
    assert serials_in(folder / "revoked.crl") == {int(each["serial"], 16) for each in (before, after)}


async def test_one_that_can_not_be_read_keeps_no_other_from_being_renewed_or_revoked(
    fasttree: FastTree, tmp_path: Path
) -> None:
    folder = tmp_path / "certs"
    at = ("--dir", str(folder))
    await as_json(fasttree, "init", *at)
    for holder in ("reporter", "operator/anna"):
        await as_json(fasttree, "issue", holder, *at)
    junk, pipe = folder / "client-reporter.crt", folder / "client-monitor.crt"
    junk.write_bytes(b"junk")
    os.mkfifo(pipe)  # whoever opens it as any file waits for ever
    for words in (("show",), ("renew", "--all")):
        ran = await fasttree("certs", *words, *at)
        assert (ran.code, ran.err.count("\n")) == (1, 1)
        assert f"{junk}: there is no certificate in it, as PEM: remove it, or issue it anew" in ran.err
        assert f"{pipe} can't be read: it is no regular file" in ran.err
        assert "operator/anna" in ran.out
    await as_json(fasttree, "revoke", "reporter", "operator/anna", *at)
    assert len(serials_in(folder / "revoked.crl")) == 3  # of anna those of before and after
    await as_json(fasttree, "issue", "reporter", *at)
    # A cluster of `fasttree up` starts, and its others are renewed.
    junk.write_bytes(b"junk")
    certificates = ClusterCertificates(folder, "dot-live", "127.0.0.1")
    with pytest.raises(CommandError, match="can't be read"):
        certificates.renew()
    pipe.unlink()
    certificates.prepare([])
    certificates.renew()


@pytest.mark.parametrize(
    "host",
    ["", " ", "a b", "http://n1", "n1:50100", "10.0.0.0/8", "999.1.1.1", "a..b", "-a", "n1.", "a" * 64, "a.*", "ü.de"],
)
async def test_a_host_that_nobody_can_dial_is_refused(fasttree: FastTree, tmp_path: Path, host: str) -> None:
    ran = await fasttree("certs", "issue", "node/n1", "--dir", str(tmp_path), "--host", "n1", "--host", host)
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert "is no host's name or address: write it alone, as ftsp01.example.com" in ran.err


async def test_none_is_good_for_longer_than_its_authority(fasttree: FastTree, tmp_path: Path) -> None:
    at = ("--dir", str(tmp_path))
    (root,) = await as_json(fasttree, "init", *at, "--days", "10")
    hosts = ("*.example.com", "n1", "10.0.0.1", "fd00::1")
    ran = await fasttree("certs", "issue", "node/n1", *at, *(word for host in hosts for word in ("--host", host)))
    assert ran.code == 0
    assert f"note: it is good for no longer than {tmp_path}/ca.crt" in ran.err
    (renewed,) = await as_json(fasttree, "renew", "--all", *at)
    assert renewed["expires"] == root["expires"]
    assert sorted(renewed["hosts"]) == sorted(hosts)
    # What is so short that the authority outlives it is as it was asked for.
    ran = await fasttree("certs", "issue", "reporter", *at, "--days", "1")
    assert ran.err == ""
