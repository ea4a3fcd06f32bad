"""Hours of a day at which nobody is to be disturbed, by the clocks of a zone."""

from __future__ import annotations

import datetime
import re
import zoneinfo
from typing import NamedTuple

_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_ZONE = re.compile(r"[A-Za-z0-9_+-]{1,32}(?:/[A-Za-z0-9_+-]{1,32}){0,2}")


class QuietHoursError(ValueError):
    """Hours that can't be: one line, and the field that is wrong."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class QuietHours(NamedTuple):
    """In minutes of the day; they end on the next day where the end comes first."""

    begins: int
    ends: int
    time_zone: str

    def end_s(self, wall_s: float) -> float | None:
        """When the hours that hold at that time end, in seconds since 1970; None where none do."""
        local = datetime.datetime.fromtimestamp(wall_s, zoneinfo.ZoneInfo(self.time_zone))
        minute = 60 * local.hour + local.minute
        over_midnight = self.begins > self.ends
        if not (
            (minute >= self.begins or minute < self.ends) if over_midnight else (self.begins <= minute < self.ends)
        ):
            return None
        day = local.date() + datetime.timedelta(days=over_midnight and minute >= self.begins)
        end = datetime.datetime.combine(day, datetime.time(self.ends // 60, self.ends % 60), local.tzinfo)
        # A clock that is set back shows the end twice; one that is set on never shows it, and what comes then is later.
        for fold in (0, 1):
            if (found_s := end.replace(fold=fold).timestamp()) > wall_s:
                return found_s
        return wall_s + 60.0


def quiet_hours(begins: str, ends: str, time_zone: str) -> QuietHours:
    """Of their texts, "HH:MM". Blocks: it reads the zone. Raises QuietHoursError."""
    times = []
    for field, text in (("from", begins), ("to", ends)):
        found = _TIME.fullmatch(text)
        if found is None:
            raise QuietHoursError(field, f"{text[:20]!r} is no time of the day: write it as 21:00")
        times.append(60 * int(found[1]) + int(found[2]))
    if times[0] == times[1]:
        raise QuietHoursError("to", f"the quiet hours begin and end at {begins}: leave them out, or end them elsewhere")
    try:
        if not _ZONE.fullmatch(time_zone):
            raise zoneinfo.ZoneInfoNotFoundError
        zoneinfo.ZoneInfo(time_zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise QuietHoursError("time_zone", f"{time_zone[:64]!r} is no time zone: write it as America/Denver") from None
    return QuietHours(times[0], times[1], time_zone)
