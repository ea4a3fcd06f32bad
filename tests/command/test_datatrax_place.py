"""What `fasttree up` takes from CBLDATATRAX."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from fasttree.command.local.cluster_folder import ClusterFolder
from fasttree.command.local.datatrax_place import DataTraxPlace, place_of
from fasttree.command.local.parts import ClusterPlan
from fasttree.command.session import CommandError
from tests.datatrax.least_file import file_of

SAMPLE = Path(__file__).parents[1] / "datatrax/CBLDATATRAX.2016"


def taken(folder: Path, *, file: Path | None = None, environment: str = "", root: Path | None = None) -> DataTraxPlace:
    place = place_of(folder, None, file, environment, root)
    assert place is not None
    return place


def test_the_file_in_the_folder_says_ports_and_folders(tmp_path: Path) -> None:
    (tmp_path / "CBLDATATRAX").write_bytes(SAMPLE.read_bytes())
    place = taken(tmp_path, root=tmp_path / "root")
    assert (place.port, place.spool, place.hosts) == (50201, tmp_path / "FT50201", tmp_path / "hosts.50201")
    assert place.configured is not None
    assert place.configured[1:] == (
        "test", str(tmp_path / "root"), "dot-pre-test", ("cluster.customers_are_rank_zero=true",), 50100, 50201,
        tmp_path / "root/fasttree/dot/pre", tmp_path / "root/fasttree/upload",
    )  # fmt: skip


def test_every_process_is_started_by_it(tmp_path: Path) -> None:
    (tmp_path / "CBLDATATRAX").write_bytes(SAMPLE.read_bytes())
    home = ClusterFolder(tmp_path / "home")
    place = taken(tmp_path, root=tmp_path / "root")
    plan = ClusterPlan(home, host="127.0.0.1", vip_port=1, nodes=["n1", "n2"], assignments=(), datatrax=place)
    said = {child.name: [word for word in child.command if "=" in word] for child in plan.children()}
    kept = tmp_path / "root/fasttree/dot/pre"
    assert "cluster.customers_are_rank_zero=true" in said["pusher"]
    assert f"coordinator.state_folder={kept / 'coordinator'}" in said["coordinator"]
    assert f"treenode.state_folder={kept / 'treenode/n2'}" in said["n2"]
    assert f"pusher.upload_folder={tmp_path / 'root/fasttree/upload'}" in said["pusher"]
    assert "datatrax.environment=test" in said["datatrax"]
    for part in ("coordinator", "n1", "pusher", "datatrax"):
        assert "cluster.name=dot-pre-test" in said[part]
    assert plan.upload == tmp_path / "root/fasttree/upload"


def test_without_the_file_all_is_as_it_was(tmp_path: Path) -> None:
    assert taken(tmp_path) == DataTraxPlace(tmp_path, 50201)
    assert place_of(None, None, None, "", None) is None
    plan = ClusterPlan(
        ClusterFolder(tmp_path / "home"), host="127.0.0.1", vip_port=1, nodes=["n1"], assignments=(),
        datatrax=taken(tmp_path),
    )  # fmt: skip
    assert plan.upload == tmp_path / "home/upload"


def test_a_file_of_another_name_and_of_no_upload(tmp_path: Path) -> None:
    (tmp_path / "other").write_text(file_of("FastTree-Instant-Server-Port=50909"))
    place = taken(tmp_path, file=tmp_path / "other")
    assert place.port == 50909
    assert place.configured is not None
    assert (place.configured.upload, place.configured.kept) == (None, Path("/fasttree/live"))


@pytest.mark.parametrize(
    ("text", "environment", "expected"),
    [
        (file_of(), "qa", "no environment qa; there are: live"),
        (file_of(enabled_primary_live="N"), "live", "live has no cluster: set FastTree-enabled-primary-live=Y and"),
        (
            file_of(enabled_primary_live="N"),
            "",
            "which environment is meant must be said: of live, none have a cluster",
        ),
        (file_of(server_port_live="x"), "live", "line 7: FastTree-server-port-live must be a port"),
        ("", "live", "no section [FastTree]"),
    ],
)
def test_what_can_not_be_started_is_told_with_the_mend(
    tmp_path: Path, text: str, environment: str, expected: str
) -> None:
    (tmp_path / "CBLDATATRAX").write_text(text)
    with pytest.raises(CommandError, match=str(tmp_path)) as told:
        taken(tmp_path, environment=environment)
    assert expected in str(told.value)


def test_what_means_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(click.UsageError, match="--environment and --root means nothing without --datatrax"):
        place_of(None, None, None, "test", tmp_path)
    with pytest.raises(CommandError, match="CBLDATATRAX does not exist, and --environment and --root speak of it"):
        place_of(tmp_path, None, None, "test", None)


def test_the_companys_own_host_file_is_kept(tmp_path: Path) -> None:
    """It may want to go back."""
    own = b"ftsp01.dot.client.infotraxsys.com 50100 50201\n"
    (tmp_path / "hosts.50201").write_bytes(own)
    place = taken(tmp_path)
    place.write_hosts(["127.0.0.1 1 2"])
    place.write_hosts(["127.0.0.1 3 4"])
    assert (tmp_path / "hosts.50201.before").read_bytes() == own
    assert place.hosts.read_text().endswith("\n127.0.0.1 3 4\n")
    for content in (b"10.0.0.1 1 2\n", own, b"10.0.0.1 1 2\n"):
        place.hosts.write_bytes(content)
        place.write_hosts(["127.0.0.1 3 4"])
    assert (tmp_path / "hosts.50201.before").read_bytes() == own
    assert (tmp_path / "hosts.50201.before-2").read_bytes() == b"10.0.0.1 1 2\n"
    assert len(list(tmp_path.glob("hosts.*"))) == 3
