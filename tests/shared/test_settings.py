"""Settings: the file, the environment, the command line, and what is told where one is wrong."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from services.pusher.settings import PusherSettings
from services.shared.config.bounds import Seconds
from services.shared.config.hosts_file import read_hosts_file
from services.shared.config.load import SettingsError, given_value, load_settings, parse_overrides, unknown_variables
from services.shared.config.passwords import without_passwords
from services.shared.config.renamed import RENAMED
from services.shared.config.sections import ClusterSettings, Problem, Settings, fields_of, value_of
from services.shared.domain.addresses import Host
from tests.shared.sections import SECTIONS


class WaitPart(Settings, frozen=True, kw_only=True):
    wait_s: Seconds = 1.0


class WaitSection(Settings, frozen=True, kw_only=True):
    part: WaitPart = msgspec.field(default_factory=WaitPart)
    wait_s: Seconds = 1.0


class Pair(Settings, frozen=True, kw_only=True):
    low_s: Seconds = 1.0
    high_s: Seconds = 2.0

    def problems(self) -> Iterator[Problem]:
        if self.low_s > self.high_s:
            yield Problem("low_s", f"must be at most high_s, which is {self.high_s:g}")


def write(folder: Path, text: str) -> Path:
    file = folder / "cluster.toml"
    file.write_text(text, encoding="utf-8")
    return file


def refusal(section: str, file: Path | None = None, overrides: dict[str, str] | None = None) -> str:
    """What is told; one line."""
    with pytest.raises(SettingsError) as raised:
        load_settings(SECTIONS[section], section, file, overrides or {})
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("section", ["coordinator", "pusher", "treenode"])
def test_a_service_listens_to_its_own_machine_until_it_is_told_otherwise(section: str) -> None:
    assert value_of(SECTIONS[section](), "listen_host") == "127.0.0.1"


def test_later_sources_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(
        tmp_path, '[cluster]\nname = "from-file"\ncoordinator = "a:1"\nperiods = ["2026-10"]\n[pusher]\nport = 1\n'
    )
    monkeypatch.setenv("FASTTREE_CLUSTER_COORDINATOR", "b:2")
    settings = load_settings(
        ClusterSettings, "cluster", file, {"cluster.periods": "2026-12, 2026-11", "pusher.port": "2"}
    )
    assert settings.name == "from-file"
    assert settings.coordinator == "b:2"
    assert settings.periods == ["2026-12", "2026-11"]


def test_a_field_of_a_part_is_one_of_the_section(tmp_path: Path) -> None:
    file = write(tmp_path, "[pusher]\ntail_mib = 2\nwindow_updates = 3000\n")
    settings = load_settings(SECTIONS["pusher"], "pusher", file, {"pusher.load_stall_s": "7"})
    assert {name: value_of(settings, name) for name in ("tail_mib", "window_updates", "load_stall_s")} == {
        "tail_mib": 2,
        "window_updates": 3000,
        "load_stall_s": 7.0,
    }


def test_two_parts_never_share_a_name() -> None:
    with pytest.raises(TypeError, match="two fields are named wait_s"):
        fields_of(WaitSection)


def test_an_ipv6_address_of_the_host_file_stands_in_brackets(tmp_path: Path) -> None:
    file = tmp_path / "hosts.50201"
    file.write_text("fd00::1 50100 50201\r\n[fd00::2] 50100 50201\n")
    hosts = read_hosts_file(file)
    assert [host.report_address for host in hosts] == ["[fd00::1]:50100", "[fd00::2]:50100"]
    assert [host.instant_address for host in hosts] == ["[fd00::1]:50201", "[fd00::2]:50201"]


def test_a_host_file_that_is_none_is_refused_at_once(tmp_path: Path) -> None:
    pipe, long, wide = tmp_path / "pipe", tmp_path / "long", tmp_path / "wide"
    os.mkfifo(pipe)
    long.write_text("".join(f"host{number} 50100 50201\n" for number in range(1_001)))
    wide.write_text("#" * 1_000_001)
    for path, said in ((pipe, "no regular file"), (long, "more than 1000 lines"), (wide, "longer than 1,000,000")):
        with pytest.raises(SettingsError, match=said):
            read_hosts_file(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[cluster]\nnmae = "x"\n', "[cluster] has no field nmae; did you mean name?"),
        ("[cluster]\nname = 3\n", "cluster.name = 3: must be 1 to 64 printable ASCII characters"),
        ("[clutser]\n", "unknown section [clutser]; known are cluster, "),
        ("name = 3\n", "unknown section [name]"),
        ("pusher = 3\n", "pusher must be a section [pusher]"),
        ("[vip]\nport = 50100\n", "[vip] is no section any more; nothing was ever read from it: remove it"),
        ("[reports]\n", "[reports] is no section any more"),
        ("[cluster\n", "can't read the settings: "),
        ("[cluster]\nname = " + "9" * 5_000 + "\n", "can't read the settings: "),
        ("[cluster]\nname = " + "[" * 5_000 + "\n", "can't read the settings: "),
        ('[cluster]\n"a\\nb" = 1\n', "[cluster] has no field a\\nb; docs/configuration.md has every setting"),
        ("[cluster]\nperiods = 2026-11-01\n", "cluster.periods = datetime.date(2026, 11, 1): must be a list of "),
        ('[cluster]\nname = "' + "x" * 5_000 + '"\n', "xxx…: must be 1 to 64 "),
    ],
)
@pytest.mark.usefixtures("uncollected")
def test_wrong_files_are_named(tmp_path: Path, text: str, said: str) -> None:
    file = write(tmp_path, text)
    told = refusal("cluster", file)
    assert said in told
    assert told.startswith(f"{file}: ")
    assert len(told) < 400


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b'[cluster]\nname = "\xe9"\n')
    (tmp_path / "wide.toml").write_bytes('[cluster]\nname = "x"\n'.encode("utf-16"))
    os.mkfifo(tmp_path / "pipe.toml")
    for name, words in (
        ("missing.toml", "No such file or directory"),
        (".", "it is no regular file"),
        ("pipe.toml", "it is no regular file"),
        ("latin.toml", "it is not UTF-8: save it as UTF-8"),
        ("wide.toml", "it is UTF-16: save it as UTF-8"),
    ):
        assert refusal("cluster", tmp_path / name) == f"{tmp_path / name}: can't read the settings: {words}"
    assert refusal("cluster", Path("/dev/zero")) == "/dev/zero: can't read the settings: it is no regular file"


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    file = write(tmp_path, '\ufeff[cluster]\nname = "x"\n')
    assert load_settings(ClusterSettings, "cluster", file, {}).name == "x"
    hosts = tmp_path / "hosts.50201"
    hosts.write_text("\ufeffftsp01 50100 50201\n", encoding="utf-8")
    assert read_hosts_file(hosts) == [Host("ftsp01", 50100, 50201)]


@pytest.mark.parametrize("text", ["1e3", "1_000", "1,000", "１０", "0x10", "1.5", "inf", "ten", "9" * 41, "--1"])
def test_a_number_is_written_as_everywhere_else(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    said = "must be a whole number from 0 to 65,535"
    assert refusal("pusher", None, {"pusher.port": text}).endswith(said)
    monkeypatch.setenv("FASTTREE_PUSHER_PORT", text)
    assert refusal("pusher").endswith(said)


def test_a_variable_that_nothing_reads_is_named() -> None:
    names = ["FASTTREE_PUSHER_PORT", "FASTTREE_LOG_LEVEL", "FASTTREE_ENDPOINTS", "PATH", "FASTTREE"]
    assert list(unknown_variables(names)) == []
    wrong = {
        "FASTTREE_LOGLEVEL": "did you mean FASTTREE_LOG_LEVEL? ",
        "FASTTREE_PUHSER_PORT": "did you mean FASTTREE_PUSHER_…? ",
        "FASTTREE_SHOE_SIZE": "",
        "FASTTREE_TREE_NODE_PORT": "did you mean FASTTREE_TREENODE_…? ",
        "fasttree_pusher_port": "did you mean FASTTREE_PUSHER_…? ",
    }
    assert list(unknown_variables([*names, *wrong])) == [
        f"environment: {name} is no setting, and nothing reads it; {hint}docs/configuration.md has every setting"
        for name, hint in wrong.items()
    ]


@pytest.mark.parametrize("assignment", ["cluster.name", "cluster=x", "nowhere.field=x", ".name=x", "cluster.=x"])
def test_wrong_overrides_are_named(assignment: str) -> None:
    with pytest.raises(SettingsError, match=r"--set .*: expected section\.field=value with a section of cluster, "):
        parse_overrides([assignment])


def test_an_unknown_field_is_named_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal("pusher", None, {"pusher.windows": "1"}).startswith(
        "--set pusher.windows=1: [pusher] has no field windows; "
    )
    monkeypatch.setenv("FASTTREE_PUSHER_HTTPPORT", "1")
    assert refusal("pusher") == (
        "environment: FASTTREE_PUSHER_HTTPPORT=1: [pusher] has no field httpport; did you mean http_port? "
        "docs/configuration.md has every setting"
    )


@pytest.mark.parametrize("old", RENAMED)
def test_an_old_name_is_refused_with_the_new_one_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str
) -> None:
    section, _, field = old.partition(".")
    said = f"{old} is now {RENAMED[old]}: set that instead; see CHANGELOG.md"
    file = write(tmp_path, f'[{section}]\n{field} = "x"\n')
    assert refusal(section, file) == f"{file}: {old} = 'x': {said}"
    assert refusal(section, None, {old: "x"}) == f"--set {old}=x: {said}"
    monkeypatch.setenv(f"FASTTREE_{section.upper()}_{field.upper()}", "x")
    assert refusal(section).endswith(said)


def test_every_new_name_is_there() -> None:
    for old, news in RENAMED.items():
        section, _, field = old.partition(".")
        assert field not in fields_of(SECTIONS[section])
        for new in news.split(" and "):
            assert new.partition(".")[2] in fields_of(SECTIONS[new.partition(".")[0]]), f"{old}: no {new}"


def test_a_problem_between_two_values_is_told_where_one_was_given(tmp_path: Path) -> None:
    file = write(tmp_path, "[pusher]\nhigh_s = 0.5\n")
    with pytest.raises(SettingsError) as raised:
        load_settings(Pair, "pusher", file, {"pusher.low_s": "3"})
    assert str(raised.value) == "--set pusher.low_s=3: must be at most high_s, which is 0.5"
    with pytest.raises(SettingsError) as raised:
        load_settings(Pair, "pusher", file, {})
    assert str(raised.value) == f"{file}: pusher.low_s = 1.0, the default: must be at most high_s, which is 0.5"


def test_another_sections_value_is_known_where_it_was_given(tmp_path: Path) -> None:
    file = write(tmp_path, "[coordinator]\nlease_s = 2\n")
    assert given_value("coordinator.lease_s", Seconds, file, {}) == 2.0
    assert given_value("coordinator.lease_s", Seconds, None, {"pusher.lease_s": "1"}) is None
    with pytest.raises(SettingsError, match=r"coordinator\.lease_s=x: must be a number from"):
        given_value("coordinator.lease_s", Seconds, file, {"coordinator.lease_s": "x"})


def test_hosts_file(tmp_path: Path) -> None:
    file = tmp_path / "hosts.50201"
    file.write_text("# two servers\n\nftsp01.example.com 50100 50201\nftsp02.example.com\t50100 50201\n")
    assert read_hosts_file(file) == [Host("ftsp01.example.com", 50100, 50201), Host("ftsp02.example.com", 50100, 50201)]


@pytest.mark.parametrize(
    "line",
    [
        *("host 50100", "host 50100 50201 9", "host zero 50201", "host 0 50201", "host 70000 1"),
        *("host 50100 -1", "host ５ 50201", f"host {'9' * 5_000} 1"),
        *("unix:/x 50100 50201", "ho\0st 50100 50201", "ho\x1b[2Jst 50100 50201", "dns://ns/host 50100 50201"),
        *("host:1 50100 50201", f"{'h' * 300} 50100 50201", "host 50100\f50201", "fd00:1 50100 50201"),
    ],
)
def test_a_wrong_host_line_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "hosts.50201"
    file.write_text(f"a 1 2\n{line}\n")
    with pytest.raises(SettingsError, match="line 2"):
        read_hosts_file(file)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a 1 2\na 3 2\n", "line 2: a:2 stands here twice"),
        ("a 1 2\na 1 3\n", "line 2: a:1 stands here twice"),
        ("b 1 2\na 7 7\n", "line 2: a:7 stands here twice"),
    ],
)
def test_an_address_twice_is_refused(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "hosts.50201"
    file.write_text(text)
    with pytest.raises(SettingsError, match=said):
        read_hosts_file(file)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://u:s3cret@db/company", "postgresql://u:***@db/company"),
        ("postgresql://u:s3,c:r@e@t@db1,db2:5432/company", "postgresql://u:***@db1,db2:5432/company"),
        ("postgresql://u@db/company?sslmode=require&password=s3cret", "postgresql://u@db/company?sslmode=require&password=***"),
        ("nats://u:s3cret@n1:4222,n2:4222", "nats://u:***@n1:4222,n2:4222"),
        ("postgresql://u:s3'cret@db/company", "postgresql://u:***@db/company"),
        ("nats://:s3cret@n1", "nats://:***@n1"),
    ],
    ids=["user", "odd characters", "query", "nats", "quote", "without a user"],
)  # fmt: skip
def test_a_password_in_an_address_is_refused_and_never_shown(tmp_path: Path, address: str, shown: str) -> None:
    assert without_passwords(f"log_url = '{address}'") == f"log_url = '{shown}'"
    store = "jetstream" if address.startswith("nats") else "postgresql"
    file = tmp_path / "cluster.toml"
    file.write_text(f'[pusher]\nlog_store = "{store}"\nlog_url = "{address}"\n')
    with pytest.raises(SettingsError, match=r"pusher\.log_url = .*: holds a password") as refused:
        load_settings(PusherSettings, "pusher", file, {})
    assert "s3" not in str(refused.value)
    with pytest.raises(SettingsError, match=r"--set pusher\.log_url=.*: holds a password") as refused:
        load_settings(PusherSettings, "pusher", None, {"pusher.log_store": store, "pusher.log_url": address})
    assert "s3" not in str(refused.value)


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://u@db1:5432,db2:5432/company?sslmode=verify-full",
        "nats://u@n1:4222,n2:4222",
        "nats://n1:4222,u@n2:4222",
        "nats://[::1]:4222,u@[::1]:4223",
    ],
    ids=["postgresql", "nats", "user at the second", "IPv6"],
)
def test_an_address_without_a_password_stays(address: str) -> None:
    assert without_passwords(address) == address
