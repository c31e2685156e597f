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
    speeds: Mapping[str, Speed],
) -> Look:
    """What was seen in a frame.

    Args:
        before: The look before.
        time, seen: Of the tracker and of its filter, in seconds.
        tracks: Of each candidate.
        speeds: Of each track, by the filter's clock.
    """
    gap = time - before.time if before else 0.0
    # What the filter takes for one frame was the time between two looks.
    share = (seen - before.seen) / gap if before and gap > 0 else 0.0

    def speed(track: str | None) -> Speed:
        x, y = speeds.get(track or "", (0.0, 0.0))
        return x * share, y * share

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
                speed=speed(track),
            )
            for place, (xyxy, confidence, class_id, track) in enumerate(
                zip(found.xyxy.tolist(), found.confidence.tolist(), found.class_id.tolist(), tracks, strict=True)
            )
            if place in shown or track is not None
        ),
    )


def _areas(xyxy: NDArray[np.float64]) -> NDArray[np.float64]:
    x1, y1, x2, y2 = xyxy.T
    areas: NDArray[np.float64] = (x2 - x1) * (y2 - y1)
    return areas
