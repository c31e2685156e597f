"""What is computed of a frame: its pixels, what is in them and, if anybody wants it, the annotated picture."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from contract import Frame
from contract.masks import black_out
from contract.source_settings import DEFAULT, SourceSettings
from kcl_worker.doing import doing
from kcl_worker.vision import codec
from kcl_worker.vision.detections import LOWEST_CONFIDENCE, Detections, Image
from kcl_worker.vision.detector import Detector
from kcl_worker.vision.privacy import hide
from kcl_worker.vision.sharpness import sharpness

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Picture:
    """What was seen in a frame.

    Attributes:
        jpeg: With boxes drawn and without what is private; empty as long as nobody is known to want it.
        candidates: What was found; of a tracked source, down to the tracker's lowest confidence.
        shown: Places in `candidates` of what is a detection, most confident first.
        width, height: In pixels.
        inference_ms: How long the detector took.
        sharpness: Of each candidate, from 0 to 1; of a source without events, nothing.
        private: Objects that the picture must not show.
        carried: Whether nobody has looked at the frame; the candidates are where their tracks have to be.
    """

    jpeg: bytes
    candidates: Detections
    shown: NDArray[np.intp]
    width: int
    height: int
    inference_ms: float
    sharpness: tuple[float, ...] = ()
    private: Detections = field(default_factory=Detections.empty)
    carried: bool = False

    @property
    def detections(self) -> Detections:
        """What is in the picture."""
        return self.candidates[self.shown]


# Beyond those that the detector can use, so that no core waits while a frame goes from one thread to another.
SPARE_THREADS: Final = 1
GLANCE_THREADS: Final = 2
MASK_EDGE: Final = 3
# Objects of a picture that can be hidden; a crowd has more than are listed.
MAX_HIDDEN: Final = 1000


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
        # Not among those that may stand in a call to a service that is away.
        self._glances = ThreadPoolExecutor(GLANCE_THREADS, thread_name_prefix="glance")

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
        return await self._in_thread(self.look, frame, settings)

    async def glance(self, frame: Frame, settings: SourceSettings) -> bytes:
        """A frame's tiny grey picture, row by row; says that the frame can be decoded, too.

        It waits for no core: decisions about other frames wait for it.

        Raises:
            FrameError: `undecodable`.
        """
        loop, context = asyncio.get_running_loop(), copy_context()
        return await loop.run_in_executor(self._glances, partial(context.run, self.glance_at, frame, settings))

    def glance_at(self, frame: Frame, settings: SourceSettings) -> bytes:
        """Glances in the thread that calls.

        Raises:
            FrameError: `undecodable`.
        """
        with doing("decode"):
            small = codec.glance(frame)
            black_out(small, settings.privacy.masks, 1)
        return small.tobytes()

    async def jpeg(self, frame: Frame, seen: Picture, settings: SourceSettings) -> bytes:
        """The annotated picture of a frame that was seen before; waits as `picture` does."""
        return seen.jpeg or await self._in_thread(self.draw, frame, seen, settings)

    async def _in_thread(self, work: Callable[..., Result], *arguments: object) -> Result:
        loop, context = asyncio.get_running_loop(), copy_context()  # so that the thread says for which shard it works
        with doing("core"):
            return await loop.run_in_executor(self._threads, partial(context.run, work, *arguments))

    def look(self, frame: Frame, settings: SourceSettings, *, always_draw: bool = False) -> Picture:
        """Does the work in the thread that calls; draws what is certain to be stored.

        Raises:
            FrameError: `undecodable`.
        """
        image = self._decode(frame, settings)
        threshold = self.threshold(settings)
        started = time.perf_counter()
        deep = settings.tracks or settings.privacy.hides_classes
        lowest = min(threshold, LOWEST_CONFIDENCE) if deep else threshold
        with doing("detect"):
            most = MAX_HIDDEN if settings.privacy.hides_classes else None
            found = self._detector.detect(image, lowest, most)
        milliseconds = (time.perf_counter() - started) * 1000
        private = self._private(found, settings)
        candidates = found[np.arange(min(len(found), self._detector.max_detections))] if most else found
        if settings.classes is not None:
            candidates = candidates[self._of_classes(candidates, settings.classes)]
        if not settings.tracks:
            candidates = candidates[np.flatnonzero(candidates.confidence >= threshold)]
        shown = np.flatnonzero(candidates.confidence >= threshold)
        height, width = image.shape[:2]
        sharp = tuple(sharpness(image, candidates.xyxy)) if settings.events else ()
        seen = Picture(b"", candidates, shown, width, height, milliseconds, sharp, private)
        if always_draw or settings.stores_at_once(len(shown)):
            return replace(seen, jpeg=self._finish(image, seen, settings))
        return seen

    def draw(self, frame: Frame, seen: Picture, settings: SourceSettings) -> bytes:
        """Draws a frame that was seen before."""
        return self._finish(self._decode(frame, settings), seen, settings)

    def _decode(self, frame: Frame, settings: SourceSettings) -> Image:
        with doing("decode"):
            image = codec.decode(frame)
            black_out(image, settings.privacy.masks, MASK_EDGE)
        return image

    def _finish(self, image: Image, seen: Picture, settings: SourceSettings) -> bytes:
        with doing("encode"):
            hide(image, seen.private, self.class_names, settings.privacy)
            codec.annotate(image, seen.detections, self.class_names, corners=seen.carried)
            return codec.encode(image, self._quality)

    def _private(self, found: Detections, settings: SourceSettings) -> Detections:
        """What must not be recognised, however uncertain it is."""
        if not settings.privacy.hides_classes:
            return Detections.empty()
        return found[self._of_classes(found, (*settings.privacy.blur, *settings.privacy.fill))]

    def _of_classes(self, found: Detections, names: Sequence[str]) -> NDArray[np.intp]:
        wanted = [number for number, name in enumerate(self.class_names) if name in names]
        return np.flatnonzero(np.isin(found.class_id, wanted))
