"""Settings: the file, the environment, the command line, and every way to get them wrong."""

from pathlib import Path

import pytest

from services.shared.config.hosts_file import Host, read_hosts_file
from services.shared.config.load import ClusterSettings, SettingsError, load_settings, parse_overrides


def write(folder: Path, text: str) -> Path:
    file = folder / "cluster.toml"
    file.write_text(text)
    return file


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


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[cluster]\nnmae = "x"\n', "nmae"),
        ("[cluster]\nname = 3\n", "name"),
        ("[clutser]\n", "clutser"),
        ("name = 3\n", "section"),
        ("[cluster\n", "can't read"),
    ],
)
def test_wrong_files_are_named(tmp_path: Path, text: str, said: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(SettingsError) as raised:
        load_settings(ClusterSettings, "cluster", file, {})
    assert said in str(raised.value)
    assert str(file) in str(raised.value)
    assert "\n" not in str(raised.value).strip()


@pytest.mark.parametrize("name", ["cluster", "nowhere.field", "cluster.unknown"])
def test_wrong_overrides_are_named(name: str) -> None:
    with pytest.raises(SettingsError, match=name.partition(".")[2] or name):
        load_settings(ClusterSettings, "cluster", None, {name: "x"})


def test_an_override_without_a_value_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"section\.field=value"):
        parse_overrides(["cluster.name"])


def test_hosts_file(tmp_path: Path) -> None:
    file = tmp_path / "hosts.50201"
    file.write_text("# two servers\n\nftsp01.example.com 50100 50201\nftsp02.example.com\t50100 50201\n")
    assert read_hosts_file(file) == [Host("ftsp01.example.com", 50100, 50201), Host("ftsp02.example.com", 50100, 50201)]


@pytest.mark.parametrize(
    "line", ["host 50100", "host 50100 50201 9", "host zero 50201", "host 0 50201", "host 70000 1"]
)
def test_a_wrong_host_line_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "hosts.50201"
    file.write_text(f"a 1 2\n{line}\n")
    with pytest.raises(SettingsError, match="line 2"):
        read_hosts_file(file)


def test_a_host_twice_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "hosts.50201"
    file.write_text("a 1 2\na 3 2\n")
    with pytest.raises(SettingsError, match="line 2: a:2 stands here twice"):
        read_hosts_file(file)
