"""`fasttree datatrax config`, as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from fasttree.command.datatrax import reading
from fasttree.command.main import cli
from fasttree.command.session import CommandError, Session
from tests.command.printed import check_printed

SAMPLE = Path(__file__).parents[1] / "datatrax/CBLDATATRAX.2016"


@pytest.fixture
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The host file of 2016, at its usual place."""
    monkeypatch.setattr(reading, "HOSTS_FOLDER", tmp_path)
    file = tmp_path / "hosts.50201"
    file.write_text("ftsp01.dot.client.infotraxsys.com 50100 50201\nftsp02.dot.client.infotraxsys.com 50100 50201\n")
    return file


def run(*words: str | Path, command: str = "datatrax") -> tuple[str, str]:
    """What it prints, and its error."""
    typed = [command, "config", *map(str, words)] if command else [*map(str, words)]
    ran = CliRunner().invoke(cli, typed, obj=Session())
    assert ran.exception is None or isinstance(ran.exception, CommandError), ran.exception
    check_printed(typed, ran.stdout)
    return ran.stdout, str(ran.exception or "")


def test_a_good_file_is_called_good(hosts: Path) -> None:
    assert run("check", SAMPLE) == (f"{SAMPLE}: good (beside {hosts})\n", "")
    hosts.unlink()
    assert f"{hosts} is not there; name it by --hosts" in run("check", SAMPLE)[0]
    told = run("convert", SAMPLE, "--environment", "test", "--to", hosts.parent / "to")[1]
    assert told == f"{hosts} is not there: name the host file by --hosts"
    assert not (hosts.parent / "to").exists()


def test_faults_of_both_files_are_lines_and_json(hosts: Path, tmp_path: Path) -> None:
    file = tmp_path / "CBLDATATRAX"
    file.write_text(SAMPLE.read_text().replace("server-port-test=50100", "server-port-test=x"))
    hosts.write_text("ftsp01 50100\n")
    printed, error = run("check", file)
    first, second = printed.splitlines()
    assert first == f'{file}, line 9: FastTree-server-port-test must be a port from 1 to 65535; found "x"'
    assert second.startswith(f"{hosts}, line 1: expected `host report-port instant-port`")
    assert error == f"{file}: 2 faults"
    content = json.loads(run("check", file, "--json")[0])
    assert [each["place"] for each in content["faults"]] == [f"{file}, line 9", f"{hosts}, line 1"]
    assert content["clusters"] == ["test"]
    assert run("explain", file)[1].endswith("`fasttree datatrax config check` lists every fault")


def test_keys_are_explained(hosts: Path) -> None:
    printed, _ = run("explain", SAMPLE, "--environment", "test", "--wide")
    assert "FastTree-server-port-test" in printed
    assert "what it did in 2016" in printed
    assert "FastTree-server-port-live" not in printed
    assert json.loads(run("explain", SAMPLE, "--json")[0])[0]["name"] == "FastTree-MDIR-live"
    assert run("explain", SAMPLE, "--environment", "qa")[1] == (
        f"{SAMPLE}: no environment qa; there are: live, test, sample"
    )


def test_what_is_converted_is_taken_by_the_services_and_never_written_over(hosts: Path, tmp_path: Path) -> None:
    words = ("convert", SAMPLE, "--environment", "test", "--datatrax-host", "dtx01", "--to", tmp_path / "out")
    printed, error = run(*words)
    assert error == ""
    files = [Path(line) for line in printed.splitlines()[:3]]
    assert [file.name for file in files] == ["cluster.toml", "hosts.50201", "endpoints.json"]
    assert run("config", "check", "--config", files[0], command="") == (
        f"{files[0]}: good; no server that it names was asked, and no port tried\n",
        "",
    )
    before = [file.read_bytes() for file in files]
    assert "is there already" in run(*words)[1]
    assert [file.read_bytes() for file in files] == before


def test_what_can_not_be_written_is_one_line(hosts: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    _, error = run("convert", SAMPLE, "--environment", "test", "--to", tmp_path / "file")
    assert "can't write" in error
    _, error = run("convert", SAMPLE, "--environment", "live", "--to", tmp_path / "out")
    assert "live has no cluster" in error
    assert not (tmp_path / "out").exists()
