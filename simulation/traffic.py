"""Shapes of traffic: each shard's frames a second, by the second."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

HOUR: Final = 3600.0

Rate = Callable[[float, int], float]


@dataclass(frozen=True, slots=True)
class Shape:
    """A shape: some hours of traffic.

    Attributes:
        rate: Frames a second of a shard at a second.
        broken_hours: So long no task comes up, as with a wrong image.
        orphaned_hour: From then on nobody reads the first shard, until a task more runs and takes its lease.
    """

    name: str
    hours: float
    rate: Rate
    broken_hours: float = 0
    orphaned_hour: float | None = None


def _one_camera(at: float, shard: int) -> float:
    """5 frames a second for half an hour, then nothing for an hour, on one shard."""
    return 5.0 if shard == 0 and at % (1.5 * HOUR) < 0.5 * HOUR else 0.0


def _bursts(at: float, _: int) -> float:
    """Bursts of five minutes with 10 frames a second and shard, every two hours, on top of a trickle."""
    return 10.0 if at % (2 * HOUR) < 300 else 0.2


def _day(at: float, _: int) -> float:
    """Up to 6 frames a second and shard at two in the afternoon, and none at night."""
    return max(0.0, 6 * math.sin(math.pi * (at / HOUR - 6) / 16))


def _backlog(at: float, _: int) -> float:
    """3 frames a second and shard, all the time."""
    return 3.0 if at < 10 * HOUR else 0.0


def _evening(at: float, _: int) -> float:
    """A frame a second and shard for three hours."""
    return 1.0 if at < 3 * HOUR else 0.0


def _few(at: float, shard: int) -> float:
    """One frame a minute: a trickle that keeps a single task."""
    return 1 / 10 if shard == 0 and at % 60 < 10 else 0.0


SHAPES: Final = (
    Shape("a camera on and off", 9, _one_camera),
    Shape("bursts", 9, _bursts),
    Shape("a day", 26, _day),
    Shape("four hours' backlog", 14, _backlog, broken_hours=4),
    Shape("a trickle", 6, _few),
    Shape("a shard that nobody reads", 6, _evening, orphaned_hour=2),
)


def last_moment(at_second: float) -> Shape:
    """Ten seconds of frames, and later another ten that begin at a second of choice, then nothing."""

    def rate(at: float, shard: int) -> float:
        return 1.0 if shard == 0 and (at < 10 or at_second <= at < at_second + 10) else 0.0

    return Shape("ten seconds at the wrong moment", 14, rate)
