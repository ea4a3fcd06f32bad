"""Which position each update of an append gets."""

from __future__ import annotations

from services.pusher.log.engine.placing import Placed, place


def placed(*updates: tuple[str, str], known: dict[str, tuple[int, str]] | None = None) -> Placed[str]:
    """Places updates in a log that ends at 10."""
    ids = [update_id for update_id, _ in updates]
    return place(ids, [content for _, content in updates], dict(known or {}), 11)


def test_new_updates_follow_each_other() -> None:
    told = placed(("a", "1"), ("b", "2"))
    assert told == Placed({"a": "1", "b": "2"}, [11, 12], frozenset(), {})


def test_what_was_there_before_has_its_first_position() -> None:
    told = placed(("a", "1"), ("b", "2"), ("c", "3"), known={"b": (4, "2")})
    assert told == Placed({"a": "1", "c": "3"}, [11, 4, 12], frozenset({1}), {})


def test_other_content_has_no_position_and_uses_up_none() -> None:
    told = placed(("b", "x"), ("c", "3"), known={"b": (4, "2")})
    assert told == Placed({"c": "3"}, [0, 11], frozenset(), {0: 4})


def test_one_append_may_hold_an_id_several_times() -> None:
    told = placed(("a", "1"), ("a", "1"), ("a", "x"), ("b", "2"))
    assert told == Placed({"a": "1", "b": "2"}, [11, 11, 0, 12], frozenset({1}), {2: 11})


def test_nothing_new() -> None:
    assert placed(("b", "2"), known={"b": (4, "2")}) == Placed({}, [4], frozenset({0}), {})
    assert placed() == Placed({}, [], frozenset(), {})
