"""Moments as people write them: `2026-01-01T12:00`, `2026-01-01`, or `90m` for that long ago."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

_AGO: Final = re.compile(r"(\d{1,6})([smhd])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
# Nothing was stored before; and around what is asked for, calendars must go on.
YEARS: Final = range(2000, 9000)
EARLIEST: Final = datetime(YEARS[0], 1, 1, tzinfo=UTC)
LATEST: Final = datetime(YEARS[-1], 12, 31, tzinfo=UTC)
# A camera's clock may be ahead by so much.
AHEAD: Final = timedelta(days=1)
ALLOWED: Final = "a time such as 2026-01-01T12:00 in UTC, or 90m, 24h, 7d for that long ago"


def moment(text: str, now: datetime) -> datetime:
    """Reads a moment, which lies in `YEARS` or is brought to their nearer end; one without an offset is in UTC.

    Raises:
        ValueError: If it is none.
    """
    try:
        if ago := _AGO.fullmatch(text):
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        found = datetime.fromisoformat(text)
        found = (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r}: {ALLOWED}") from None
    return within_years(found)


def within_years(at: datetime) -> datetime:
    """A moment, or the nearer end of `YEARS`."""
    return min(max(at, EARLIEST), LATEST)
