"""Frames in the order of their times, wherever they come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar, Final, Literal

from consumer.events import end_of
from consumer.moments import within_years
from contract.event import EventMessage
from contract.frame import parse_time

# Of a clip, with the seconds before and after; a longer event gives its beginning.
MAX_SECONDS: Final = 300.0
MAX_AROUND_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Window:
    """From when to when a clip goes."""

    since: datetime
    until: datetime

    @classmethod
    def around(cls, event: EventMessage, before: float, after: float) -> Window:
        """An event with the seconds before and after; of one that goes on, what there is so far."""
        since = within_years(parse_time(event.started_at)) - timedelta(seconds=before)
        return cls(
            since, min(within_years(end_of(event)) + timedelta(seconds=after), since + timedelta(seconds=MAX_SECONDS))
        )


class Shots(ABC):
    """Frames of a source; their pictures are fetched when they are asked for.

    Attributes:
        origin: Where they come from.
        times: When each was captured, in order.
    """

    origin: ClassVar[Literal["bucket", "stream"]]

    def __init__(self, times: Sequence[datetime]) -> None:
        self.times = times

    def __len__(self) -> int:
        return len(self.times)

    @abstractmethod
    def picture(self, number: int) -> bytes:
        """Gives a frame as a JPEG.

        Raises:
            GoneError: If it is not there any more.
            RefusedError: If it is no picture.
            ConsumerError: If it cannot be read.
        """
