"""What `fasttree up` starts."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from fasttree.command.local.cluster_folder import ClusterFolder
from fasttree.command.local.parts import VIP, ClusterPlan
from fasttree.command.local.starting.counts import Counts, counts_of, keep_counts
from fasttree.command.session import CommandError


@pytest.mark.parametrize("threads", [1, 3])
def test_the_vip_has_as_many_threads_as_it_is_given(tmp_path: Path, threads: int) -> None:
    folder = ClusterFolder(tmp_path)
    plan = ClusterPlan(folder, host="127.0.0.1", vip_port=1, nodes=["n1"], assignments=(), vip_threads=threads)
    (vip,) = [child for child in plan.children() if child.name == VIP]
    place = vip.command.index("--concurrency")
    assert vip.command[place + 1] == str(threads)


def test_no_part_is_given_the_port_of_the_vip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which nobody listens on yet."""
    monkeypatch.setattr("fasttree.command.local.parts.free_ports", lambda host, count: list(range(7000, 7000 + count)))
    for vip_port in range(7000, 7010):
        folder = ClusterFolder(tmp_path / str(vip_port))
        plan = ClusterPlan(folder, host="127.0.0.1", vip_port=vip_port, nodes=["n1"], assignments=(), vip_threads=1)
        there = plan.endpoints(lambda part: 1)
        nodes = [(node.report, node.instant, node.http) for node in there.nodes]
        addresses = [there.vip, there.pusher, there.coordinator, *there.http.values(), *itertools.chain(*nodes)]
        assert len(set(addresses)) == len(addresses) == 8


def test_the_next_start_has_as_many_coordinators_and_pushers(tmp_path: Path) -> None:
    home = ClusterFolder(tmp_path)
    shared = ("coordinator.store=postgresql", "coordinator.postgresql_url=postgresql://u@db1/x")
    assert counts_of(home, None, None, ()) == Counts(1, 1)
    keep_counts(home, counts_of(home, 2, 3, shared))
    assert counts_of(home, None, None, shared) == Counts(2, 3)
    keep_counts(home, counts_of(home, None, 1, shared))
    assert counts_of(home, 1, None, ()) == Counts(1, 1)
    assert (tmp_path / "coordinators").read_text() == "coordinator\ncoordinator-2\n"
    (tmp_path / "pushers").write_text("pusher-2\n")
    with pytest.raises(CommandError, match="pushers must have the first names of pusher, pusher-2, "):
        counts_of(home, 1, None, ())
    (tmp_path / "pushers").write_bytes(b"\xff\xfe")
    with pytest.raises(CommandError, match="pushers is no text: remove it, and the next start writes it anew"):
        counts_of(home, 1, None, ())


def test_several_coordinators_need_one_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is one coordinator's; each of several has a name, and an address that is everybody's."""
    home = ClusterFolder(tmp_path)
    mend = 'set coordinator.store = "postgresql" and coordinator.postgresql_url, or "etcd" and '
    for store, what in (("", "in a file, which is one coordinator's alone"), ("kubernetes", "in kubernetes")):
        given = (f"coordinator.store={store}",) if store else ()
        with pytest.raises(CommandError, match=f"2 coordinators need one record.* {what}: {mend}"):
            counts_of(home, 2, None, given)
    home.settings.write_text('[coordinator]\nstore = "etcd"\n')
    assert counts_of(home, 2, None, ()) == Counts(2, 1)
    plan = ClusterPlan(home, host="127.0.0.1", vip_port=1, nodes=["n1"], assignments=(), coordinators=2)
    at = dict(zip(plan.coordinator_names, plan.endpoints(lambda part: 1).coordinator.split(","), strict=True))
    by_name = {child.name: child.command for child in plan.children()}
    for name, address in at.items():
        assert f"coordinator.name={name}" in by_name[name]
        assert f"coordinator.advertise={address}" in by_name[name]
    assert f"cluster.coordinator={','.join(at.values())}" in by_name["n1"]
