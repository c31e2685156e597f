"""What a look at a frame has shown, and where that is in the frames after it, at which nobody looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from kcl_worker.vision.detections import Detections

if TYPE_CHECKING:
    from kcl_worker.tracking.scene import Shot

Speed = tuple[float, float]
"""Pixels a second, to the right and down."""

# An object of which less than this share is left in the picture has gone.
LEAST_VISIBLE: Final = 0.3
# An object moves on for no longer than twice the time in which its movement was seen: clocks may leap.
LONGEST: Final = 2.0
# The part of an object's speed that is that of the look before: boxes tremble.
STEADY: Final = 0.4


class Sighted(BaseModel):
    """An object that was seen: one that the message lists (`shown`), or one that has a track."""

    model_config = ConfigDict(frozen=True)

    xyxy: tuple[float, float, float, float]
    confidence: float
    class_id: int
    track: str | None
    shown: bool
    speed: Speed


class Carried(NamedTuple):
    """What a frame has to show. `shown` are indices into `candidates`."""

    candidates: Detections
    shown: list[int]
    tracks: list[str | None]


class Look(BaseModel):
    """What was seen in one frame.

    Attributes:
        time: Of the tracker, in seconds.
        seen: Of the tracker's filter, in seconds.
        gap: Seconds since the look before; 0 for the first.
        header_size: Width and height by the frame's header, before it is turned.
        size: Of the picture, width and height in pixels.
    """

    model_config = ConfigDict(frozen=True)

    time: float
    seen: float
    gap: float
    header_size: tuple[int, int]
    size: tuple[int, int]
    objects: tuple[Sighted, ...]

    def carry(self, time: float) -> Carried:
        """Where all that is at a later time: it has moved on at its speed, and keeps its size."""
        seconds = min(time - self.time, LONGEST * self.gap)
        before = np.array([one.xyxy for one in self.objects]).reshape(-1, 4)
        moved = before + np.array([one.speed * 2 for one in self.objects]).reshape(-1, 4) * seconds
        xyxy = np.clip(moved, 0, np.array([*self.size, *self.size]))
        left = np.flatnonzero(_areas(xyxy) >= LEAST_VISIBLE * _areas(before))
        objects = [self.objects[place] for place in left]
        candidates = Detections(
            xyxy[left].astype(np.float32),
            np.array([one.confidence for one in objects], np.float32),
            np.array([one.class_id for one in objects], np.int32),
        )
        shown = [place for place, one in enumerate(objects) if one.shown]
        return Carried(candidates, shown, [one.track for one in objects])


def look_of(
    before: Look | None,
    time: float,
    seen: float,
    shot: Shot,
    tracks: Sequence[str | None],
    filtered: Mapping[str, Speed],
) -> Look:
    """What was seen in a frame.

    An object's speed is that between two looks, steadied by the one before: it follows a turn sooner than the filter's,
    which is taken for an object that the look before has missed.

    Args:
        before: The look before.
        tracks: Of each candidate.
        filtered: The speed of each track by its filter, and the filter's clock.
    """
    gap, step = (time - before.time, seen - before.seen) if before else (0.0, 0.0)
    known = {one.track: one for one in before.objects if one.track} if before else {}

    def speed(track: str | None, xyxy: Sequence[float]) -> Speed:
        if track is None or gap <= 0:
            return 0.0, 0.0
        if old := known.get(track):
            moved = zip(_middle(xyxy), _middle(old.xyxy), old.speed, strict=True)
            x, y = ((1 - STEADY) * (after - before) / gap + STEADY * past for after, before, past in moved)
            return x, y
        x, y = filtered.get(track, (0.0, 0.0))
        return x * step / gap, y * step / gap

    shown, found = set(shot.shown), shot.candidates
    return Look(
        time=time,
        seen=seen,
        gap=gap,
        header_size=shot.header_size,
        size=(shot.width, shot.height),
        objects=tuple(
            Sighted.model_construct(
                xyxy=tuple(xyxy),
                confidence=confidence,
                class_id=class_id,
                track=track,
                shown=place in shown,
                speed=speed(track, xyxy),
            )
            for place, (xyxy, confidence, class_id, track) in enumerate(
                zip(found.xyxy.tolist(), found.confidence.tolist(), found.class_id.tolist(), tracks, strict=True)
            )
            if place in shown or track is not None
        ),
    )


def _middle(xyxy: Sequence[float]) -> tuple[float, float]:
    x1, y1, x2, y2 = xyxy
    return (x1 + x2) / 2, (y1 + y2) / 2


def _areas(xyxy: NDArray[np.float64]) -> NDArray[np.float64]:
    x1, y1, x2, y2 = xyxy.T
    areas: NDArray[np.float64] = (x2 - x1) * (y2 - y1)
    return areas
