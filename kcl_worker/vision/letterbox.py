"""Fits an image into the network's input, and boxes back into the image.

The arithmetic, roundings included, is that of ultralytics' `LetterBox`, with which the weights were trained.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from kcl_worker.vision.detections import Image

PADDING_GREY = 114


@dataclass(frozen=True, slots=True)
class Letterbox:
    """How an image lies in the network's input.

    Attributes:
        shape: Height and width of the input, in pixels.
        content: Height and width of the scaled image in it.
        top, left: Where the scaled image begins.
        scale: Input pixels for each pixel of the image.
    """

    shape: tuple[int, int]
    content: tuple[int, int]
    top: int
    left: int
    scale: float

    @classmethod
    def fit(
        cls, height: int, width: int, size: int | tuple[int, int], stride: int, *, square: bool = False
    ) -> Letterbox:
        """Scales into `size`, height and width or both in one, and pads to a multiple of `stride`.

        A 1280x720 image then runs at 384x640; `square` pads it to the whole of `size`.
        """
        high, wide = (size, size) if isinstance(size, int) else size
        scale = min(high / height, wide / width)
        # An image that is a thousand times wider than high keeps at least one pixel.
        content = max(1, round(height * scale)), max(1, round(width * scale))
        down, right = high - content[0], wide - content[1]
        if not square:
            down, right = down % stride, right % stride
        top, left = round(down / 2 - 0.1), round(right / 2 - 0.1)
        return cls((content[0] + down, content[1] + right), content, top, left, scale)

    def place(self, image: Image, target: Image) -> None:
        """Draws the image into one input of the network, [height, width, 3] of uint8."""
        height, width = self.content
        window = target[self.top : self.top + height, self.left : self.left + width]
        if window.shape != target.shape:
            target.fill(PADDING_GREY)
        if image.shape[:2] == self.content:
            window[:] = image
        else:
            cv2.resize(image, (width, height), dst=window, interpolation=cv2.INTER_LINEAR)

    def restore(self, xyxy: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
        """Converts boxes [N, 4] from the input back to an image of this size, and clips them to it."""
        offset = np.array((self.left, self.top, self.left, self.top), np.float32)
        limit = np.array((width, height, width, height), np.float32)
        return np.asarray(np.clip((xyxy - offset) / np.float32(self.scale), 0, limit), np.float32)
