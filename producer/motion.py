"""Whether a picture differs from the last one that was sent: most of a still camera's pictures need not be."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from producer.picture import Picture

# Pictures are compared small and grey: a person far away still covers some of these pixels, noise covers none.
SIZE: Final = (96, 54)
# Levels of 255 by which a pixel must differ; more than sensors' noise and JPEG's artefacts leave after the shrinking.
LEVELS: Final = 10
# Of the pixels: two of 5 184.
SHARE: Final = 0.0003
# A picture goes after so long whatever it shows: light drifts, and who watches wants to know that the camera lives.
LONGEST_SECONDS: Final = 10.0


class ChangeGate:
    """Lets pictures pass that show something new.

    A cheap test, not a detector: branches in the wind pass too. Pictures are compared with the last one that passed, so
    that slow movement adds up.

    Args:
        clock: Seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: NDArray[np.int16] | None = None
        self._passed_at = 0.0

    def passes(self, picture: Picture) -> bool:
        """Whether it should be sent; one that cannot be decoded passes, for others to say so."""
        small = _thumbnail(picture)
        if small is None:
            return True
        now = self._clock()
        if self._last is not None and now - self._passed_at < LONGEST_SECONDS:
            changed = np.abs(small - self._last) > LEVELS
            if changed.mean() < SHARE:
                return False
        self._last, self._passed_at = small, now
        return True


def _thumbnail(picture: Picture) -> NDArray[np.int16] | None:
    if picture.jpeg is None:
        grey = cv2.cvtColor(cv2.resize(picture.pixels(), SIZE, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
    else:
        # An eighth of the size is all that is decoded.
        decoded = cv2.imdecode(np.frombuffer(picture.jpeg or b"\0", np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8)
        if decoded is None:
            return None
        grey = decoded
    return cv2.resize(grey, SIZE, interpolation=cv2.INTER_AREA).astype(np.int16)
