"""A sample tree for the demo: 800 members, the same ones on every machine.

Made like real ones grow: each newcomer is enrolled by somebody who is there already, and those who enrolled many enrol
more (heavy-tailed front lines). The placement tree is binary: a newcomer goes to the end of its sponsor's left or right
outer leg. Ids are not in the order of the tree. Only `Random.random` is used, whose numbers never change between Python
versions: the tour in README.md depends on them.

`python -m fasttree.command.local.sample` prints it.
"""

from __future__ import annotations

import csv
import datetime
import io
import random
import sys

#: Less than 1,000: an import over so small a tree is never refused for what it removes, so that anyone's own file can
#: follow the sample without --force.
MEMBERS = 800
_SEED = 50100

#: The root's id, and a leader's with a large downline, for texts that say what to try.
ROOT_ID = "10000"

_FIRST_DAY = datetime.date(2016, 2, 8)
_LAST_DAY = datetime.date(2026, 10, 31)
_COUNTRIES = ("US", "US", "US", "CA", "MX", "DE", "CH", "JP", "PH", "AU")

COLUMNS = (
    "member_id",
    "sponsor_id",
    "placement_id",
    "placement_leg",
    "kind",
    "status",
    "rank",
    "joined_on",
    "country",
    "pv",
)


class _Drawer:
    """Draws from a seed by nothing but `random()`."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def below(self, end: int) -> int:
        return int(self._random.random() * end)

    def chance(self, share: float) -> bool:
        return self._random.random() < share

    def amount(self, mean: float) -> float:
        return mean * (self._random.random() + self._random.random())


def sample_rows(members: int = MEMBERS) -> list[dict[str, str]]:
    """The rows, in the order of enrolment."""
    draw = _Drawer(_SEED)
    ids = _ids(draw, members)
    sponsors = _sponsors(draw, members)
    places = _places(draw, sponsors)
    rows = []
    days = (_LAST_DAY - _FIRST_DAY).days
    enrolled = [sum(1 for sponsor in sponsors if sponsor == index) for index in range(members)]
    for index, sponsor in enumerate(sponsors):
        customer = enrolled[index] == 0 and draw.chance(0.25)
        place, leg = places[index]
        joined_on = _FIRST_DAY + datetime.timedelta(days=days * index // members)
        rank = 0 if customer else min(9, enrolled[index].bit_length() + (1 if draw.chance(0.2) else 0))
        pv = draw.amount(90.0 if customer else 140.0) if draw.chance(0.6) else 0.0
        rows.append(
            {
                "member_id": ids[index],
                "sponsor_id": ids[sponsor] if sponsor >= 0 else "",
                "placement_id": ids[place] if place >= 0 else "",
                "placement_leg": leg,
                "kind": "C" if customer else "D",
                "status": "T" if index and draw.chance(0.04) else "A",
                "rank": str(rank),
                "joined_on": joined_on.isoformat(),
                "country": _COUNTRIES[draw.below(len(_COUNTRIES))],
                "pv": f"{pv:.2f}",
            }
        )
    return rows


def sample_csv(members: int = MEMBERS) -> str:
    """The same as an import file."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(sample_rows(members))
    return text.getvalue()


def _ids(draw: _Drawer, members: int) -> list[str]:
    """The root's own, then the others in no order."""
    numbers = list(range(10_001, 10_000 + members))
    for last in range(len(numbers) - 1, 0, -1):
        other = draw.below(last + 1)
        numbers[last], numbers[other] = numbers[other], numbers[last]
    return [ROOT_ID, *(str(number) for number in numbers)]


def _sponsors(draw: _Drawer, members: int) -> list[int]:
    """For each member its sponsor's index, -1 for the root."""
    sponsors = [-1]
    #: One entry for each enrolment and two for each member: who enrolled many is drawn more often.
    tickets = [0, 0]
    for index in range(1, members):
        sponsor = tickets[draw.below(len(tickets))]
        sponsors.append(sponsor)
        tickets += [sponsor, index, index]
    return sponsors


def _places(draw: _Drawer, sponsors: list[int]) -> list[tuple[int, str]]:
    """For each member whom it is placed under, and on which side; a few newcomers still wait in the holding tank."""
    taken: dict[tuple[int, str], int] = {}
    places: list[tuple[int, str]] = [(-1, "")]
    waiting = {0: False}
    for index in range(1, len(sponsors)):
        place = sponsors[index]
        waiting[index] = (index > len(sponsors) - 40 and draw.chance(0.3)) or (waiting[place] and place != 0)
        if waiting[index]:
            places.append((-1, ""))
            continue
        side = "L" if draw.chance(0.55) else "R"
        while (place, side) in taken:
            place = taken[place, side]
        taken[place, side] = index
        places.append((place, side))
    return places


if __name__ == "__main__":
    sys.stdout.write(sample_csv())
