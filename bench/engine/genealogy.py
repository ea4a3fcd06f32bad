"""Makes realistic genealogies, the same for the same seed, as import files or as columns.

A few front lines are huge and most are empty (some members join below a few stars, some beside others), the mean depth
is about what is asked for at any size, ids and rows are in no tree order. `deep` makes a tree that is nearly one chain
instead.

    python -m bench.engine.genealogy --members 1000000 --out members.csv
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numba import njit
from numpy.typing import NDArray

#: How often a new member joins below a star (one member in so many, the earlier the better known), and beside another
#: member instead of below it.
_STAR_SHARE = 0.05
_MEMBERS_A_STAR = 1_000
_COPY_SHARE = 0.3
_LAST_DAY = 20_758  # 2026-11-01, in days since 1970-01-01
_DAYS = 4_000
_STATUSES = ("A", "C", "S", "T")
_STATUS_SHARES = (0.62, 0.25, 0.08, 0.05)
_FIRST_NAMES = ("Anna", "Béla", "Chiyo", "Dolores", "Emeka", "Fatima", "Göran", "Hana")
_COUNTRIES = ("US", "CA", "MX", "DE", "JP", "KR", "TH", "BR", "AU", "ZA")


@dataclass(frozen=True)
class Genealogy:
    """Members by row, rows in random order."""

    #: (n,) S8 to S12: digits.
    ids: NDArray[np.bytes_]
    #: (n,) row of the sponsor, -1 for a root.
    sponsor: NDArray[np.int32]
    #: (n,) row of the placement, -1 for none; None where the genealogy has no placement tree.
    placement: NDArray[np.int32] | None
    #: (n,) 1 or 2 where there is a placement, else 0.
    placement_leg: NDArray[np.int32] | None
    #: (n,) index into statuses.
    status: NDArray[np.int8]
    #: (n,)
    rank: NDArray[np.int16]
    #: (n,) days since 1970-01-01.
    joined_on: NDArray[np.int32]
    #: (n,) hundredths, by the column's name in the header.
    volumes: dict[str, NDArray[np.int64]]
    #: Further columns.
    further: dict[str, pa.Array]


@njit(cache=True)
def _sponsors(draws: Any, ways: Any, roots: int, exponent: float, parents: Any) -> None:
    """parents[i] < i, or -1 for the first `roots`. draws, ways: uniform numbers, which member and in which way."""
    for member in range(parents.size):
        if member < roots:
            parents[member] = -1
        elif ways[member] < _STAR_SHARE:
            stars = (member - 1) // _MEMBERS_A_STAR + 1
            parents[member] = min(int(stars * draws[member] ** 3), stars - 1) * _MEMBERS_A_STAR
        else:
            other = min(int(member * draws[member] ** exponent), member - 1)
            above = parents[other]
            parents[member] = above if ways[member] > 1 - _COPY_SHARE and above >= 0 else other


@njit(cache=True)
def _mean_depth(parents: Any) -> float:
    depths = np.zeros(parents.size, np.int32)
    for member in range(parents.size):
        if parents[member] >= 0:
            depths[member] = depths[parents[member]] + 1
    return float(depths.mean())


@njit(cache=True)
def _binary_places(draws: Any, tank: Any, places: Any, legs: Any) -> None:
    """A binary tree over the members who are not in the tank: each takes an open leg near the end of the list."""
    open_member = np.empty(places.size + 2, np.int32)
    open_leg = np.empty(places.size + 2, np.int32)
    count = 0
    for member in range(places.size):
        places[member], legs[member] = -1, 0
        if tank[member]:
            continue
        if count > 0:
            taken = int(count * draws[member])
            places[member], legs[member] = open_member[taken], open_leg[taken]
            count -= 1
            open_member[taken], open_leg[taken] = open_member[count], open_leg[count]
        for leg in (1, 2):
            open_member[count], open_leg[count] = member, leg
            count += 1


@njit(cache=True)
def _write_digits(numbers: Any, width: int, out: Any) -> None:
    for row in range(numbers.size):
        rest = numbers[row]
        for place in range(width):
            out[row, width - 1 - place] = 48 + rest % 10
            rest //= 10


def make_genealogy(
    members: int,
    *,
    seed: int = 1,
    roots: int = 3,
    mean_depth: float = 20.0,
    deep: bool = False,
    placement: bool = False,
    volumes: tuple[str, ...] = ("pv",),
    further: bool = False,
    persons: bool = False,
) -> Genealogy:
    """A genealogy of `members` members; `further` adds a text, a number, a decimal and a date of its own, `persons` a
    name, an e-mail address and a phone number, which no two members share."""
    random = np.random.default_rng(seed)
    roots = min(roots, members)
    parents = np.empty(members, np.int32)
    if deep:
        back = np.minimum(random.geometric(0.9, members), np.arange(members)).astype(np.int32)
        parents[:] = np.arange(members, dtype=np.int32) - back
        parents[:roots] = -1
    else:
        draws, ways = random.random(members, np.float32), random.random(members, np.float32)
        _sponsors(draws, ways, roots, _exponent(draws, ways, roots, mean_depth), parents)
    row_of = random.permutation(members).astype(np.int32)
    places, legs = None, None
    if placement:
        places, legs = np.empty(members, np.int32), np.empty(members, np.int32)
        _binary_places(random.random(members), random.random(members, np.float32) < 0.03, places, legs)
        places, legs = _by_row(places, row_of), _in_rows(legs, row_of)
    return Genealogy(
        ids=_ids(members, random),
        sponsor=_by_row(parents, row_of),
        placement=places,
        placement_leg=legs,
        status=random.choice(len(_STATUSES), members, p=_STATUS_SHARES).astype(np.int8),
        rank=np.minimum(random.geometric(0.45, members) - 1, 12).astype(np.int16),
        joined_on=(_LAST_DAY - (_DAYS * random.random(members, np.float32) ** 2)).astype(np.int32),
        volumes={name: _volume(members, random) for name in volumes},
        further=(_further(members, random) if further else {}) | (_persons(members) if persons else {}),
    )


def _exponent(draws: NDArray[np.float32], ways: NDArray[np.float32], roots: int, mean_depth: float) -> float:
    """How much the draws must lean on recent members for a mean depth, found on the first of them by halving: the depth
    grows with the logarithm of the size, and with the lean.
    """
    sample = min(len(draws), 200_000)
    wanted = mean_depth * math.log(max(sample, 2)) / math.log(max(len(draws), 2))
    parents = np.empty(sample, np.int32)
    low, high = 0.005, 2.0
    for _ in range(12):
        exponent = math.sqrt(low * high)
        _sponsors(draws[:sample], ways[:sample], roots, exponent, parents)
        if _mean_depth(parents) > wanted:
            low = exponent
        else:
            high = exponent
    return high


def _in_rows(values: NDArray[np.int32], row_of: NDArray[np.int32]) -> NDArray[np.int32]:
    """Values by member, put into the members' rows."""
    out = np.empty_like(values)
    out[row_of] = values
    return out


def _by_row(parents: NDArray[np.int32], row_of: NDArray[np.int32]) -> NDArray[np.int32]:
    """Links between members as links between rows."""
    return _in_rows(np.where(parents >= 0, row_of[parents], -1).astype(np.int32), row_of)


def _ids(members: int, random: np.random.Generator) -> NDArray[np.bytes_]:
    """Different numbers in no order, of as many digits as leave seven in eight numbers free."""
    digits = max(6, len(str(8 * members)))
    span = 10**digits
    step = 6_180_339_887 % span | 1
    while math.gcd(step, span) != 1:
        step += 2
    numbers = (np.arange(members, dtype=np.int64) * step + random.integers(span)) % span
    out = np.empty((members, digits), np.uint8)
    _write_digits(numbers, digits, out)
    return out.view(f"S{digits}").ravel()


#: How the header of a CSV file declares the further columns that are no texts.
_DECLARED = {
    "loyalty_points": "loyalty_points:integer",
    "bonus_rate": "bonus_rate:decimal",
    "renewed_on": "renewed_on:date",
}


def _volume(members: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Hundredths: one in three members ordered nothing, a few sent something back."""
    amounts = (random.standard_exponential(members, np.float32) * 12_000).astype(np.int64)
    kind = random.random(members, np.float32)
    amounts[kind < 0.33] = 0
    np.negative(amounts, out=amounts, where=kind > 0.995)
    return amounts


def _further(members: int, random: np.random.Generator) -> dict[str, pa.Array]:
    countries = pa.array(random.integers(0, len(_COUNTRIES), members).astype(np.int32))
    rate = random.integers(0, 10_000, members)
    return {
        "country": pa.DictionaryArray.from_arrays(countries, pa.array(_COUNTRIES)).cast(pa.string()),
        "loyalty_points": pa.array(random.integers(0, 100_000, members)),
        "bonus_rate": _decimals(rate),
        "renewed_on": pa.array((_LAST_DAY - random.integers(0, 365, members)).astype(np.int32)).cast(pa.date32()),
    }


def _persons(members: int) -> dict[str, pa.Array]:
    """Three texts for each member, as long as such texts are."""
    number = pa.array(np.arange(members)).cast(pa.string())
    first = pa.array(_FIRST_NAMES).take(pa.array(np.arange(members) % len(_FIRST_NAMES)))
    joined = pyarrow.compute.binary_join_element_wise
    return {
        "name": joined(first, pa.scalar(" Ferreira-"), number, ""),
        "email": joined(first, number, pa.scalar("@mail.example"), ""),
        "phone": joined(pa.scalar("+41 79 "), pyarrow.compute.utf8_lpad(number, 8, "0"), ""),
    }


def _decimals(hundredths: NDArray[np.int64]) -> pa.Array:
    """Hundredths as exact decimals."""
    words = np.empty((len(hundredths), 2), np.int64)
    words[:, 0], words[:, 1] = hundredths, hundredths >> 63
    return pa.Array.from_buffers(pa.decimal128(18, 2), len(hundredths), [None, pa.py_buffer(words)])


def _texts(ids: NDArray[np.bytes_], rows: NDArray[np.int32]) -> pa.Array:
    """The ids of `rows`, null for -1."""
    width = ids.dtype.itemsize
    fixed = pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(ids), [None, pa.py_buffer(ids)])
    picked = fixed.take(pa.array(rows, mask=rows < 0))
    return picked.cast(pa.binary()).view(pa.string())


def as_table(genealogy: Genealogy) -> pa.Table:
    """The columns of the import file."""
    every = np.arange(len(genealogy.ids), dtype=np.int32)
    columns = {
        "member_id": _texts(genealogy.ids, every),
        "sponsor_id": _texts(genealogy.ids, genealogy.sponsor),
    }
    if genealogy.placement is not None and genealogy.placement_leg is not None:
        columns["placement_id"] = _texts(genealogy.ids, genealogy.placement)
        legs = pa.array(genealogy.placement_leg, mask=genealogy.placement_leg == 0)
        columns["placement_leg"] = pa.DictionaryArray.from_arrays(
            pa.compute.subtract(legs, 1), pa.array(["L", "R"])
        ).cast(pa.string())
    statuses = pa.array(genealogy.status.astype(np.int32))
    columns["status"] = pa.DictionaryArray.from_arrays(statuses, pa.array(_STATUSES)).cast(pa.string())
    columns["rank"] = pa.array(genealogy.rank)
    columns["joined_on"] = pa.array(genealogy.joined_on).cast(pa.date32())
    columns |= {name: _decimals(volume) for name, volume in genealogy.volumes.items()}
    return pa.table(columns | genealogy.further)


def write_genealogy(genealogy: Genealogy, path: Path) -> None:
    """Writes an import file; its name says how: .csv, .csv.gz or .parquet."""
    table = as_table(genealogy)
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(table, path, compression="zstd")
        return
    # In Parquet a column's own type declares what it holds, in CSV the header does.
    table = table.rename_columns([_DECLARED.get(name, name) for name in table.column_names])
    options = pyarrow.csv.WriteOptions(quoting_style="none")
    if path.suffix == ".gz":
        with pa.CompressedOutputStream(str(path), "gzip") as stream:
            pyarrow.csv.write_csv(table, stream, options)
    else:
        pyarrow.csv.write_csv(table, path, options)


def main() -> int:
    """Writes the file that the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mean-depth", type=float, default=20.0)
    parser.add_argument("--deep", action="store_true", help="nearly one chain")
    parser.add_argument("--placement", action="store_true", help="with a binary placement tree")
    parser.add_argument("--volumes", default="pv", help="volume columns, comma-separated")
    parser.add_argument("--further", action="store_true", help="with further columns")
    parser.add_argument("--out", type=Path, required=True, help=".csv, .csv.gz or .parquet")
    asked = parser.parse_args()
    genealogy = make_genealogy(
        asked.members,
        seed=asked.seed,
        mean_depth=asked.mean_depth,
        deep=asked.deep,
        placement=asked.placement,
        volumes=tuple(asked.volumes.split(",")),
        further=asked.further,
    )
    write_genealogy(genealogy, asked.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
