"""What is computed of a frame: its pixels, what is in them, the annotated picture."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from contract import Frame
from kcl_worker import codec
from kcl_worker.detections import Detections
from kcl_worker.detector import Detector


@dataclass(frozen=True, slots=True)
class Picture:
    """An annotated frame.

    Attributes:
        jpeg: With boxes drawn.
        width, height: In pixels.
        inference_ms: How long the detector took.
    """

    jpeg: bytes
    detections: Detections
    width: int
    height: int
    inference_ms: float


# Beyond those that the detector can use, so that no core waits while a frame goes from one thread to another.
SPARE_THREADS: Final = 1


class Compute:
    """Makes pictures of frames, about as many at once as the detector can.

    A frame stays in one thread from decoding to encoding. So hardly more threads are at work than there are cores, a
    frame's pixels stay in one core's cache, and no more than one decoded frame for each thread takes memory.

    Args:
        quality: Of the pictures' JPEG, 1 to 100.
    """

    def __init__(self, detector: Detector, quality: int) -> None:
        self._detector, self._quality = detector, quality
        self._threads = ThreadPoolExecutor(detector.parallelism + SPARE_THREADS, thread_name_prefix="compute")

    @property
    def model(self) -> str:
        """The detector's name."""
        return self._detector.name

    @property
    def class_names(self) -> tuple[str, ...]:
        """By class id."""
        return self._detector.class_names

    async def picture(self, frame: Frame) -> Picture:
        """Waits for a thread, then for its work.

        Raises:
            FrameError: `undecodable`.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._picture, frame)

    def _picture(self, frame: Frame) -> Picture:
        image = codec.decode(frame)
        started = time.perf_counter()
        detections = self._detector.detect(image)
        milliseconds = (time.perf_counter() - started) * 1000
        codec.annotate(image, detections, self._detector.class_names)
        height, width = image.shape[:2]
        return Picture(codec.encode(image, self._quality), detections, width, height, milliseconds)
