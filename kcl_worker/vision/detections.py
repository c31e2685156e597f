"""What a detector finds, in the usual form of object detection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""A decoded picture: BGR, [height, width, 3]."""

# Boxes below a detection's confidence, down to this one, keep the track of a half-hidden object; they begin no track.
LOWEST_CONFIDENCE: Final = 0.1


@dataclass(frozen=True, slots=True)
class Detections:
    """The objects in one image, most confident first.

    Attributes:
        xyxy: Boxes in pixels of the image, x1 y1 x2 y2, clipped to it: float32 [N, 4].
        confidence: 0 to 1, float32 [N].
        class_id: Index into the detector's `class_names`, int32 [N].
    """

    xyxy: NDArray[np.float32]
    confidence: NDArray[np.float32]
    class_id: NDArray[np.int32]

    @classmethod
    def empty(cls) -> Detections:
        """Detections of an image in which nothing was found."""
        return cls(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int32))

    def __getitem__(self, places: NDArray[np.intp]) -> Detections:
        """The detections at these indices, in their order."""
        return Detections(self.xyxy[places], self.confidence[places], self.class_id[places])

    def __len__(self) -> int:
        return len(self.confidence)
