"""CloudWatch's time, which passes faster than ours."""

from __future__ import annotations

import time


class Clock:
    """Starts when it is made.

    Args:
        speed: Seconds of CloudWatch in one of ours.
        begins: The second of CloudWatch's day at which it starts.
    """

    def __init__(self, speed: float, begins: float) -> None:
        self.speed, self._begins = speed, begins
        self._started = time.time()

    @property
    def now(self) -> float:
        """The second of CloudWatch's day."""
        return self.at(time.time())

    def at(self, unix_seconds: float) -> float:
        """CloudWatch's second at a time of ours."""
        return self._begins + (unix_seconds - self._started) * self.speed

    def wait_until(self, second: float) -> None:
        """Returns at once if that second is over."""
        time.sleep(max(0.0, second - self.now) / self.speed)
