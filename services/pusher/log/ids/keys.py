"""Keys of ids, many at once: 96 bits of each, by multilinear hashing in NumPy.

Three independent hashes of 32 bits, each the high half of a sum of products of the id's 32-bit words with constants.
Two ids have the same key with a chance of 2^-96, so a hundred million have no two with the same one, but for 10^-13.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: As long as an id may be, in bytes; longer ones are refused at the door.
ID_BYTES_MAX = 64
_WORDS = ID_BYTES_MAX // 4
_HASHES = 3


def _constants() -> NDArray[np.uint64]:
    """Odd constants that nobody chose; the same for ever, since keys are on disks."""
    drawn = [
        int.from_bytes(hashlib.blake2b(f"fasttree ids {number}".encode(), digest_size=8).digest(), "little") | 1
        for number in range(_HASHES * (_WORDS + 1))
    ]
    return np.array(drawn, dtype=np.uint64).reshape(_HASHES, _WORDS + 1)


_CONSTANTS = _constants()
_FACTORS = np.ascontiguousarray(_CONSTANTS[:, :_WORDS])
_ADDED = np.ascontiguousarray(_CONSTANTS[:, _WORDS:])


class Keys(NamedTuple):
    """Keys of some ids; both have one entry for each.

    Attributes:
        high: uint64, the first 64 bits; evenly spread.
        low: uint32, the other 32.
    """

    high: NDArray[np.uint64]
    low: NDArray[np.uint32]


def keys_of(update_ids: Sequence[str]) -> Keys:
    """The key of each id: printable ASCII, `ID_BYTES_MAX` characters at most."""
    words = _words_of(update_ids)
    # What is behind an id's end is 0, and adds nothing. One product for all of them: a call costs more than its work.
    sums = _FACTORS[:, : words.shape[1]] @ words.T.astype(np.uint64, order="C")
    sums += _ADDED
    sums >>= np.uint64(32)
    high = sums[0] << np.uint64(32) | sums[1]
    return Keys(high, sums[2].astype(np.uint32))


def _words_of(update_ids: Sequence[str]) -> NDArray[np.uint32]:
    """Each id's 32-bit words, a row for each; as many as the longest one has."""
    longest = max(map(len, update_ids), default=0)
    words_used = min(_WORDS, -(-longest // 4)) or 1
    table = np.array(update_ids, dtype=f"S{4 * words_used}")
    return table.view("<u4").reshape(len(update_ids), words_used)


def content_hash(content: bytes) -> int:
    """64 bits by which the content of a record that is gone is still told from another; never `UNKNOWN_CONTENT`."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little") or 1


#: The content of a record that is gone, and was another one than any that is at hand.
_ANOTHER = b""
#: The hash of a content that was damaged when its record was trimmed: nothing can be said of it.
UNKNOWN_CONTENT = 0


def recognized(
    found: Mapping[str, tuple[int, int]], update_ids: Sequence[str], contents: Sequence[bytes]
) -> dict[str, tuple[int, bytes]]:
    """Position and content of ids whose records are gone, for `place`: the content that came again under the id, where
    its hash is the one that was kept; one that nothing equals, where it is not.

    Args:
        found: Position and content hash of each id.
        update_ids, contents: What comes now.
    """
    known = {update_id: (position, _ANOTHER) for update_id, (position, _) in found.items()}
    for update_id, content in zip(update_ids, contents, strict=True):
        entry = found.get(update_id)
        if entry is not None and content_hash(content) == entry[1]:
            known[update_id] = (entry[0], content)
    return known
