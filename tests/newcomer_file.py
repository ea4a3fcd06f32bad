"""The sample tree as somebody's own program exports it: nothing in it is written as imports are."""

from __future__ import annotations

import codecs

from fasttree.command.local.sample import sample_rows

FILE_NAME = "Mitglieder März 2024 (Export).csv"
NAMES = {
    "member_id": "DISTRIBUTOR_ID",
    "sponsor_id": "ENROLLER_ID",
    "placement_id": "PLACEMENT_PARENT_ID",
    "placement_leg": "SIDE",
    "joined_on": "ENROLL_DATE",
}
OPTIONS = (
    *("--map", "member_id=DISTRIBUTOR_ID", "--map", "sponsor_id=ENROLLER_ID", "--map", "joined_on=ENROLL_DATE"),
    *("--map", "placement_id=PLACEMENT_PARENT_ID", "--map", "placement_leg=SIDE"),
    *("--separator", ";", "--date-format", "MM/DD/YYYY", "--decimal", "1,234.50"),
)


def newcomer_csv() -> bytes:
    """Semicolons, other names in capitals, 03/14/2024, "1,234.50" (ten times the sample's volumes), a byte order mark,
    line ends of Windows.
    """
    rows = sample_rows()
    lines = [";".join(NAMES.get(name, name.upper()) for name in rows[0])]
    for row in rows:
        year, month, day = row["joined_on"].split("-")
        own = row | {"joined_on": f"{month}/{day}/{year}", "pv": f'"{10 * float(row["pv"]):,.2f}"'}
        lines.append(";".join(own.values()))
    return codecs.BOM_UTF8 + "\r\n".join([*lines, ""]).encode()
