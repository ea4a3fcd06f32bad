"""What `fasttree erase` says, of a real pusher."""

from __future__ import annotations

from pathlib import Path

from fasttree.client import Endpoints
from fasttree.v1 import pusher_pb2, types_pb2
from services.shared.domain.updates import OWN_ID_PREFIX
from tests.command.fasttree_command import FastTree
from tests.pusher.personal.test_personal_values import declared
from tests.pusher.running_pusher import push, running_pusher, stub_of


def changed(member_id: str) -> types_pb2.Update:
    change = types_pb2.MemberChanged(member_id=member_id, columns={"phone": "+46 70 111"})
    return types_pb2.Update(update_id=f"u {member_id}", member_changed=change)


async def test_its_words_lead_on(tmp_path: Path) -> None:
    """Each names what to do next as a shell takes it, whatever is in the id; of a mistyped one it says so."""
    folder = tmp_path / "state"
    folder.mkdir()
    async with running_pusher(folder) as pusher, stub_of(pusher) as stub:
        fasttree = FastTree(tmp_path / "command", Endpoints(pusher=f"127.0.0.1:{pusher.server.port}"))
        await push(stub, [declared("phone"), *map(changed, ("10420", "-5", "a b"))])
        position = (await stub.GetPusher(pusher_pb2.GetPusherRequest())).log_end.position + 2
        last = "says whether every node has done so\n"
        for member_id, again in (("10420", "10420"), ("-5", "-- -5"), ("a b", "'a b'")):
            ran = await fasttree("erase", "--", member_id)
            told = f"1 value of {member_id} erased at the pusher; `fasttree erase --status {again}` {last}"
            assert (ran.code, ran.out.partition(": ")[2]) == (0, told)
        nobody = await fasttree("erase", "1042O")
        assert ": 0 values of 1042O erased at the pusher: there was nothing, so look whether the id is" in nobody.out
        done = await fasttree("erase", "--status", "--", "-5")
        assert (done.code, done.out) == (
            0,
            f"erased at position {position}: gone from the pusher and every node; backups are yours to expire\n",
        )
        never = await fasttree("erase", "--status", "10421")
        assert (never.code, never.err) == (1, 'error: no erasure of "10421": `fasttree erase ID` does it\n')
        await pusher.personal._with(lambda vault: vault.erase("10420", f"{OWN_ID_PREFIX}erased-{'0' * 32}"))
        waits = await fasttree("erase", "10420", "--status")
        assert (waits.code, waits.out.partition("; ")[0]) == (
            3,
            "erased at the pusher: the log has no record of it yet, so `fasttree erase 10420` once it takes some",
        )
