"""The coordinators' record on a real etcd: members that die, TLS, a user, a key that is another's, and turns."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.cluster.cluster import free_port
from bench.servers.etcd_members import Etcd, running_etcd
from fasttree.etcd.v1 import etcd_pb2
from services.coordinator.election.events import Recorded
from services.coordinator.stores.etcd import EtcdLease
from services.coordinator.stores.etcd_client import EtcdClient, EtcdError, NotKnownError
from services.coordinator.stores.etcd_settings import EtcdSettings
from services.coordinator.stores.store import StoreError
from tests.conformance.test_cluster_stores import held_key
from tests.kubernetes.control_plane import certify
from tests.waiting import until

KEY = "/fasttree/dot-test/coordinator"


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[Etcd]:
    (tmp_path / "etcd").mkdir()
    with running_etcd(tmp_path / "etcd", members=3) as running:
        yield running


async def test_a_write_goes_by_the_revision_that_it_names(etcd: Etcd) -> None:
    client = EtcdClient(EtcdSettings(etcd_endpoints=etcd.endpoints), 10.0)
    assert await client.get(b"k") is None
    assert await client.replace(b"k", b"one", 7) == 0
    first = await client.replace(b"k", b"one", 0)
    assert first > 0
    assert await client.replace(b"k", b"other", 0) == 0
    second = await client.replace(b"k", b"two", first)
    assert second > first
    assert await client.replace(b"k", b"late", first) == 0
    # The answer was lost, and the same write is tried again: it was done, and is found to be.
    assert await client.replace(b"k", b"two", first) == second
    found = await client.get(b"k")
    assert found is not None
    assert (found.value, found.mod_revision) == (b"two", second)
    await client.close()


async def test_members_that_die_are_passed_over_while_a_majority_is_well(etcd: Etcd) -> None:
    store = await held_key(etcd.endpoints, KEY)
    leader = etcd.leader()
    leader.kill()
    # As the active coordinator does: what failed is tried again, and what it had recorded stands.
    first = Recorded(epoch=1, primary="a", primary_incarnation="a1")

    async def saved() -> bool:
        with contextlib.suppress(StoreError):
            if await store.load() != first:
                await store.save(first, Recorded())
            return True
        return False

    await until(saved, "a write by the two that are left")
    assert await store.load() == first
    (other := next(member for member in etcd.members if member.process is not None)).kill()
    with pytest.raises(StoreError):
        await store.renew()
    other.start()
    leader.start()

    async def goes_on() -> bool:
        with contextlib.suppress(StoreError):
            await store.read()  # an earlier try may have been done: the core looks too before it goes on
            return bool(await store.renew())
        return False

    await until(goes_on, "a write once a majority is back")
    assert await store.load() == first
    await store.close()


async def test_nobody_there_is_not_known_for_a_write(tmp_path: Path) -> None:
    client = EtcdClient(EtcdSettings(etcd_endpoints=[f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"]), 1.0)
    with pytest.raises(NotKnownError, match=r"etcd at 127\.0\.0\.1:.*; etcd at 127\.0\.0\.1:"):
        await client.replace(b"k", b"v", 0)
    with pytest.raises(EtcdError, match=r"UNAVAILABLE|DEADLINE_EXCEEDED"):
        await client.get(b"k")
    await client.close()


async def test_calls_are_encrypted_by_files(tmp_path: Path) -> None:
    certificate = tmp_path / "server.crt"
    certify(certificate, "IP:127.0.0.1")
    (tmp_path / "etcd").mkdir()
    with running_etcd(tmp_path / "etcd", certificate=certificate) as etcd:
        client = EtcdClient(EtcdSettings(etcd_endpoints=etcd.endpoints, etcd_ca_file=str(certificate)), 10.0)
        assert await client.replace(b"k", b"v", 0) > 0
        await client.close()
        # Signed by another one, or by a file that is not there: an error that names it, and nothing is asked in clear.
        stranger = tmp_path / "stranger.crt"
        certify(stranger, "IP:127.0.0.1")
        distrusting = EtcdClient(EtcdSettings(etcd_endpoints=etcd.endpoints, etcd_ca_file=str(stranger)), 2.0)
        with pytest.raises(EtcdError, match="etcd at"):
            await distrusting.get(b"k")
        await distrusting.close()
        lacking = EtcdClient(EtcdSettings(etcd_endpoints=etcd.endpoints, etcd_ca_file=str(tmp_path / "none")), 2.0)
        with pytest.raises(EtcdError, match=r"coordinator\.etcd_ca_file: .*none can't be read: No such file"):
            await lacking.get(b"k")
        await lacking.close()


async def test_a_client_shows_its_certificate_where_etcd_asks_for_one(tmp_path: Path) -> None:
    certificate, own, stranger = (tmp_path / f"{name}.crt" for name in ("server", "client", "stranger"))
    for path in (certificate, own, stranger):
        certify(path, "IP:127.0.0.1")
    (tmp_path / "etcd").mkdir()
    with running_etcd(tmp_path / "etcd", certificate=certificate, client_ca=own) as etcd:

        def client(shown: Path | None) -> EtcdClient:
            files = {"etcd_cert_file": str(shown), "etcd_key_file": str(shown.with_suffix(".key"))} if shown else {}
            settings = EtcdSettings(etcd_endpoints=etcd.endpoints, etcd_ca_file=str(certificate), **files)
            return EtcdClient(settings, 10.0 if shown is own else 1.0)

        welcome = client(own)
        assert await welcome.replace(b"k", b"v", 0) > 0
        await welcome.close()
        for refused in (client(None), client(stranger)):
            with pytest.raises(EtcdError, match="etcd at"):
                await refused.get(b"k")
            await refused.close()


class Admin(EtcdClient):
    """What makes users and roles, by a few fields that the product does not need."""

    async def admin(self, path: str, fields: dict[int, bytes]) -> None:
        body = b"".join(bytes([number << 3 | 2, len(value)]) + value for number, value in fields.items())
        call: Any = self._connected().unary_unary(f"/etcdserverpb.Auth/{path}")
        await call(body, timeout=10.0)


async def test_a_user_by_a_file(tmp_path: Path) -> None:
    (tmp_path / "etcd").mkdir()
    with running_etcd(tmp_path / "etcd") as etcd:
        admin = Admin(EtcdSettings(etcd_endpoints=etcd.endpoints), 10.0)
        await admin.admin("UserAdd", {1: b"root", 2: b"of the root"})
        await admin.admin("RoleAdd", {1: b"root"})
        await admin.admin("UserGrantRole", {1: b"root", 2: b"root"})
        await admin.admin("UserAdd", {1: b"coordinator", 2: b"sec:ret"})
        await admin.admin("UserAdd", {1: b"stranger", 2: b"sec:ret"})
        await admin.admin("RoleAdd", {1: b"fasttree"})
        # May read and write (2) this key alone.
        permission = b"\x08\x02\x12" + bytes([len(KEY)]) + KEY.encode()
        await admin.admin("RoleGrantPermission", {1: b"fasttree", 2: permission})
        await admin.admin("UserGrantRole", {1: b"coordinator", 2: b"fasttree"})
        await admin.admin("AuthEnable", {})
        await admin.close()

        def client(text: str) -> EtcdClient:
            path = tmp_path / "user"
            path.write_text(text)
            return EtcdClient(EtcdSettings(etcd_endpoints=etcd.endpoints, etcd_user_file=str(path)), 10.0)

        own = client("coordinator:sec:ret\n")
        revision = await own.replace(KEY.encode(), b"v", 0)
        assert revision > 0
        own._token = "gone.1"  # as one that has expired
        assert await own.replace(KEY.encode(), b"w", revision) > revision
        with pytest.raises(EtcdError, match=r"PERMISSION_DENIED.*coordinator\.etcd_user_file"):
            await own.get(b"another")
        await own.close()
        for text, said in (
            ("stranger:sec:ret", "PERMISSION_DENIED"),
            ("coordinator:wrong", "see coordinator.etcd_user_file"),
            ("coordinator", "must hold one line, user:password"),
        ):
            refused = client(text)
            with pytest.raises(EtcdError) as caught:
                await refused.get(KEY.encode())
            assert said in str(caught.value)
            assert "wrong" not in str(caught.value)
            assert "ret" not in str(caught.value).replace("fasttree", "")
            await refused.close()


@pytest.mark.parametrize(
    ("value", "said"),
    [(b"no JSON", "can't be read"), (b'{"metadata": 7}', "holds something else"), (b"[]", "can't be read")],
)
async def test_another_ones_key_is_left_alone(etcd: Etcd, value: bytes, said: str) -> None:
    client = EtcdClient(EtcdSettings(etcd_endpoints=etcd.endpoints), 10.0)
    revision = await client.replace(KEY.encode(), value, 0)
    lease = EtcdLease(client, KEY)
    with pytest.raises(StoreError, match=rf"etcd key {KEY} .*{said}.*coordinator\.etcd_key"):
        await lease.get()
    assert await client.get(KEY.encode()) == etcd_pb2.KeyValue(
        key=KEY.encode(), create_revision=revision, mod_revision=revision, version=1, value=value
    )
    await lease.close()
