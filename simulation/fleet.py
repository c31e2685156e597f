"""The stack and the traffic of a fleet of cameras."""

from __future__ import annotations

import math
from typing import Final

from simulation.traffic import HOUR, Shape
from stacks.config import Config

FPS: Final = 5.0
FRAME_BYTES: Final = 60_000
# Limits of one shard; shards are filled to four fifths.
SHARD_BYTES_PER_SECOND: Final = 0.8 * 1024 * 1024
# Few and large tasks.
CPU: Final = 16384
MEMORY: Final = 32768
MAX_TASKS: Final = 20


def config(cameras: int) -> Config:
    """The configuration of a stack for a number of cameras."""
    shards = math.ceil(cameras * FPS * FRAME_BYTES / SHARD_BYTES_PER_SECOND)
    return Config.of({
        "stream": {"shards": shards, "retention_hours": 48},
        "service": {"cpu": CPU, "memory": MEMORY, "max_tasks": min(MAX_TASKS, shards)},
    })  # fmt: skip


def shapes(cameras: int) -> tuple[Shape, ...]:
    """A day's curve of traffic, and a morning on which all cameras start in the same second."""
    each = cameras * FPS / config(cameras).stream.least_shards

    def day(at: float, _: int) -> float:
        return max(0.0, each * math.sin(math.pi * (at / HOUR - 6) / 16))

    def at_once(at: float, _: int) -> float:
        return each if HOUR <= at < 4 * HOUR else 0.0

    return Shape(f"{cameras} cameras, a day", 26, day), Shape(f"{cameras} cameras at once", 6, at_once)
