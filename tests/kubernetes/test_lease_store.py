"""The store in a Lease, on a real API server: the conformance tests of every store, as they are."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from services.coordinator.stores.lease_store import LeaseStore
from services.coordinator.stores.store import ClusterStore
from tests.conformance.test_cluster_stores import (
    Open,
    held_lease,
    test_a_new_store_has_nothing_recorded,
    test_a_save_that_expects_something_else_changes_nothing,
    test_odd_names_come_back_as_they_were,
    test_of_two_coordinators_one_wins,
    test_the_active_pusher_is_recorded_beside_and_its_epoch_never_goes_down,
    test_the_epoch_never_goes_down,
    test_two_parts_of_one_record_never_undo_each_other,
    test_what_is_stored_already_may_be_saved_again,
    test_what_was_saved_is_there_after_a_restart,
)
from tests.kubernetes.control_plane import ControlPlane

__all__ = [
    "test_a_new_store_has_nothing_recorded",
    "test_a_save_that_expects_something_else_changes_nothing",
    "test_odd_names_come_back_as_they_were",
    "test_of_two_coordinators_one_wins",
    "test_the_active_pusher_is_recorded_beside_and_its_epoch_never_goes_down",
    "test_the_epoch_never_goes_down",
    "test_two_parts_of_one_record_never_undo_each_other",
    "test_what_is_stored_already_may_be_saved_again",
    "test_what_was_saved_is_there_after_a_restart",
]

_NAMESPACES = itertools.count()


@pytest.fixture
def account(control_plane: ControlPlane, tmp_path: Path) -> Path:
    """A namespace of its own, and what a pod in it would be given."""
    namespace = f"lease-store-{next(_NAMESPACES)}"
    control_plane.kubectl("create", "namespace", namespace)
    folder = tmp_path / "account"
    folder.mkdir()
    (folder / "token").write_text(control_plane.token)
    (folder / "ca.crt").write_text(Path(control_plane.ca_file).read_text())
    (folder / "namespace").write_text(namespace)
    return folder


@pytest.fixture
async def open_store(control_plane: ControlPlane, account: Path) -> Open:
    async def open_kubernetes() -> ClusterStore:
        return await held_lease(control_plane.url, account)

    return open_kubernetes


async def test_a_lease_passes_from_hand_to_hand(control_plane: ControlPlane, account: Path) -> None:
    """Given up, it has no holder; what was recorded stays; and `kubectl` shows whose it is."""
    namespace = (account / "namespace").read_text()

    def holder() -> str:
        shown = control_plane.kubectl(
            "get", "lease", "coordinator", "-n", namespace, "-o", "jsonpath={.spec.holderIdentity}"
        )
        return str(shown.stdout)

    first: LeaseStore = await held_lease(control_plane.url, account)
    assert holder().startswith("coordinator_")
    await first.renew()
    await first.give_up()
    assert holder() == ""
    second = await held_lease(control_plane.url, account)
    lease = await second.read()
    assert lease.holder == holder()
    assert lease.transitions == 0
    third = await held_lease(control_plane.url, account)
    assert (await third.read()).transitions == 1
    for store in (first, second, third):
        await store.close()
