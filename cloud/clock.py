"""The services' time, which this machine's clock may be off from."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

logger = logging.getLogger(__name__)

# Services allow five minutes and more. Below, a `Date` of whole seconds says nothing about a clock.
LEAST_SKEW: Final = timedelta(minutes=1)
_NONE: Final = timedelta()


class Clock:
    """The services' time, as far as one of them has told it. All calls of a process are signed with it.

    Attributes:
        skew: What services are ahead of this machine.
    """

    def __init__(self) -> None:
        self.skew = _NONE

    def now(self) -> datetime:
        """The services' time."""
        return datetime.now(UTC) + self.skew

    def learn(self, date: str | None) -> None:
        """Takes the time from a service's answer."""
        try:
            skew = parsedate_to_datetime(date or "") - datetime.now(UTC)
        except (TypeError, ValueError):
            return
        self.skew = skew if abs(skew) > LEAST_SKEW else _NONE
        if self.skew:
            logger.warning(
                "this machine's clock is off by %d s; calls are signed with the services'", -skew.total_seconds()
            )


clock: Final = Clock()
