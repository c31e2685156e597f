"""Does something again and again beside whatever else goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Repeating:
    """Calls a function every so many seconds in a thread of its own, from `start` to `stop`."""

    def __init__(self, work: Callable[[], object], seconds: float, name: str) -> None:
        self._work, self._seconds = work, seconds
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begins; the first call comes after one interval."""
        self._thread.start()

    def stop(self) -> None:
        """Returns when the call that is under way is over; none comes after it."""
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ending.wait(self._seconds):
            self._work()
