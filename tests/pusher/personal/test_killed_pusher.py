"""A pusher, killed at each moment of an erasure: between the vault and the log too."""

from __future__ import annotations

from pathlib import Path

from fasttree.v1 import types_pb2
from services.pusher.personal.sealing import ERASED_PREFIX
from services.shared.personal.tokens import is_token
from services.shared.python_process import python_command
from tests.pusher.personal.killed import MEMBERS, Pusher, pusher
from tests.pusher.personal.test_histories import records
from tests.shared.files.moments import moments, put_back

UPDATES = 10


def phone(member_id: str, number: int) -> str:
    return f"<{member_id} {number}>"


def check(ours: Pusher, erasures: list[str]) -> None:
    """What the log has leads to what was not erased, and to nothing else."""
    found: list[str] = []
    shown: dict[str, list[str]] = {each: [] for each in MEMBERS}
    for _, update in records(ours.store):
        if update.HasField("member_erased"):
            found.append(update.update_id)
        else:
            change = update.member_changed
            assert is_token(change.columns["phone"])
            shown[change.member_id] += ours.vault.opened().revealed([change.columns["phone"]])
    assert found == erasures
    assert shown == {
        MEMBERS[0]: [""] * UPDATES if erasures else [phone(MEMBERS[0], of) for of in range(UPDATES)],
        MEMBERS[1]: [phone(MEMBERS[1], of) for of in range(UPDATES)],
    }


def test_an_erasure_is_done_with_its_record_or_was_not_begun(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    with pusher(state) as ours:
        for of in range(UPDATES):
            for member_id in MEMBERS:
                change = types_pb2.MemberChanged(member_id=member_id, columns={"phone": phone(member_id, of)})
                ours.put(types_pb2.Update(update_id=f"{member_id}-{of}", member_changed=change))
        check(ours, [])
    found = moments(python_command("tests.pusher.personal.killed", str(state)), state)
    again = 0
    for number, left in enumerate(found):
        folder = tmp_path / str(number)
        put_back(left, folder)
        with pusher(folder) as ours:
            is_erased = ours.vault.opened().erasure(MEMBERS[0]) is not None
            waits = ours.vault.opened().not_logged()
            for update_id, member_id in waits:  # as a pusher's start does
                ours.erase(update_id, member_id)
            check(ours, [f"{ERASED_PREFIX}1"] if is_erased else [])
            assert ours.vault.opened().not_logged() == []
            again += bool(waits)
        data = b"".join(file.read_bytes() for file in folder.iterdir())
        assert any(phone(MEMBERS[0], of).encode() in data for of in range(UPDATES)) == (not is_erased)
    assert 0 < again < len(found)
