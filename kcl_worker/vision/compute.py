"""What is computed of a frame: its pixels, what is in them, the annotated picture."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from contract import Frame
from contract.source_settings import DEFAULT, SourceSettings
from kcl_worker.doing import doing
from kcl_worker.vision import codec
from kcl_worker.vision.detections import LOWEST_CONFIDENCE, Detections
from kcl_worker.vision.detector import Detector


@dataclass(frozen=True, slots=True)
class Picture:
    """An annotated frame.

    Attributes:
        jpeg: With boxes drawn.
        candidates: What was found; of a tracked source, down to the tracker's lowest confidence.
        shown: Places in `candidates` of what is a detection, most confident first.
        width, height: In pixels.
        inference_ms: How long the detector took.
    """

    jpeg: bytes
    candidates: Detections
    shown: NDArray[np.intp]
    width: int
    height: int
    inference_ms: float

    @property
    def detections(self) -> Detections:
        """What is in the picture."""
        return self.candidates[self.shown]


# Beyond those that the detector can use, so that no core waits while a frame goes from one thread to another.
SPARE_THREADS: Final = 1


class Compute:
    """Makes pictures of frames, about as many at once as the detector can.

    A frame stays in one thread from decoding to encoding. So hardly more threads are at work than there are cores, a
    frame's pixels stay in one core's cache, and no more than one decoded frame for each thread takes memory.

    Args:
        quality: Of the pictures' JPEG, 1 to 100.
        confidence_threshold: Least confidence of a detection, where a source has none of its own.
    """

    def __init__(self, detector: Detector, quality: int, confidence_threshold: float) -> None:
        self._detector, self._quality, self._threshold = detector, quality, confidence_threshold
        self._threads = ThreadPoolExecutor(detector.parallelism + SPARE_THREADS, thread_name_prefix="compute")

    @property
    def model(self) -> str:
        """The detector's name."""
        return self._detector.name

    @property
    def class_names(self) -> tuple[str, ...]:
        """By class id."""
        return self._detector.class_names

    def threshold(self, settings: SourceSettings) -> float:
        """Least confidence of a source's detections."""
        return self._threshold if settings.confidence_threshold is None else settings.confidence_threshold

    async def picture(self, frame: Frame, settings: SourceSettings = DEFAULT) -> Picture:
        """Waits for a thread, then for its work.

        Raises:
            FrameError: `undecodable`.
        """
        loop, context = asyncio.get_running_loop(), copy_context()  # so that the thread says for which shard it works
        with doing("core"):
            return await loop.run_in_executor(self._threads, context.run, self.draw, frame, settings)

    def draw(self, frame: Frame, settings: SourceSettings) -> Picture:
        """Does the work in the thread that calls.

        Raises:
            FrameError: `undecodable`.
        """
        with doing("decode"):
            image = codec.decode(frame)
        threshold = self.threshold(settings)
        started = time.perf_counter()
        lowest = min(threshold, LOWEST_CONFIDENCE) if settings.tracks else threshold
        with doing("detect"):
            candidates = self._detector.detect(image, lowest)
        milliseconds = (time.perf_counter() - started) * 1000
        if settings.classes is not None:
            wanted = [number for number, name in enumerate(self.class_names) if name in settings.classes]
            candidates = candidates[np.flatnonzero(np.isin(candidates.class_id, wanted))]
        shown = np.flatnonzero(candidates.confidence >= threshold)
        height, width = image.shape[:2]
        with doing("encode"):
            codec.annotate(image, candidates[shown], self.class_names)
            jpeg = codec.encode(image, self._quality)
        return Picture(jpeg, candidates, shown, width, height, milliseconds)
