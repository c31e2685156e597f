"""Which of a source's frames are looked at: every so many, and fewer as long as the picture stands still."""

from __future__ import annotations

import base64
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict

from contract.source_settings import Detect
from kcl_worker.tracking.clock import LOST_SECONDS, elapsed

# Levels of 255 by which one pixel of a glance must differ: more than what noise leaves after the shrinking.
LEVELS: Final = 10


class Pace(BaseModel):
    """Where a source's session stands after one of its frames.

    Attributes:
        at, arrived: The frame's times of capture and of arrival, in seconds.
        since: Frames since the last look; 0: this one is looked at.
        still: Whether the frame shows what was shown at the last look, as far as a glance can tell.
        glance: At the frame of the last look, base64; empty without a gate, or if that frame had none.
    """

    model_config = ConfigDict(frozen=True)

    at: float
    arrived: float
    since: int = 0
    still: bool = False
    glance: str = ""

    @property
    def looks(self) -> bool:
        """Whether the frame is looked at."""
        return self.since == 0


def step(before: Pace | None, detect: Detect, at: float, arrived: float, glance: bytes) -> Pace:
    """Judges a session's next frame.

    Args:
        before: Where the session stood before; None: nobody knows.
        glance: At the frame, for a gate; without one, or if the frame has none, empty.
    """
    look = Pace(at=at, arrived=arrived, glance=base64.b64encode(glance).decode())
    if before is None or elapsed(at - before.at, arrived - before.arrived) > LOST_SECONDS:
        return look
    since = before.since + 1
    still = detect.every_still is not None and not differ(base64.b64decode(before.glance), glance)
    if since >= (detect.longest if still else detect.every):
        return look
    return Pace(at=at, arrived=arrived, since=since, still=still, glance=before.glance)


def differ(one: bytes, other: bytes) -> bool:
    """Whether two glances show different things."""
    if not one or len(one) != len(other):
        return True
    a, b = (np.frombuffer(glance, np.uint8).astype(np.int16) for glance in (one, other))
    return bool((np.abs(a - b) > LEVELS).any())
