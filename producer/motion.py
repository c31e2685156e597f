"""Decides whether a picture differs from the last one sent; most pictures of a still scene do not."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from producer.errors import PictureError
from producer.picture import Picture

# Pictures are compared small and grey: a distant person still covers some of these pixels, while noise covers none.
SIZE: Final = (96, 54)
# Levels of 255 by which a pixel must differ: more than what noise and JPEG artefacts leave after the shrinking.
LEVELS: Final = 10
# Share of the pixels that must differ: two of 5 184.
SHARE: Final = 0.0003
# After this time a picture passes whatever it shows: light drifts, and viewers want to see that the camera works.
LONGEST_SECONDS: Final = 10.0


class ChangeGate:
    """Passes pictures that show something new.

    A cheap test, not a detector: branches in the wind pass too. It compares with the last picture that passed, so
    that slow movement adds up.

    Args:
        clock: Monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: NDArray[np.int16] | None = None
        self._passed_at = 0.0

    def passes(self, picture: Picture) -> bool:
        """Whether a picture should be sent. One that cannot be decoded passes, so that the encoder reports it."""
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
        try:
            pixels = picture.pixels()
        except PictureError:
            return None
        grey = cv2.cvtColor(cv2.resize(pixels, SIZE, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
    else:
        # Decodes at an eighth of the size, which is enough.
        decoded = cv2.imdecode(np.frombuffer(picture.jpeg or b"\0", np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8)
        if decoded is None:
            return None
        grey = decoded
    return cv2.resize(grey, SIZE, interpolation=cv2.INTER_AREA).astype(np.int16)
