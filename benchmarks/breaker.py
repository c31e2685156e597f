"""What it costs in healthy operation that no record can kill a third worker: `python -m benchmarks.breaker`.

The breaker's part of a frame's time is too small to be seen in it. So it is measured by itself, around work that does
nothing, and compared with a frame.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import cv2

from benchmarks.engine import ours
from benchmarks.report import Row, show
from contract import Position
from kcl_worker.breaker import Breaker
from kcl_worker.kcl.shard_order import Turns
from kcl_worker.model_files import MODELS
from kcl_worker.record import Outcome, Record, ShardWork, Turn
from producer.street import Street

FRAMES: Final = 200
RECORDS: Final = 50_000
REPETITIONS: Final = 5
SHARD: Final = "shardId-0"


class Nothing:
    """Work that is done at once, and marks that nobody has written."""

    async def process(self, record: Record) -> Outcome:
        return Outcome.DURABLE

    def is_due(self, now: float) -> bool:
        return False

    async def rest(self, turn: Callable[[], Turn], now: float) -> None:
        pass

    def close(self) -> None:
        pass

    async def save(self) -> None:
        pass

    async def finish(self) -> None:
        pass

    async def get(self, key: str) -> None:
        pass

    async def put(self, key: str, text: str) -> None:
        pass


def microseconds(work: ShardWork) -> float:
    """Of a record."""
    record = Record(b"", Position(SHARD, "1", "door", datetime.now(UTC)), Turns().next())

    async def run() -> float:
        await work.process(record)
        started = time.perf_counter()
        for _ in range(RECORDS):
            await work.process(record)
        return (time.perf_counter() - started) * 1e6 / RECORDS

    return asyncio.run(run())


def main() -> None:
    """Measures and prints."""
    street = Street(3, 640, 360)
    jpegs = [cv2.imencode(".jpg", street.frame(number / 10))[1].tobytes() for number in range(FRAMES)]
    pipeline = ours(MODELS / "street.onnx", "fp32", jpegs)
    frames, breakers = [], []
    marks: Any = Nothing()
    for _ in range(REPETITIONS):
        started = time.perf_counter()
        number = pipeline()
        frames.append((time.perf_counter() - started) * 1e6 / number)
        breakers.append(microseconds(Breaker(marks, lambda _: Nothing()).begin(SHARD)) - microseconds(Nothing()))
    show("breaker", [whole := Row("a frame", frames, "us"), Row("the breaker's part", breakers, "us")], whole)


if __name__ == "__main__":
    main()
