"""When pictures were taken: this host's clock, and the time stamps of streams as far as they keep its pace."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from cloud.clock import clock as services

# A stream's pace is compared with the clock's over so many seconds, fastest picture to fastest picture.
WINDOW_SECONDS: Final = 5.0
# How much they may differ. A quartz is off by a ten thousandth; 24 pictures counted as 25 are off by four hundredths.
PACE_TOLERANCE: Final = 0.02
# Stamps that are so far ahead of the fastest picture, or for so long so far behind it, have left the clock's pace.
# After a stall, the pictures of a burst are late for a moment.
LEAP_SECONDS: Final = 1.0


class HostClock:
    """This host's time, which never runs backwards: where somebody sets the clock back, it goes on at its pace.

    It is corrected by what AWS says of it (`cloud.clock`), so that the frames of a host whose clock is wrong bear the
    right time.

    Args:
        wall: Seconds since the epoch.
        ticks: Seconds that only grow.
    """

    def __init__(
        self,
        wall: Callable[[], float] = lambda: services.now().timestamp(),
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall, self._ticks = wall, ticks
        self._now, self._at = float("-inf"), 0.0

    def now(self) -> float:
        """Seconds since the epoch."""
        wall, ticks = self._wall(), self._ticks()
        self._now, self._at = max(wall, self._now + ticks - self._at), ticks
        return self._now


class StreamClock:
    """Converts a stream's time stamps to this host's clock, as long as they keep its pace.

    A picture's delay on the network and in buffers varies; the camera's intervals do not. So the fastest picture of the
    last seconds shows where the camera's clock stands, and the other times are counted from it. The delay of the
    fastest picture is not known, so all times are late by that delay.

    Some cameras have no clock, and what reads them invents stamps, such as 25 a second of one that sends five. Stamps
    are believed once they have kept the pace for a while, and given up when they lose it; pictures then are as old as
    their arrival. What it returns never runs backwards.
    """

    def __init__(self) -> None:
        self._latest = float("-inf")
        self.begin()

    def begin(self) -> None:
        """The stream begins again; nothing is known of its stamps."""
        self._believed = False
        self._stamp = float("-inf")
        # What the clock is ahead of the stamps by the fastest picture, in the window before this one and in this one.
        self._before = self._fastest = float("inf")
        self._window_began: float | None = None
        self._late_since: float | None = None

    def captured_at(self, stamp: float | None, now: float) -> datetime:
        """When a picture was taken.

        Args:
            stamp: Its time stamp, in seconds of the stream's own clock; None if it has none.
            now: Seconds since the epoch, never less than before.
        """
        at = now
        if stamp is not None:
            self._follow(stamp, now)
            if self._believed:
                at = stamp + min(self._before, self._fastest)
        self._latest = max(self._latest, at)
        return datetime.fromtimestamp(self._latest, UTC)

    def _follow(self, stamp: float, now: float) -> None:
        ahead = now - stamp
        if stamp <= self._stamp or self._has_left(ahead, now):
            self.begin()
        if self._window_began is None:
            self._window_began = now
        elif (seconds := now - self._window_began) >= WINDOW_SECONDS:
            # The first window has none before it: nothing is infinitely far from something.
            self._believed = abs(self._fastest - self._before) <= PACE_TOLERANCE * seconds
            self._before, self._fastest, self._window_began = self._fastest, float("inf"), now
        self._stamp, self._fastest = stamp, min(self._fastest, ahead)

    def _has_left(self, ahead: float, now: float) -> bool:
        """Whether stamps have left the clock's pace: they leap ahead, or are late for longer than a burst lasts."""
        late = ahead - min(self._before, self._fastest)
        if late <= LEAP_SECONDS:
            self._late_since = None
            return -float("inf") < late < -LEAP_SECONDS
        self._late_since = now if self._late_since is None else self._late_since
        return now - self._late_since > LEAP_SECONDS
