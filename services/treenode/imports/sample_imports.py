"""Small import files that use everything an import file can have: what a process reads to load its kernels."""

from __future__ import annotations

import gzip
from pathlib import Path

MEMBERS = 200

_SHORT_HEADER = "member_id,sponsor_id,status,rank,joined_on,pv"
_LONG_HEADER = (
    "member_id,sponsor_id,placement_id,placement_leg,kind,status,rank,joined_on,pv,cv:2026-10,"
    "country,points:integer,rate:decimal,renewal:date"
)


def short_csv() -> str:
    """The columns that every import has."""
    rows = [f"{n},{n // 3 or ''},A,{n % 9},2026-0{n % 9 + 1}-11,{n}.05" for n in range(1, MEMBERS)]
    return "\n".join([_SHORT_HEADER, *rows, ""])


def long_csv() -> str:
    """Every column that an import can have, and further ones of each type; some members wait for placement."""
    rows = []
    for n in range(1, MEMBERS):
        placed = n > 1 and n % 7
        place = f"{n // 2},{'LR'[n % 2]}" if placed and (n // 2 == 1 or n // 2 % 7) else ","
        kind = "customer" if n % 5 == 0 else "distributor"
        further = f'"US",{n},{n}.5,2026-12-{n % 28 + 1:02}'
        rows.append(f"m{n},{f'm{n // 3}' if n > 2 else ''},{_ids(place)},{kind},B,{n % 9},,{n}.05,-1.00,{further}")
    return "\n".join([_LONG_HEADER, *rows, ""])


def _ids(place: str) -> str:
    return f"m{place}" if place != "," else place


def write_sample_csvs(folder: Path) -> list[Path]:
    """The same members in a short, a long packed and a bad file; the bad one is refused."""
    short, long, bad = folder / "short.csv", folder / "long.csv.gz", folder / "bad.csv"
    short.write_text(short_csv())
    long.write_bytes(gzip.compress(long_csv().encode()))
    bad.write_text(short_csv() + "1,2,A,0,2026-11-22,0.00\n1,1,A,0,,0.001\nx,y,A,-1,2026,z\n")
    return [short, long, bad]
