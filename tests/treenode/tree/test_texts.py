"""Texts of further columns: what goes in comes out, stays while more comes, and is given back once nobody has it."""

from __future__ import annotations

import ctypes
import json
import mmap
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.shared.domain.limits import NO_NUMBER
from services.treenode.tree import FurtherColumn, Tree
from services.treenode.tree.columns import texts as texts_module
from services.treenode.tree.columns.text_hash import CHUNK_BYTES, LENGTH_BITS
from services.treenode.tree.columns.text_kernels import texts_among, texts_between
from services.treenode.tree.columns.texts import Texts
from services.treenode.tree.kernels.addresses import address_of
from services.treenode.tree.kernels.kernel import AnyArray, Int64s, text_hash
from tests.treenode.tree.judge import CONFIG, naive_tree, table_of, tree_of
from tests.treenode.tree.naive import Place
from tests.treenode.tree.reads import row_of, texts_of
from tests.treenode.tree.say import enrol, order, remove, take, update

TEXTS = st.lists(
    st.text(max_size=300) | st.sampled_from(["", "US", "x" * 127, "x" * 128, "x" * 129, "é" * 512]), max_size=20
)


def taken(batches: list[list[str]]) -> tuple[Texts, Int64s]:
    texts = Texts()
    found = [texts.append([text.encode() for text in batch]) for batch in batches]
    return texts, np.concatenate([np.empty(0, np.int64), *found])


def array_of(text: bytes) -> AnyArray:
    return np.frombuffer(bytearray(text) + b"\0", np.uint8)[:-1]


@given(st.lists(TEXTS, max_size=4))
@settings(deadline=None)
def test_texts_come_out_as_they_went_in(batches: list[list[str]]) -> None:
    texts, references = taken(batches)
    every = [text for batch in batches for text in batch]
    assert [texts.text_at(reference) for reference in references.tolist()] == every
    assert texts.has_all(references)
    assert texts.hashes(references).tolist() == [text_hash(text) if text else 0 for text in every]
    joined, offsets = texts.joined(references)
    assert joined.tobytes() == "".join(every).encode()
    assert np.diff(offsets).tolist() == [len(text.encode()) for text in every]


@pytest.mark.parametrize("step", [1, 7, 383])
def test_a_hash_is_that_of_its_text_whatever_is_hashed_beside_it(step: int) -> None:
    """Texts of every length, long ones beside short ones, some of them again while they are still being hashed."""
    every = [bytes((length + place) % 256 for place in range(length)) for length in range(1025)]
    texts = Texts()
    references = texts.append(every)
    order = np.arange(0, 1025 * step, step) % 1025
    order = np.repeat(order, 2)
    assert texts.hashes(references[order]).tolist() == [text_hash(every[at]) if at else 0 for at in order.tolist()]


def test_a_text_is_hashed_that_ends_where_memory_does() -> None:
    """Texts of every length at the end of a page behind which there is none."""
    with mmap.mmap(-1, 2 * mmap.PAGESIZE) as pages:
        segment = np.frombuffer(pages, np.uint8)
        assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(address_of(segment) + mmap.PAGESIZE), mmap.PAGESIZE, 0) == 0
        page = segment[: mmap.PAGESIZE]
        page[:] = np.arange(mmap.PAGESIZE) % 251
        lengths = np.arange(1, 200)
        references = ((mmap.PAGESIZE - lengths) << LENGTH_BITS) | lengths
        hashes = Texts([page]).hashes(references)
        assert hashes.tolist() == [text_hash(page[-length:].tobytes()) for length in lengths.tolist()]
        del segment, page


def test_the_digest_of_texts_is_that_of_every_version() -> None:
    """Nodes of different versions compare it."""
    naive = naive_tree()
    naive.places.update(A=Place(), B=Place(sponsor="A"), C=Place(sponsor="A"))
    table = table_of(naive)
    table.further["name"] = FurtherColumn.of_texts(["Béla Ferreira-1", "", "x" * 300])
    table.further["points"] = FurtherColumn("integer", np.array([NO_NUMBER, -3, 2**40]))
    # Rules of version 1, as they were then: later versions' own fields leave no trace in it.
    assert Tree.from_table(table, replace(CONFIG, version=1), 1, 0).digest == 0x1839E23183511F33


@given(TEXTS, TEXTS, st.text(max_size=3), st.text(max_size=3))
@settings(deadline=None)
def test_texts_are_compared_as_python_compares_them(every: list[str], wanted: list[str], low: str, high: str) -> None:
    texts, references = taken([every])
    out = np.empty(len(every), np.uint8)
    texts_between(references, texts.table, array_of(low.encode()), array_of(high.encode()), bool(high), out)
    assert out.tolist() == [int(text != "" and low <= text and (not high or text <= high)) for text in every]
    encoded = sorted({text.encode() for text in wanted if text})
    starts = np.concatenate(([0], np.cumsum([len(text) for text in encoded]))).astype(np.int64)
    texts_among(references, texts.table, array_of(b"".join(encoded)), starts, "" in wanted, out)
    assert out.tolist() == [int(text in wanted) for text in every]


def test_more_than_a_segment_comes_and_nothing_that_was_there_moves() -> None:
    texts = Texts()
    first = texts.append([b"first"])
    table, segments = texts.table, texts.segments
    references, every = [], []
    for number in range(60):
        batch = [f"{number}-{place}".encode() * 9 for place in range(3_000)] + [b"y" * 1024] * 40
        references.append(texts.append(batch))
        every += batch
    whole = np.concatenate(references)
    assert texts.size_bytes == 5 + sum(map(len, every)) == sum(map(len, texts.segments))
    assert len(texts.segments) > 3
    assert max(whole) >> LENGTH_BITS > 5 * CHUNK_BYTES
    assert [texts.bytes_at(reference) for reference in whole[::997].tolist()] == every[::997]
    assert texts.hashes(whole[::997]).tolist() == [text_hash(text) for text in every[::997]]
    # What a copy of rows has is as it was.
    assert segments[0].tobytes() == b"first"
    assert (table[0], texts.bytes_at(int(first[0]))) == (texts.table[0], b"first")
    again = Texts(texts.segments)
    assert [again.bytes_at(reference) for reference in whole[::997].tolist()] == every[::997]
    assert not again.has_all(whole + (again.size_bytes << LENGTH_BITS))
    more = again.append([b"more"])
    assert (again.bytes_at(int(more[0])), texts.size_bytes + 4) == (b"more", again.size_bytes)


@given(st.lists(st.integers(1, 5 * CHUNK_BYTES), min_size=1, max_size=8))
@settings(deadline=None, max_examples=25)
def test_segments_that_are_read_back_have_every_text_where_it_was(sizes_bytes: list[int]) -> None:
    """Whatever was left free at the end of one when the next text did not fit."""
    texts, every, references = Texts(), [], []
    for number, size_bytes in enumerate(sizes_bytes):
        batch = [bytes([65 + number]) * 1024] * (size_bytes // 1024) + [b"%d" % number]
        every += batch
        references.append(texts.append(batch))
        whole = np.concatenate(references)
        for found in (texts, Texts(texts.segments)):
            assert found.has_all(whole)
            assert found.joined(whole)[0].tobytes() == b"".join(every)
            assert [found.bytes_at(int(each)) for each in whole[[0, -1]]] == [every[0], every[-1]]


def test_a_text_beside_those_that_are_there_costs_no_copy_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new segment is bounded, however much there is."""
    monkeypatch.setattr(texts_module, "_SEGMENT_BYTES_MAX", 2 * CHUNK_BYTES)
    texts = Texts([np.zeros(100 * CHUNK_BYTES, np.uint8)])
    before = texts.segments[0]
    texts.append([b"x"])
    assert texts.segments[0].ctypes.data == before.ctypes.data
    assert texts._segments[1].nbytes == 2 * CHUNK_BYTES


def some_tree(count: int = 40) -> Tree:
    naive = naive_tree()
    for number in range(count):
        above = f"m{number // 3}" if number else ""
        naive.places[f"m{number}"] = Place(sponsor=above, columns={"city": f"city {number}", "team": "T"})
    return tree_of(naive)


def cities(tree: Tree) -> dict[str, str]:
    return {name: tree.further["city"].text_at(row_of(tree, name)) for name in ("m1", "m7", "m39", "new")}


def test_a_fresh_layout_leaves_replaced_texts_behind() -> None:
    tree = some_tree()
    for round_number in range(50):
        changes = [
            update(
                member_changed={"member_id": f"m{number}", "columns": {"city": f"{'x' * 500} {round_number}-{number}"}}
            )
            for number in range(1, 40)
        ]
        assert not take(tree, *changes)
    assert not take(tree, remove("m39"), enrol("new", "m1", columns={"city": "N"}), enrol("m39", "m1"))
    assert tree.further.dead_bytes > 900_000
    fresh = tree.relayout()
    assert fresh.digest == tree.digest
    fresh.validate()
    assert cities(fresh) == cities(tree) == {
        "m1": f"{'x' * 500} 49-1", "m7": f"{'x' * 500} 49-7", "m39": "", "new": "N"
    }  # fmt: skip
    assert fresh.further.dead_bytes == 0
    assert fresh.further["city"].texts.size_bytes < 21_000
    # Rows that share a text share it still.
    assert fresh.further["team"].texts.size_bytes <= 40


def test_enrolments_with_columns_give_the_same_in_a_batch_and_one_by_one() -> None:
    updates = []
    for number in range(200):
        columns = {"city": f"{number} \u00e9" * (number % 4), "team": f"t{number % 7}"} if number % 3 else {}
        if number % 50 == 9:
            columns["no such"] = "x"
        if number % 50 == 19:
            columns["city"] = "\0"
        updates.append(enrol(f"n{number}", f"n{number - 1}" if number % 11 and number else "m3", columns=columns))
        if number % 40 == 5:
            updates += [order(f"n{number + 3}", 7), enrol(f"n{number}", "m1")]
    alone, together = some_tree(), some_tree()
    digests = []
    for each in updates:
        alone.apply(alone.position + 1, [each])
        digests.append(alone.digest)
    together.apply(1, updates)
    assert [together.digest_at(position) for position in range(1, len(updates) + 1)] == digests
    assert together.rejected() == alone.rejected()
    assert len(together.rejected()) == 13
    for number in range(0, 200, 7):
        row, other = row_of(together, f"n{number}"), row_of(alone, f"n{number}")
        assert (row < 0) == (other < 0)
        if row < 0:
            continue
        for name in ("city", "team"):
            assert together.further[name].text_at(row) == alone.further[name].text_at(other)
    together.validate()
    alone.validate()


def test_a_state_of_codes_as_earlier_versions_wrote_it_is_read() -> None:
    tree = some_tree()
    meta, arrays = tree.state()
    old: dict[str, AnyArray] = {name: array for name, array in arrays.items() if not name.startswith("texts.")}
    further: list[Any] = []
    for name, column in tree.further.items():
        texts = [column.text_at(row) for row in range(tree.store.used)]
        names = ["", *sorted(set(texts) - {""})]
        old[f"further.{name}"] = np.array([names.index(text) for text in texts], np.int32)
        further.append([name, "text", names])
    restored = Tree.from_state({**meta, "further": further}, old)
    restored.validate()
    assert restored.digest == tree.digest
    assert not take(restored, enrol("new", "m1", columns={"city": "N", "team": "T"}))
    assert not take(tree, enrol("new", "m1", columns={"city": "N", "team": "T"}))
    assert restored.digest == tree.digest
    assert cities(restored) == cities(tree)


def test_a_table_of_texts_is_what_it_was_made_of() -> None:
    texts = ["", "a", "", "Zürich", "a"]
    assert texts_of(FurtherColumn.of_texts(texts)) == texts
    assert texts_of(FurtherColumn.of_texts([""])) == [""]


def described_bytes(members: int) -> int:
    naive = naive_tree()
    for number in range(members):
        columns = {"name": f"Member number {number:09}", "email": f"{number}@example.com"}
        naive.places[f"m{number:06}"] = Place(sponsor="m000000" if number else "", columns=columns)
    return len(json.dumps(tree_of(naive).state()[0]))


def test_as_many_texts_as_there_are_members_make_a_states_description_no_longer() -> None:
    """It stands in the header of a snapshot, which has a longest length: a name for each of millions would not fit."""
    assert described_bytes(2_000) <= described_bytes(20) + 50
