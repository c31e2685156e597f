"""The services' time, which this machine's clock may be off from."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

logger = logging.getLogger(__name__)

# Services allow five minutes and more. Below, a `Date` of whole seconds says nothing about a clock.
LEAST_SKEW: Final = timedelta(minutes=1)


class Clock:
    """The services' time, as far as one of them has told it. All calls of a process are signed with it.

    Once told, it goes on by itself: somebody, or NTP, sets a wrong clock right at any time.

    Args:
        wall: This machine's clock.
        ticks: Seconds that only grow.
    """

    def __init__(
        self,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall, self._ticks = wall, ticks
        # The services' time when `ticks` was 0; None while this machine's clock is right.
        self._began: datetime | None = None

    @property
    def skew(self) -> timedelta:
        """What services are ahead of this machine."""
        return self.now() - self._wall() if self._began else timedelta()

    def now(self) -> datetime:
        """The services' time."""
        return self._began + timedelta(seconds=self._ticks()) if self._began else self._wall()

    def learn(self, date: str | None) -> None:
        """Takes the time from a service's answer."""
        try:
            told = parsedate_to_datetime(date or "")
            skew = told - self._wall()
        except (TypeError, ValueError):
            return
        is_wrong = abs(skew) > LEAST_SKEW
        self._began = told - timedelta(seconds=self._ticks()) if is_wrong else None
        if is_wrong:
            logger.warning(
                "this machine's clock is off by %d s; calls are signed with the services'", -skew.total_seconds()
            )


clock: Final = Clock()
