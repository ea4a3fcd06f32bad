"""`fasttree config`: what is in force, and every fault at once, in the services' own words."""

from __future__ import annotations

import errno
import json
import os
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from fasttree.command.main import cli
from fasttree.command.session import CommandError, Session
from fasttree.command.settings.reading import SECTION_CLASSES
from services.shared.config.bounds import OWN_FOLDER, READ
from services.shared.config.load import SettingsError, load_settings
from services.shared.config.paths import path_fault
from services.shared.files.sealed.keys import new_key_line
from tests.command.printed import check_printed
from tools.configuration_page import found_sections

ASKED = "; no server that it names was asked, and no port tried"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*words: str) -> tuple[str, str]:
    """What it prints, and its error."""
    ran = CliRunner().invoke(cli, ["config", *words], obj=Session())
    assert ran.exception is None or isinstance(ran.exception, CommandError), ran.exception
    check_printed(["config", *words], ran.stdout)
    return ran.stdout, str(ran.exception or "")


def test_it_knows_what_the_services_read() -> None:
    assert {section: [cls] for section, cls in SECTION_CLASSES.items()} == found_sections()


def test_every_fault_is_a_line_with_place_and_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts, file = tmp_path / "hosts", tmp_path / "cluster.toml"
    hosts.write_text("n1 50100\n")
    file.write_text(
        "[cluster]\nname = 'a b'\nperiod = []\n[vip]\nport = 1\n[pusher]\nport = 70000\n[treenode]\nheartbeat_s = nan\n"
    )
    monkeypatch.setenv("FASTTREE_PUSHER_TAIL_MIB", "0")
    monkeypatch.setenv("FASTTREE_TREENOD_NAME", "n1")
    printed, error = run("check", "--config", str(file), "--set", "imports.threads=0")
    assert printed.splitlines() == [
        f"{file}: [vip] is no section any more; nothing was ever read from it: remove it; the VIP is set by "
        "its own configuration, see deploy/",
        f"{file}: cluster.name = 'a b': must be 1 to 64 printable ASCII characters without blanks",
        f"{file}: cluster.period = []: [cluster] has no field period; did you mean periods? docs/configuration.md has "
        "every setting",
        f"{file}: pusher.port = 70000: must be a whole number from 0 to 65,535",
        "environment: FASTTREE_PUSHER_TAIL_MIB=0: must be a whole number from 1 to 1,048,576",
        f"{file}: treenode.heartbeat_s = nan: must be a number from 0.001 to 86,400",
        "--set imports.threads=0: must be a whole number from 1 to 1,024",
        "environment: FASTTREE_TREENOD_NAME is no setting, and nothing reads it; did you mean FASTTREE_TREENODE_…? "
        "docs/configuration.md has every setting",
    ]
    assert error == f"{file}: 8 faults"


@pytest.mark.parametrize(
    ("text", "words", "fault"),
    [
        ("[treenode]\nlease_margin_s = 2.0\n[coordinator]\nlease_s = 1.0\n", (), "treenode.lease_margin_s"),
        ("[cluster]\nhosts_file = 'hosts'\n", (), "hosts, line 1: expected `host report-port instant-port`"),
        ("[cluster]\nhosts_file = 'nowhere'\n", (), "nowhere: can't read the host file: No such file or directory"),
        ("[cluster", (), "can't read the settings"),
        ("cluster = 5", (), "cluster must be a section [cluster]"),
        ("", ("--set", "cluster"), "--set cluster: expected section.field=value"),
    ],
)
def test_what_no_single_setting_shows(tmp_path: Path, text: str, words: tuple[str, ...], fault: str) -> None:
    (tmp_path / "hosts").write_text("n1 50100\n")
    (tmp_path / "cluster.toml").write_text(text)
    printed, error = run("check", "--config", "cluster.toml", *words)
    assert fault in printed
    assert error == "cluster.toml: 1 fault"


def test_paths_that_no_service_could_use_are_found(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    for name in ("here.pem", "own/tls.crt", "own/tls.key"):
        (tmp_path / name).write_text("x")
    (tmp_path / "cluster.toml").write_text(
        "[pusher]\nlog_password_file = 'nope'\nimport_folder = 'here.pem'\nstate_folder = 'here.pem/state'\n"
        "upload_folder = 'not/yet/there'\n"
        "[tls]\nmode = 'mutual'\nfolder = 'own'\npolicy = 'own'\nrevoked_file = 'here.pem'\n"
        "[tokens]\nkeys = 'https://example.com/keys'\nissuer = 'me'\naudience = 'us'\n"
    )
    printed, error = run("check", "--config", "cluster.toml", "--set", "tokens.revoked=gone")
    assert printed.splitlines() == [
        "cluster.toml: pusher.log_password_file = 'nope': there is no such file here: make it, or mend the path",
        "cluster.toml: pusher.import_folder = 'here.pem': is no folder: name one",
        "cluster.toml: pusher.state_folder = 'here.pem/state': can't be made: here.pem is no folder",
        "cluster.toml: tls.policy = 'own': is a folder: name a file",
        "--set tokens.revoked=gone: there is no such file here: make it, or mend the path",
        "tls.folder: own/ca.crt: there is no such file here: make it, or mend the path",
    ]
    assert error == "cluster.toml: 6 faults"
    assert run("check", "--config", "cluster.toml", "--elsewhere") == (f"cluster.toml: good{ASKED}\n", "")
    (tmp_path / "own/ca.crt").write_text("x")
    (tmp_path / "nope").write_text("secret")
    (tmp_path / "cluster.toml").write_text(
        "[pusher]\nlog_password_file = 'nope'\n[tls]\nmode = 'mutual'\nfolder = 'own'\n"
    )
    assert run("check", "--config", "cluster.toml") == (f"cluster.toml: good{ASKED}\n", "")
    # As `fasttree up` and services mean a relative path: from their own folder, which may be the file's.
    assert run("check", "--config", str(tmp_path / "own/../cluster.toml"))[1] == ""


def test_a_folder_that_a_service_writes_has_to_be_one_that_can_be_made_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "file").write_text("x")
    file = tmp_path / "cluster.toml"
    for folder, fault in (
        (
            "/proc/fasttree/state",
            "can't be made in /proc by this user: No such file or directory: look as the one that",
        ),
        ("/proc/self", "can't be written by this user: "),
        ("file", "is no folder: name one"),
        ("there", ""),
        ("there/not/yet", ""),
    ):
        file.write_text(
            "".join(f"[{each}]\nstate_folder = '{folder}'\n" for each in ("coordinator", "pusher", "treenode"))
        )
        printed, error = run("check", "--config", "cluster.toml")
        assert printed.count(fault or ASKED) == (3 if fault else 1)
        assert error == ("cluster.toml: 3 faults" if fault else "")
        assert run("check", "--config", "cluster.toml", "--elsewhere")[1] == ""
    assert [*(tmp_path / "there").iterdir()] == []

    def refuses(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuses)  # root may write anywhere
    for folder, fault in (("there", "can't be written by this"), ("there/a/b", "can't be made in there by this user")):
        assert path_fault(OWN_FOLDER, folder, [Path()]).startswith(fault)


def test_a_file_system_without_nameless_files_is_tried_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def knows_none(*_: object) -> int:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", knows_none)
        assert path_fault(OWN_FOLDER, ".", [tmp_path]) == ""
    assert [*tmp_path.iterdir()] == []


def test_places_of_snapshots_and_keys_are_looked_at(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "cluster.toml").write_text(
        "[pusher]\nlog_password_file = 'pipe'\n"
        "[treenode]\nsnapshot_folder = 'file'\nsnapshot_credentials_file = 'nope'\nsnapshot_ca_file = 'folder'\n"
        "[sealing]\nkey_file = 'gone'\n"
    )
    assert run("check", "--config", "cluster.toml")[0].splitlines() == [
        "cluster.toml: pusher.log_password_file = 'pipe': is no regular file, but a pipe, a device or a socket: name "
        "a file",
        "cluster.toml: treenode.snapshot_folder = 'file': is no folder: name one",
        "cluster.toml: treenode.snapshot_credentials_file = 'nope': there is no such file here: make it, or mend the "
        "path",
        "cluster.toml: treenode.snapshot_ca_file = 'folder': is a folder: name a file",
        "cluster.toml: sealing.key_file = 'gone': there is no such file here: make it, or mend the path",
    ]


def test_a_file_of_keys_is_read_as_a_service_reads_it(tmp_path: Path) -> None:
    keys, pipe = tmp_path / "etc" / "state.keys", tmp_path / "etc" / "pipe"
    keys.parent.mkdir()
    os.mkfifo(pipe)
    (tmp_path / "etc" / "cluster.toml").write_text("[sealing]\nkey_file = 'state.keys'\n")
    for text, mode, fault in (
        ("", 0o600, "there is no key in it"),
        ("one secretsecret\n", 0o600, "line 1: key one is not 32 bytes as base64"),
        (new_key_line("one"), 0o644, "others may use it too (0644): chmod 600"),
        (new_key_line("one"), 0o600, ""),
    ):
        keys.write_text(text)
        keys.chmod(mode)
        printed, error = run("check", "--config", "etc/cluster.toml")
        assert (fault in printed, error) == (True, "etc/cluster.toml: 1 fault" if fault else "")
        assert "secretsecret" not in printed
    assert "no regular file" in run("check", "--config", "etc/cluster.toml", "--set", f"sealing.key_file={pipe}")[0]


@pytest.mark.parametrize("mode", [0o000, 0o400])
def test_a_file_has_to_be_one_that_this_user_may_read(
    tmp_path: Path, mode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key"
    file.write_text("secret")
    monkeypatch.setattr(os, "access", lambda path, _: bool(Path(path).stat().st_mode & 0o400))  # root may always
    file.chmod(mode)
    assert path_fault(READ, "key", [tmp_path]).startswith("may not be read by this user") is (mode == 0)


def test_no_fault_hides_another(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("n1 50100\nn2 50100 50201\n# n3\nn2 50100 50202\nn4 1 0\n")
    file = tmp_path / "cluster.toml"
    file.write_text(
        "[vip]\n[cluster]\nname = ''\nhosts_file = 'hosts'\n[pusher]\nport = 70000\n"
        "[treenode]\nlease_margin_s = 2.0\n[coordinator]\nlease_s = 1.0\n"
    )
    printed, error = run("check", "--config", "cluster.toml", "--set", "foo", "--set", "imports.threads=0")
    assert [line.partition(": must")[0].partition(": expected")[0] for line in printed.splitlines()] == [
        "--set foo",
        "cluster.toml: [vip] is no section any more; nothing was ever read from it: remove it; the VIP is set by "
        "its own configuration, see deploy/",
        "cluster.toml: cluster.name = ''",
        "cluster.toml: pusher.port = 70000",
        "--set imports.threads=0",
        "treenode.heartbeat_s = 0.25",
        "hosts, line 1",
        "hosts, line 4: n2:50100 stands here twice; remove one",
        "hosts, line 5",
    ]
    assert error == "cluster.toml: 9 faults"
    file.write_text("[cluster]\nhosts_file = 'nowhere'\n[pusher]\nport = 70000\n")
    assert run("check", "--config", "cluster.toml")[0].splitlines()[1].startswith("nowhere: can't read the host file")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("[cluster]\nhosts_file = 5", "cluster.hosts_file = 5: "),
        ("[coordinator]\nlease_s = 0", "coordinator.lease_s = 0"),
    ],
)
def test_a_fault_is_told_once(tmp_path: Path, setting: str, said: str) -> None:
    (tmp_path / "cluster.toml").write_text(setting)
    printed, error = run("check", "--config", "cluster.toml")
    assert (said in printed, error) == (True, "cluster.toml: 1 fault")


def test_a_good_file_of_the_cluster_here_is_found(tmp_path: Path) -> None:
    where = "no settings file here (--config names one; another machine's settings: run this there)"
    assert run("check")[0] == f"{where}, so the environment and defaults alone: good{ASKED}\n"
    assert run("check", "--set", "pusher.port=-1")[1] == f"{where}, so the environment and defaults alone: 1 fault"
    (tmp_path / ".fasttree").mkdir()
    (tmp_path / ".fasttree" / "cluster.toml").write_text('[cluster]\nname = "dot-test"\n')
    assert run("check")[0] == f".fasttree/cluster.toml: good{ASKED}\n"
    assert json.loads(run("check", "--json")[0]) == {"file": ".fasttree/cluster.toml", "faults": [], "notes": []}


def test_what_a_log_on_servers_keeps_a_cluster_from_is_told_and_is_no_fault(tmp_path: Path) -> None:
    url = "postgresql://log.example.com/fasttree"
    (tmp_path / "cluster.toml").write_text(f'[pusher]\nlog_store = "postgresql"\nlog_url = "{url}"\n')
    note = "pusher.log_store is postgresql, so no column can be personal: docs/security.md, `Personal columns`"
    assert run("check", "--config", "cluster.toml") == (f"{note}\ncluster.toml: good{ASKED}\n", "")
    assert json.loads(run("check", "--config", "cluster.toml", "--json")[0])["notes"] == [note]


def test_what_is_shown_is_a_settings_file_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cluster.toml").write_text('[cluster]\nname = "dot-test"\n')
    monkeypatch.setenv("FASTTREE_PUSHER_PORT", "5")
    printed, _ = run("show", "--config", "cluster.toml", "--set", "treenode.name=n7")
    lines = printed.splitlines()
    assert 'name = "dot-test"  # cluster.toml' in lines
    assert "port = 5  # environment" in lines
    assert 'name = "n7"  # --set' in lines
    assert [*tomllib.loads(printed)] == [*SECTION_CLASSES]
    monkeypatch.delenv("FASTTREE_PUSHER_PORT")
    (tmp_path / "again.toml").write_text(printed)
    for section, cls in SECTION_CLASSES.items():
        assert load_settings(cls, section, tmp_path / "again.toml", {})
    assert run("show", "pusher", "--json", "--config", "cluster.toml")[0].count('"section": "pusher"') > 20
    assert "config check" in run("show", "--set", "pusher.port=x")[1]


def test_the_first_fault_is_the_one_that_a_service_tells(tmp_path: Path) -> None:
    file = tmp_path / "cluster.toml"
    file.write_text("[pusher]\nport = 70000\ntail_mib = 0\n")
    with pytest.raises(SettingsError) as told:
        load_settings(SECTION_CLASSES["pusher"], "pusher", file, {})
    assert run("check", "--config", str(file))[0].splitlines()[0] == str(told.value)
