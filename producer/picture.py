"""A picture, and the sources of pictures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

import cv2
import numpy as np
from numpy.typing import NDArray

from producer.errors import PictureError

# BGR, uint8, (height, width, 3).
Image = NDArray[np.uint8]


@dataclass(slots=True)
class Picture:
    """One picture of a source: its pixels, the bytes of a JPEG file, or a function that makes the pixels.

    Attributes:
        image: BGR pixels, if they exist already.
        jpeg: The bytes of a JPEG file, which need no encoding.
        render: Makes the pixels when they are needed, so that a picture that is left out costs no conversion.
        seconds: Time since the film's first picture; None if only the order is known.
        captured_at: When the source took the picture; None for now.
        name: What its source calls it, such as a file's name.
    """

    image: Image | None = None
    jpeg: bytes | None = None
    render: Callable[[], Image] | None = None
    seconds: float | None = None
    captured_at: datetime | None = None
    name: str = "a picture"

    def pixels(self) -> Image:
        """The decoded picture.

        Raises:
            PictureError: If it cannot be decoded.
        """
        if self.image is not None:
            return self.image
        if self.jpeg is None and self.render is not None:
            self.image = self.render()
            return self.image
        return decoded(self.jpeg or b"", self.name)


class Source(ABC):
    """A sequence of pictures.

    Attributes:
        live: Whether the source does not wait: pictures that nobody takes in time are lost.
        native_fps: The source's own rate in pictures a second; 0 if it has none.
        away: Whether a live source cannot be reached just now, and is tried again.
        reconnects: How often it was reached again.
        tell: Takes a line about what has become of it.
        threads: The most threads of its decoder; 0: one for each core.
    """

    live: bool = False
    native_fps: float = 0.0
    away: bool = False
    reconnects: int = 0
    tell: Callable[[str], None] = staticmethod(lambda _: None)
    threads: int = 0

    @abstractmethod
    def pictures(self) -> Iterator[Picture]:
        """Yields each picture once, in order; a second call starts again. Closing the iterator frees the device.

        Raises:
            PictureError: At the end, if there were more pictures than could be read.
            SourceError: If the source cannot be read.
        """


def decoded(data: bytes, name: str) -> Image:
    """The pixels of an image file.

    Raises:
        PictureError: If it cannot be decoded.
    """
    try:
        image = cv2.imdecode(np.frombuffer(data or b"\0", np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:  # such as more pixels than OpenCV decodes
        raise PictureError(f"{name}: cannot be decoded: {error.err}") from None
    if image is None:
        what = f"{len(data)} bytes that cannot be decoded as an image" if data else "an empty file"
        raise PictureError(f"{name}: {what}")
    return np.asarray(image, np.uint8)
