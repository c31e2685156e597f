"""The worker's whole way of a frame, with sinks that keep nothing, or messages alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from contract import Position
from kcl_worker.kcl.shard_order import Turns
from kcl_worker.kcl.wire import WINDOW
from kcl_worker.pipeline import Pipeline
from kcl_worker.record import Record
from kcl_worker.settings import Settings
from kcl_worker.vision.compute import Compute
from kcl_worker.vision.openvino_detector import OpenVinoDetector, Precision


class Nowhere:
    """A bucket and a queue that keep nothing."""

    async def put(self, key: str, body: bytes, *_: object) -> None:
        pass

    def expecting(self) -> AbstractContextManager[None]:
        return nullcontext()

    async def fits(self, body: str) -> bool:
        return True

    def enqueue(self, body: str) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.set_result(None)
        return future


class Kept(Nowhere):
    """A queue that keeps its messages."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    def enqueue(self, body: str) -> asyncio.Future[None]:
        self.messages.append(json.loads(body))
        return super().enqueue(body)


def worker_parts(model: Path, precision: Precision) -> tuple[Settings, Compute]:
    """A worker's defaults, with names that nobody asks for, and what it computes with."""
    settings = Settings(
        kinesis_stream_name="bench", s3_bucket_name="bench", sqs_queue_url="http://bench", yolo_model_path=model
    )
    detector = OpenVinoDetector(model, precision=precision)
    return settings, Compute(detector, settings.jpeg_quality, settings.confidence_threshold)


async def send(pipeline: Pipeline, shard_id: str, records: Iterable[tuple[bytes, Position]]) -> None:
    """Sends a shard's records through a pipeline, and waits until all are done."""
    window, turns, work = asyncio.Semaphore(WINDOW), Turns(), pipeline.begin(shard_id)

    async def one(record: Record) -> None:
        await work.process(record)
        window.release()

    async with asyncio.TaskGroup() as frames:
        for data, position in records:
            await window.acquire()
            frames.create_task(one(Record(data, position, turns.next())))
