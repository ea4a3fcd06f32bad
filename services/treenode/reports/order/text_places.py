"""Where texts stand in an order, for millions of them at once and without a Python object for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from services.shared.domain.limits import NUMBER_LENGTH_MAX
from services.treenode.tree.kernels.kernel import Int64s

_NUMBER = r"^[+-]?[0-9]+(\.[0-9]+)?$"
_ZERO = "0" * NUMBER_LENGTH_MAX


def places_of_texts(texts: Any) -> Int64s:
    """The place of each text, (n,): equal texts have one, and a greater text a greater one. `texts`: of large_string,
    none null. Characters go by their numbers, as the bytes of UTF-8 do.
    """
    # Loaded where it is needed: it makes a node's start longer, and takes memory of its own.
    import pyarrow.compute as pc

    places: Int64s = pc.rank(texts, "ascending", tiebreaker="dense").to_numpy().astype(np.int64)
    return places


def places_of_names(names: Sequence[str]) -> Int64s:
    """The same of a few."""
    places = {name: place for place, name in enumerate(sorted(set(names)))}
    return np.array([places[name] for name in names], np.int64)


def places_as_numbers(texts: Any, *, descending: bool) -> Int64s:
    """The same where texts that are numbers, of NUMBER_LENGTH_MAX characters at most, go by their value: equal numbers
    have one place, whatever they look like. All other texts come after them in an order that runs upwards, and before
    them where it is `descending`: last in both.
    """
    import pyarrow.compute as pc

    are_numbers = pc.and_(
        pc.match_substring_regex(texts, _NUMBER), pc.less_equal(pc.utf8_length(texts), NUMBER_LENGTH_MAX)
    ).to_numpy(zero_copy_only=False)
    count = len(texts)
    places = places_of_texts(texts) + (-2 * count - 1 if descending else count)
    numbers = texts.filter(pa.array(are_numbers))
    digits = pc.replace_substring_regex(numbers, "^[+-]", "")
    before = pc.utf8_lpad(pc.replace_substring_regex(digits, r"\..*$", ""), NUMBER_LENGTH_MAX, "0")
    behind = pc.replace_substring_regex(pc.replace_substring_regex(digits, r"^[0-9]+\.?", ""), "0+$", "")
    magnitudes = pc.binary_join_element_wise(before, behind, pa.scalar("", pa.large_string()))
    values = places_of_texts(magnitudes)
    values[pc.equal(magnitudes, pa.scalar(_ZERO, pa.large_string())).to_numpy(zero_copy_only=False)] = 0
    negative = pc.starts_with(numbers, "-").to_numpy(zero_copy_only=False)
    np.negative(values, out=values, where=negative)
    places[are_numbers] = values
    return places
