"""Frames as a film.

With the extra `camera` it is H.264, which phones and browsers play; without it MPEG-4 part 2, which players such as VLC
and mpv play. Either has a constant rate: a frame is repeated until the next one's time has come.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, Final

import cv2

from consumer.clips.pictures import Image, decode
from consumer.clips.shots import Shots
from consumer.errors import DiskError, GoneError, RefusedError
from consumer.files import complete

MAX_FPS: Final = 30
# The longer side of a film's picture; larger frames become smaller.
MAX_SIDE: Final = 1920
_HIGH_QUALITY: Final = {"preset": "veryfast", "crf": "23"}


@dataclass(frozen=True, slots=True)
class Made:
    """What was written.

    Attributes:
        frames: Different ones.
        gone: Frames that were not there any more.
        refused: Frames that cannot be decoded.
    """

    frames: int
    gone: int
    refused: int
    seconds: float
    fps: int


def write_film(path: Path, shots: Shots) -> Made:
    """Writes a film; a file is complete or does not exist.

    Raises:
        GoneError: If no frame is there any more.
        RefusedError: If none can be decoded.
        DiskError: If the film cannot be written.
        ConsumerError: If frames cannot be read.
    """
    try:
        with complete(path, ".mp4") as part:
            return _written(part, shots)
    except OSError as error:
        raise DiskError(f"{path}: {error.strerror or error}") from None


def _written(path: Path, shots: Shots) -> Made:
    fps = rate(shots.times)
    film: _Film | None = None
    written = frames = gone = 0
    refused: list[RefusedError] = []
    image: Image | None = None
    for number, at in enumerate(shots.times):
        try:
            following = decode(shots.picture(number))
        except GoneError:
            gone += 1
            continue
        except RefusedError as error:
            refused.append(error)
            continue
        film = film or _film(path, fps, following)
        place = round((at - shots.times[0]).total_seconds() * fps)
        written += film.repeat(image, place - written)
        image, frames = following, frames + 1
    if film is None:
        raise refused[0] if refused else GoneError("none of the frames is there any more")
    written += film.repeat(image, 1)
    film.close()
    return Made(frames, gone, len(refused), written / fps, fps)


def rate(times: Sequence[datetime]) -> int:
    """Frames a second that show frames at their times, 1 to 30, by the usual time between two."""
    gaps = [(after - before).total_seconds() for before, after in pairwise(times)]
    usual = median(gaps) if gaps else 1.0
    return MAX_FPS if usual <= 1 / MAX_FPS else max(1, round(1 / usual))


class _Film(ABC):
    """A film that is being written.

    Args:
        first: Gives it its size; frames of another one are stretched.
    """

    def __init__(self, first: Image) -> None:
        height, width = first.shape[:2]
        scale = min(1.0, MAX_SIDE / max(width, height))
        # Encoders keep colour for two pixels at a time.
        self.size = max(2, round(width * scale) // 2 * 2), max(2, round(height * scale) // 2 * 2)

    def repeat(self, image: Image | None, times: int) -> int:
        """Writes a frame so many times; gives how many that were."""
        if image is None or times <= 0:
            return 0
        if (image.shape[1], image.shape[0]) != self.size:
            image = cv2.resize(image, self.size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        for _ in range(times):
            self.write(image)
        return times

    @abstractmethod
    def write(self, image: Image) -> None:
        """Writes a frame of the film's size."""

    @abstractmethod
    def close(self) -> None:
        """Completes the file."""


class _H264(_Film):
    def __init__(self, av: Any, path: Path, fps: int, first: Image) -> None:
        super().__init__(first)
        self._av = av
        self._file = av.open(str(path), "w", options={"movflags": "faststart"})
        self._stream = self._file.add_stream("libx264", rate=Fraction(fps), options=_HIGH_QUALITY)
        self._stream.width, self._stream.height = self.size
        self._stream.pix_fmt = "yuv420p"

    def write(self, image: Image) -> None:
        self._encode(self._av.VideoFrame.from_ndarray(image, "bgr24"))

    def close(self) -> None:
        self._encode(None)
        self._file.close()

    def _encode(self, frame: Any) -> None:
        try:
            self._file.mux(self._stream.encode(frame))
        except self._av.FFmpegError as error:  # only some of them are an `OSError`
            raise OSError(error.errno, error.strerror) from None


class _Mpeg4(_Film):
    def __init__(self, path: Path, fps: int, first: Image) -> None:
        super().__init__(first)
        self._path, self._frames = path, 0
        path.touch()  # OpenCV does not say why it cannot write
        self._writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, self.size)
        if not self._writer.isOpened():
            raise OSError("OpenCV cannot write MPEG-4 here")

    def write(self, image: Image) -> None:
        self._writer.write(image)
        self._frames += 1

    def close(self) -> None:
        self._writer.release()
        # Nor does it say that it could not write on.
        film = cv2.VideoCapture(str(self._path))
        whole = film.isOpened() and film.get(cv2.CAP_PROP_FRAME_COUNT) >= self._frames
        film.release()
        if not whole:
            raise OSError("OpenCV could not write all of it: is there room?")


def _film(path: Path, fps: int, first: Image) -> _Film:
    try:
        import av
    except ImportError:
        return _Mpeg4(path, fps, first)
    return _H264(av, path, fps, first)
