"""CBLDATATRAX: the sample of 2016 as it was printed, and files that can't be meant."""

from __future__ import annotations

import json
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fasttree.client import Endpoints
from services.datatrax.cbldatatrax.checks import faults_of, remarks_of
from services.datatrax.cbldatatrax.configuration import Configuration, configuration_of
from services.datatrax.cbldatatrax.conversion import converted, customer_assignments
from services.datatrax.cbldatatrax.explanation import explain
from services.datatrax.cbldatatrax.file import read_configuration
from services.datatrax.cbldatatrax.keys import KEYS
from services.pusher.rules.founding import rules_of_settings
from services.shared.config.hosts_file import read_hosts_file
from services.shared.config.load import SettingsError, load_settings
from services.shared.config.sections import ClusterSettings
from services.shared.domain.addresses import Host
from tests.datatrax.least_file import LEAST, file_of

SAMPLE = Path(__file__).with_name("CBLDATATRAX.2016")
HOSTS_FILE = Path("hosts.50201")
HOSTS = {
    1: Host("ftsp01.dot.client.infotraxsys.com", 50100, 50201),
    2: Host("ftsp02.dot.client.infotraxsys.com", 50100, 50201),
}


def said(text: str, hosts: dict[int, Host] | None = None) -> list[str]:
    found = faults_of(configuration_of(text), HOSTS_FILE, HOSTS if hosts is None else hosts)
    return [f"{fault.line}: {fault.text}" for fault in found]


def sample() -> Configuration:
    return read_configuration(SAMPLE)


def test_the_sample_of_2016_is_good_as_it_stands() -> None:
    configuration = sample()
    assert faults_of(configuration, HOSTS_FILE, HOSTS) == []
    assert remarks_of(configuration) == []
    assert list(configuration.environments) == ["live", "test", "sample"]
    assert [each.name for each in configuration.environments.values() if each.has_cluster] == ["test"]
    test = configuration.environments["test"]
    assert (test.text("server"), test.port) == ("gvp01.dot.client.infotraxsys.com", 50100)
    assert test.is_on("Instant-Push")
    assert configuration.instant_port == 50201


def test_every_key_is_explained_with_its_line() -> None:
    rows = {row.name: row for row in explain(sample(), "test")}
    assert rows["FastTree-server-test"][:3] == (
        "FastTree-server-test",
        "gvp01.dot.client.infotraxsys.com",
        "line 6",
    )
    assert rows["FastTree-Instant-Push-Test"].source == "line 42 (behind a # at line 40)"
    assert rows["FastTree-zip-process"][1:3] == ("zip-7", "default (behind a # at line 29)")
    assert len(rows) == len(KEYS)
    assert all(row.effect and row.meaning_2016 for row in rows.values())


def test_instant_push_follows_2016s_defaults() -> None:
    configuration = configuration_of(file_of("FastTree-enabled-primary-test=Y", "FastTree-server-test=a"))
    assert configuration.environments["live"].text("Instant-Push") == "Y"
    assert configuration.environments["test"].text("Instant-Push") == "N"


@pytest.mark.parametrize("ends", ["\n", "\r\n", " \t\r\n"])
@pytest.mark.parametrize("case", [str.upper, str.lower])
def test_case_and_line_ends_are_the_companys_own(ends: str, case) -> None:
    lines = [
        case(key) + ("=" + value if value else "")
        for key, _, value in (line.partition("=") for line in file_of().splitlines())
    ]
    configuration = configuration_of(ends.join(lines) + ends + "\x1a")
    assert configuration.faults == []
    assert configuration.environments["live"].has_cluster


def test_other_sections_are_passed_over_and_old_encodings_read(tmp_path: Path) -> None:
    file = tmp_path / "CBLDATATRAX"
    file.write_bytes(
        b"[DSS]\nserver=x\nnonsense\n"
        + file_of("# gr\xfc\xdfe".encode("latin-1").decode("latin-1")).encode("latin-1")
        + b"\n[Other]\nKEY\n"
    )
    configuration = read_configuration(file)
    assert configuration.faults == []
    assert configuration.environments["live"].has_cluster


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_is_told_and_not_read_as_latin_1(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "CBLDATATRAX"
    file.write_bytes(("\ufeff" + file_of()).encode(encoding))
    with pytest.raises(SettingsError, match="it is UTF-16: save it as UTF-8"):
        read_configuration(file)


@pytest.mark.parametrize(
    ("switch", "meant"),
    [("test", "test"), ("TST", "test"), ("pre", "test"), ("preview", "test"), ("dev", "sample"), ("live", "live")],
)
def test_the_cluster_switch_has_names_of_its_own(switch: str, meant: str) -> None:
    text = SAMPLE.read_text().replace("cluster-transfer-test", f"cluster-transfer-{switch}")
    configuration = configuration_of(text)
    assert configuration.faults == []
    assert [each.name for each in configuration.environments.values() if each.is_on("cluster-transfer")] == [meant]


def test_a_name_that_is_an_environment_is_no_other_ones() -> None:
    text = file_of(
        "FastTree-MDIR-test=dot-test", "FastTree-MDIR-pre=dot-pre", "FastTree-cluster-transfer-pre=Y"
    )  # fmt: skip
    environments = configuration_of(text).environments
    assert environments["pre"].is_on("cluster-transfer")
    assert not environments["test"].is_on("cluster-transfer")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "0: no section [FastTree]"),
        ("FastTree-server-live=a", "1: \"FastTree-server-live\" stands outside [FastTree]: move it there"),
        (file_of() + "\n[FASTTREE]", "7: [FastTree] stands twice: put these lines below line 1"),
        (file_of() + "\n[Other]\nFastTree-dir-live=/x", '8: "FastTree-dir-live" stands outside'),
        (file_of("hello"), '7: expected KEY=VALUE, or # before a comment; found "hello"'),
        (file_of("# a", "wrapped", "", "not wrapped"), '10: expected KEY=VALUE'),
        (file_of("=x"), '7: "" is no key'),
        (file_of("Fast Tree-server=x"), '7: "Fast Tree-server" is no key'),
        (file_of("FastTree-\x1b[31m=x"), '7: "FastTree-\\x1b[31m" is no key'),
        (file_of("K" * 200 + "=x"), "is no key"),
        (file_of("fasttree-MDIR-LIVE=dot"), "7: fasttree-MDIR-LIVE stands at line 2 already: remove one"),
        (file_of("FastTree-mdir-live=dat"), '7: FastTree-mdir-live stands at line 2 already, as "dot": remove the one'),
        (file_of("FastTree-server=x"), "7: FastTree-server must end with its environment, such as"),
        (file_of("FastTree-servr-live=x"), "7: FastTree-servr-live is no key: is FastTree-server-live meant?"),
        (file_of("FastTree-Instant-Server-Prot=1"), "is FastTree-Instant-Server-Port meant?"),
        (file_of(server_port_live="0"), '7: FastTree-server-port-live must be a port from 1 to 65535; found "0"'),
        (file_of(server_port_live="65536"), "must be a port"),
        (file_of(server_port_live="+5"), "must be a port"),
        (file_of(server_port_live="５０"), "must be a port"),
        (file_of(server_port_live="1e3"), "must be a port"),
        (file_of(server_live="vip:50100"), "must be a host's name or address, without a port"),
        (file_of(server_live="a b"), "must be a host's name"),
        (file_of(server_live="http://vip"), "must be a host's name"),
        (file_of(server_live="v" * 400), "must be a host's name"),
        (file_of(dir_live="fasttree"), "must be a folder's path from / on"),
        (file_of(dir_live="/a/../etc"), "must be a folder's path"),
        (file_of(dir_live="/a/./b"), "must be a folder's path"),
        (file_of(dir_live="/a\x00b"), "must be a folder's path"),
        (file_of(upload_live="C:\\upload"), "must be a folder's path"),
        (file_of(dir_live="/a/", upload_live="/a/pusher/log"), "lies in what a process keeps below FastTree-dir-live"),
        (file_of(dir_live="/a", upload_live="/a/treenode"), "lies in what a process keeps below FastTree-dir-live"),
        (file_of(MDIR_live="a/b"), "must be a name of 1 to 48 letters"),
        (file_of(MDIR_live="a" * 49), "must be a name of 1 to 48 letters"),
        (file_of(enabled_primary_live="YES"), "must be Y or N"),
        (file_of(cluster_transfer_live="1"), "must be Y or N"),
        (file_of("FastTree-Customer-Status-List=X,Y"), "must be status codes without blanks"),
        (file_of("FastTree-Customer-Status-List=XX"), "each once"),
        (file_of("FastTree-Primary-Output-Option=SOME"), "must be ALL"),
        (file_of("FastTree-zip-process=rm -rf /"), "must be one of zip, zip-7"),
        (file_of("FastTree-unzip-process=$(reboot)"), "must be one of zip, zip-7"),
        (file_of("FastTree-zipped-transfer="), "must be Y or N"),
        (file_of("FastTree-Instant-Server-Port=50100"), "FastTree-Instant-Server-Port are both 50100"),
        (file_of("FastTree-Instant-Server-Port=50202"), "7: FastTree-Instant-Server-Port is 50202, and ftsp01"),
        (file_of(server_live="FTSP01.dot.client.infotraxsys.com"), "3: FastTree-server-live is the node at line 1 of"),
        (file_of(server_live=""), "4: FastTree-enabled-primary-live is Y, and no line says its server"),
        (file_of(MDIR_live=""), "5: FastTree-cluster-transfer-live is Y, and FastTree-MDIR-live is missing"),
        (file_of(dir_live=""), "FastTree-dir-live is missing: add it, a folder"),
        (file_of("FastTree-cluster-transfer-qa=Y"), "no other key ends with qa; there are: live"),
        (file_of("FastTree-cluster-transfer-tst=Y"), "no other key ends with tst"),
        (file_of("FastTree-Instant-Push-test=Y"), "no other key ends with test"),
        (file_of("FastTree-enabled-tertiary-live=Y", enabled_primary_live="N"), "is Y without the first"),
        (file_of("FastTree-enabled-tertiary-live=Y"), "7: FastTree-enabled-tertiary-live is Y, and a cluster has two"),
        (
            file_of("FastTree-MDIR-test=d", "FastTree-cluster-transfer-tst=Y", "FastTree-cluster-transfer-pre=N"),
            "9: FastTree-cluster-transfer-pre means test, as FastTree-cluster-transfer-tst at line 8 does, which is Y",
        ),
        (file_of(*(f"FastTree-dir-e{number}=/x" for number in range(16))), "0: 17 environments: 16 at most"),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_its_line_and_the_mend(text: str, expected: str) -> None:
    faults = said(text)
    assert any(expected in each for each in faults), faults
    assert all("\x1b" not in each and "\n" not in each for each in faults)


def test_two_clusters_share_nothing() -> None:
    second = [f"FastTree-{name.replace('live', 'test')}={value}" for name, value in LEAST.items()]
    upload = "FastTree-upload-test=/up/"
    assert said(file_of(*second, upload, upload_live="/up")) == [
        f"{line}: test and live have the same {what}, at FastTree-{key}-live: give one of them another FastTree-{key}"
        for line, what, key in (
            (8, "name of a cluster", "MDIR"),
            (10, "folder", "dir"),
            (12, "VIP", "server-port"),
            (13, "folder of import files", "upload"),
        )
    ]


def test_what_may_not_be_meant_is_remarked() -> None:
    configuration = configuration_of(
        file_of("Some-other-key=1", "FastTree-server-test=a", "FastTree-enabled-primary-test=Y")
    )
    assert [each.text for each in remarks_of(configuration)] == [
        "Some-other-key is no key of ours: nothing goes by it",
        "test is in use, and FastTree-cluster-transfer-test is not Y: its data goes to its one server of 2016",
    ]
    off = configuration_of(file_of(enabled_primary_live="N"))
    assert [each.text for each in remarks_of(off)] == [
        "FastTree-cluster-transfer-live is Y, and FastTree-enabled-primary-live is not: live has no cluster"
    ]


def test_the_page_has_every_key_as_the_code_does() -> None:
    page = (Path(__file__).parents[2] / "docs/datatrax.md").read_text()
    rows = [
        f"| `{key.name}{'-<environment>' if key.is_by_environment else ''}` | {key.kind.words} | {key.default} | "
        f"{key.effect} | {key.when} | {key.meaning} |"
        for key in KEYS
    ]
    assert "\n".join(rows) in page


def test_nodes_that_share_a_machine_have_ports_of_their_own() -> None:
    shared = {1: Host("10.0.0.1", 50100, 50202), 2: Host("10.0.0.1", 50101, 50203), 3: Host("127.0.0.1", 1, 2)}
    assert said(file_of(), shared) == []
    assert len(said(file_of(), {1: shared[1]})) == 1


def test_a_long_file_is_read_in_time_that_grows_with_it() -> None:
    text = file_of(*(f"key-of-others-{number}=1" for number in range(20_000)))
    assert len(configuration_of(text).unknown) == 20_000


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"#" * ((1 << 20) + 1))
    for name in ("absent", "large", "."):
        with pytest.raises(SettingsError, match="can't read it"):
            read_configuration(tmp_path / name)


# -- the files of a cluster


def test_the_samples_cluster_is_written_in_our_words(tmp_path: Path) -> None:
    files = converted(sample(), "test", list(HOSTS.values()), "dtx01.example.com", tmp_path)
    assert list(files) == ["cluster.toml", "hosts.50201", "endpoints.json"]
    settings = tomllib.loads(files["cluster.toml"].decode())
    assert settings["cluster"] == {
        "name": "dot-pre-test",
        "hosts_file": str(tmp_path / "hosts.50201"),
        "coordinator": "dtx01.example.com:50400",
        "customers_are_rank_zero": True,
    }
    assert settings["pusher"]["upload_folder"] == "/fasttree/upload"
    assert settings["treenode"]["state_folder"] == "/fasttree/dot/pre/treenode"
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    assert read_hosts_file(tmp_path / "hosts.50201") == list(HOSTS.values())
    endpoints = Endpoints.read(tmp_path / "endpoints.json")
    assert endpoints.vip == "gvp01.dot.client.infotraxsys.com:50100"
    assert [node.name for node in endpoints.nodes] == ["ftsp01", "ftsp02"]
    assert json.loads(files["endpoints.json"])["pusher"] == "dtx01.example.com:50300"


def test_customers_of_the_file_are_the_first_rules_of_a_new_log(tmp_path: Path) -> None:
    text = SAMPLE.read_text().replace("#FastTree-Customer-Status-List", "FastTree-Customer-Status-List")
    files = converted(configuration_of(text), "test", list(HOSTS.values()), "dtx01", tmp_path)
    (tmp_path / "cluster.toml").write_bytes(files["cluster.toml"])
    settings = tomllib.loads(files["cluster.toml"].decode())["cluster"]
    assert settings["customer_statuses"] == ["X", "Y", "Z"]
    rules = rules_of_settings(ClusterSettings.of(**settings), datetime(2026, 11, 1, tzinfo=UTC))
    assert (rules.customer_statuses, rules.customers_are_rank_zero) == (("X", "Y", "Z"), True)
    assigned = customer_assignments(configuration_of(text))
    assert assigned == ("cluster.customer_statuses=X,Y,Z", "cluster.customers_are_rank_zero=true")
    given = load_settings(ClusterSettings, "cluster", None, dict(each.split("=", 1) for each in assigned))
    assert (given.customer_statuses, given.customers_are_rank_zero) == (["X", "Y", "Z"], True)


def test_nodes_of_one_machine_keep_their_own_ports(tmp_path: Path) -> None:
    hosts = [Host("10.0.0.1", 50100, 50201), Host("10.0.0.1", 50101, 50201)]
    files = converted(sample(), "test", hosts, "::1", tmp_path)
    settings = tomllib.loads(files["cluster.toml"].decode())
    assert "report_port" not in settings["treenode"]
    assert settings["pusher"]["advertise"] == "[::1]:50300"
    names = [node["name"] for node in json.loads(files["endpoints.json"])["nodes"]]
    assert names == ["10.0.0.1-50100", "10.0.0.1-50101"]


@pytest.mark.parametrize(
    ("environment", "hosts", "expected"),
    [
        ("qa", HOSTS, "no environment qa; there are: live, test, sample"),
        (
            "live",
            HOSTS,
            "live has no cluster: set FastTree-enabled-primary-live=Y and FastTree-cluster-transfer-live=Y",
        ),
        ("test", {}, "the host file has no node"),
    ],
)
def test_what_has_no_cluster_is_refused(
    environment: str, hosts: dict[int, Host], expected: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=expected):
        converted(sample(), environment, list(hosts.values()), "dtx01", tmp_path)
