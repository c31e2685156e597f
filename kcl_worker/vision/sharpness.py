"""How sharp an object is in a picture."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from kcl_worker.vision.detections import Image

# Objects are compared at one size, for a large one has softer edges by itself.
SIDE: Final = 64
# Variance of the Laplacian that counts half: between a blurred and a sharp object of `vtest.avi`.
_HALF: Final = 150.0


def sharpness(image: Image, xyxy: NDArray[np.float32]) -> list[float]:
    """Of the object in each box, from 0 to 1.

    It is the variance of the Laplacian, as in Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy: a
    comparative study", ICPR 2000, brought to a scale that ends.
    """
    found = []
    for x1, y1, x2, y2 in xyxy.astype(int).tolist():
        part = image[max(0, y1) : max(0, y2), max(0, x1) : max(0, x2)]
        if not part.size:
            found.append(0.0)
            continue
        grey = cv2.cvtColor(cv2.resize(part, (SIDE, SIDE), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
        variance = float(cv2.Laplacian(grey, cv2.CV_32F).var())
        found.append(round(variance / (variance + _HALF), 4))
    return found
