"""Records of a log: sealed in their places, opened there alone, beside clear ones, by whichever key."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.shared.files.sealed.errors import SealDamagedError, SealKeyError
from services.shared.files.sealed.own import keys_for_now
from services.shared.files.sealed.records import key_id_of, opened_frames, sealed_frames
from services.shared.wire.record import encode_frames
from tests.shared.files.sealed.own_keys import keys


@settings(max_examples=80, deadline=None)
@given(
    contents=st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=12),
    first=st.integers(1, 2**40),
    by=st.lists(st.sampled_from(["", "one", "two"]), min_size=12, max_size=12),
)
def test_records_come_back_whichever_of_them_are_clear(contents: list[bytes], first: int, by: list[str]) -> None:
    frames = encode_frames(first, contents)
    stored: list[bytes] = []
    for position, (frame, key_id) in enumerate(zip(frames, by, strict=False), first):
        with keys_for_now(keys(key_id) if key_id else None):
            stored += sealed_frames(position, [frame])
        assert key_id_of(stored[-1]) == key_id
    with keys_for_now(keys("one", "two")):
        assert opened_frames(first, b"".join(stored)) == b"".join(frames)


def test_without_keys_nothing_is_changed() -> None:
    frames = encode_frames(7, [b"a", b"b"])
    assert sealed_frames(7, frames) is frames
    data = b"".join(frames)
    assert opened_frames(7, data) is data


def test_every_change_is_found() -> None:
    frames = encode_frames(5, [b"member-10420" * 3, b"member-2"])
    with keys_for_now(keys()):
        first, second = sealed_frames(5, frames)
        assert b"member" not in first + second
        for data in (second + first, first[:-1] + second, first + second[:-1], second):
            with pytest.raises(SealDamagedError, match=r"log record at position [56] is damaged"):
                opened_frames(5, data)
        for place in range(len(first)):
            changed = bytearray(first)
            changed[place] ^= 1 << place % 8
            if place < 5:  # where it begins and how long it is: what comes of it is no frame, as its reader says
                with contextlib.suppress(SealDamagedError):
                    assert opened_frames(5, bytes(changed)) != frames[0]
                continue
            with pytest.raises(SealDamagedError, match="position 5 is damaged"):
                opened_frames(5, bytes(changed))


def test_no_two_records_are_sealed_alike() -> None:
    with keys_for_now(keys()):
        sealed = [*sealed_frames(1, [b"\x0a\x00"] * 100), *sealed_frames(1, [b"\x0a\x00"] * 100)]
    assert len(set(sealed)) == 200


def test_a_missing_key_and_another_one_of_its_id_are_no_damage() -> None:
    with keys_for_now(keys()):
        (stored,) = sealed_frames(5, encode_frames(5, [b"x"]))
    with keys_for_now(None), pytest.raises(SealKeyError, match=r"position 5 is sealed by key one.*sealing\.key_file"):
        opened_frames(5, stored)
    with keys_for_now(keys("two")), pytest.raises(SealKeyError, match="which is not in"):
        opened_frames(5, stored)
    with keys_for_now(keys(secret=b"t")), pytest.raises(SealKeyError, match="another key one"):
        opened_frames(5, stored)
