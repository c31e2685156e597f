"""Cameras that are reached again when they fail."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Final

from cloud.retry import full_jitter
from producer.errors import SourceError
from producer.picture import Picture, Source

RECONNECT_BASE_SECONDS: Final = 0.5
RECONNECT_CAP_SECONDS: Final = 30.0
QUIET_SECONDS: Final = 60.0


class Camera(Source):
    """A live source that is reached again, for ever, when it fails.

    It tells when it goes away and when it is back, one line each. A connection that ends and is there again at once is
    only counted.

    Args:
        away: Whether it could not be reached, which was told.

    Attributes:
        ends: Whether it is none, but a film: it ends with its connection.
    """

    live = True
    ends = False

    def __init__(self, *, away: bool = False) -> None:
        self.away = self._told = away
        self._quiet_until = 0.0

    @abstractmethod
    def connection(self) -> Generator[Picture, None, None]:
        """Reaches it; yields its pictures until the connection ends.

        Raises:
            SourceError: If it cannot be reached, or breaks off.
        """

    def pictures(self) -> Iterator[Picture]:
        attempt, since = 0, time.monotonic()
        while True:
            failed: SourceError | None = None
            try:
                with closing(self.connection()) as pictures:
                    for picture in pictures:
                        if attempt or self.away:
                            self._is_back(time.monotonic() - since)
                            attempt = 0
                        yield picture
            except SourceError as error:
                if self.ends:
                    raise
                failed = error
            if self.ends:
                return
            since = since if attempt else time.monotonic()
            attempt += 1
            if failed:
                self._is_away(failed)
            time.sleep(full_jitter(attempt, RECONNECT_BASE_SECONDS, RECONNECT_CAP_SECONDS))

    def _is_away(self, error: SourceError) -> None:
        self.away = True
        # One that comes and goes is told once in a while.
        if not self._told and time.monotonic() >= self._quiet_until:
            self._told = True
            self.tell(f"{error}; it is tried again")

    def _is_back(self, seconds: float) -> None:
        self.reconnects += 1
        self.away = False
        if self._told:
            self.tell(f"it is back after {seconds:.0f} s")
            self._told, self._quiet_until = False, time.monotonic() + QUIET_SECONDS
