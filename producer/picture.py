"""A picture and what gives pictures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

import cv2
import numpy as np
from numpy.typing import NDArray

from producer.errors import SourceError

# BGR, (height, width, 3).
Image = NDArray[np.uint8]


@dataclass(slots=True)
class Picture:
    """One picture of a source: its pixels, a JPEG file as it is, or what gives the pixels.

    Attributes:
        image: BGR, if it is there already.
        jpeg: The bytes of a JPEG file, which need no encoding.
        render: Makes the pixels when they are asked for; a picture that is left out costs no conversion.
        seconds: In the film, from its first picture; None if only the order is known.
        captured_at: When the source took it; None: just now.
    """

    image: Image | None = None
    jpeg: bytes | None = None
    render: Callable[[], Image] | None = None
    seconds: float | None = None
    captured_at: datetime | None = None

    def pixels(self) -> Image:
        """The decoded picture.

        Raises:
            SourceError: If the file cannot be decoded.
        """
        if self.image is not None:
            return self.image
        if self.render is not None:
            self.image = self.render()
            return self.image
        image = cv2.imdecode(np.frombuffer(self.jpeg or b"\0", np.uint8), cv2.IMREAD_COLOR)
        if image is None:
            raise SourceError("a JPEG that cannot be decoded")
        return np.asarray(image, np.uint8)


class Source(ABC):
    """A sequence of pictures.

    Attributes:
        live: Whether time goes on without us: pictures that nobody takes are gone.
        native_fps: Pictures a second by nature; 0 if there is no such rate.
    """

    live: bool = False
    native_fps: float = 0.0

    @abstractmethod
    def pictures(self) -> Iterator[Picture]:
        """Each picture once, in order; again from the first if called again. Closing the iterator frees the device.

        Raises:
            SourceError: If the source cannot be read.
        """
