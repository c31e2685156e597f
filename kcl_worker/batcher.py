"""Brings the frames of all shards together for the one model of the task."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from kcl_worker.detections import Detections, Image
from kcl_worker.detector import Detector

# On a CPU a batch saves little, and one whose activations no longer fit the cache costs: YOLOv8n at
# 384x640 took 8 % more time a frame in batches of 8 than in batches of 1 or 2.
MAX_BATCH = 2


@dataclass(frozen=True, slots=True)
class Inference:
    """A frame's detections and how long the batch that it was part of took."""

    detections: Detections
    milliseconds: float


class Batcher:
    """Runs a detector in its own threads, as many as it can use at once.

    Nothing waits for a batch to fill: whoever is idle takes its share of what is queued, so a single
    camera is served at once and many cameras in batches.
    """

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._waiting: deque[tuple[Image, asyncio.Future[Inference]]] = deque()
        self._arrived = asyncio.Condition()
        self._idle = detector.parallelism
        self._threads = ThreadPoolExecutor(detector.parallelism, thread_name_prefix="inference")

    async def detect(self, image: Image) -> Inference:
        """Waits for one image's detections."""
        future: asyncio.Future[Inference] = asyncio.get_running_loop().create_future()
        self._waiting.append((image, future))
        async with self._arrived:
            self._arrived.notify()
        return await future

    async def run(self) -> None:
        """Serves until cancelled, or raises what the detector raised."""
        try:
            async with asyncio.TaskGroup() as runners:
                for _ in range(self._detector.parallelism):
                    runners.create_task(self._serve())
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = await self._take()
            started = time.perf_counter()
            try:
                found = await loop.run_in_executor(self._threads, self._detector.detect, [image for image, _ in batch])
            finally:
                self._idle += 1
            milliseconds = (time.perf_counter() - started) * 1000
            for (_, future), detections in zip(batch, found, strict=True):
                if not future.done():
                    future.set_result(Inference(detections, milliseconds))

    async def _take(self) -> list[tuple[Image, asyncio.Future[Inference]]]:
        """A fair share of what waits: all of it divided by the idle threads."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: self._waiting)
            share = min(MAX_BATCH, math.ceil(len(self._waiting) / self._idle))
            self._idle -= 1
            return [self._waiting.popleft() for _ in range(share)]
