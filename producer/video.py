"""Videos and network cameras, through PyAV (FFmpeg), with the time stamps of their streams."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from producer.errors import SourceError
from producer.picture import Image, Picture, Source

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame

OPEN_TIMEOUT_SECONDS: Final = 10.0
READ_TIMEOUT_SECONDS: Final = 10.0
RECONNECT_BASE_SECONDS: Final = 0.5
RECONNECT_CAP_SECONDS: Final = 30.0
# Through UDP, RTSP's default, a lost packet smears the picture until the next key frame.
RTSP_OPTIONS: Final = {"rtsp_transport": "tcp"}
# How long the fastest picture is looked for that tells where the camera's clock stands.
CLOCK_WINDOW_SECONDS: Final = 60.0
# A stream that is off by more has begun anew.
CLOCK_JUMP_SECONDS: Final = 5.0


class VideoSource(Source):
    """A video file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with _open(str(path)) as container:
            self.native_fps = _fps(container)

    def pictures(self) -> Iterator[Picture]:
        with _open(str(self._path)) as container:
            # Several pictures at once; the delay that this makes hurts no file.
            container.streams.video[0].thread_type = "AUTO"
            first: float | None = None
            for frame in _frames(container, str(self._path)):
                seconds = frame.time
                first = seconds if first is None else first
                shown = None if seconds is None or first is None else seconds - first
                yield Picture(render=_pixels(frame), seconds=shown)


class NetworkCamera(Source):
    """A camera with a URL (RTSP, HTTP, RTMP, UDP), called again when it fails."""

    live = True

    def __init__(self, url: str) -> None:
        self._url = url
        self._first: InputContainer | None = _open(url)
        self.native_fps = _fps(self._first)

    def pictures(self) -> Iterator[Picture]:
        container, self._first = self._first, None
        attempt = 0
        while True:
            if container is not None:
                clock = StreamClock()
                with container:
                    try:
                        for frame in _frames(container, self._url):
                            attempt = 0
                            yield Picture(render=_pixels(frame), captured_at=clock.captured_at(frame.time, time.time()))
                    except SourceError:
                        pass  # broken off, as cameras do
            attempt += 1
            time.sleep(random.uniform(0, min(RECONNECT_CAP_SECONDS, RECONNECT_BASE_SECONDS * 2**attempt)))  # noqa: S311
            try:
                container = _open(self._url)
            except SourceError:
                container = None


class StreamClock:
    """Puts a stream's time stamps on our clock.

    A picture's delay on the network and in buffers varies; the camera's intervals do not. So the picture of the last
    minute that was fastest on its way says where the camera's clock stands, and the others are counted from it. What
    the fastest took is not known, hence the times are late by that.
    """

    def __init__(self) -> None:
        self._offset: float | None = None
        self._fastest = float("inf")
        self._window_ends = 0.0

    def captured_at(self, stamp: float | None, now: float) -> datetime:
        """When a picture was taken.

        Args:
            stamp: Its time stamp, in seconds of the stream's own clock; None if it has none.
            now: Seconds since the epoch.
        """
        if stamp is None:
            return datetime.fromtimestamp(now, UTC)
        offset = now - stamp
        if self._offset is None or abs(offset - self._offset) > CLOCK_JUMP_SECONDS:
            self._offset, self._fastest, self._window_ends = offset, offset, now + CLOCK_WINDOW_SECONDS
        self._fastest = min(self._fastest, offset)
        self._offset = min(self._offset, offset)
        if now >= self._window_ends:
            # Clocks drift apart, in either direction.
            self._offset, self._fastest, self._window_ends = self._fastest, offset, now + CLOCK_WINDOW_SECONDS
        return datetime.fromtimestamp(stamp + self._offset, UTC)


def _open(address: str) -> InputContainer:
    try:
        import av
    except ModuleNotFoundError:
        raise SourceError("reading videos needs PyAV: pip install 'cv2kinesis[camera]'") from None
    av.logging.set_level(None)  # errors are raised; the rest is chatter
    options = RTSP_OPTIONS if address.startswith("rtsp") else {}
    try:
        container = av.open(address, options=options, timeout=(OPEN_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS))
    except av.FFmpegError as error:
        raise SourceError(f"{_without_password(address)}: cannot be opened as a video: {error.strerror}") from None
    if not container.streams.video:
        container.close()
        raise SourceError(f"{_without_password(address)}: there is no video in it")
    return container


def _frames(container: InputContainer, address: str) -> Iterator[VideoFrame]:
    """Decodes what can be decoded; a damaged packet costs its pictures, not the film."""
    import av

    decoded = damaged = 0
    try:
        for packet in container.demux(video=0):
            try:
                for frame in packet.decode():
                    decoded += 1
                    yield frame
            except av.InvalidDataError:
                damaged += 1
    except av.FFmpegError as error:
        raise SourceError(f"{_without_password(address)}: {error.strerror}") from None
    if damaged and not decoded:
        raise SourceError(f"{_without_password(address)}: none of its {damaged} pictures can be decoded")


def _pixels(frame: VideoFrame) -> Callable[[], Image]:
    def render() -> Image:
        image = frame.to_ndarray(format="bgr24")
        # How phones store a film that was taken upright.
        turns = round(frame.rotation / 90) % 4
        return np.ascontiguousarray(np.rot90(image, turns)) if turns else image  # type: ignore[return-value]

    return render


def _fps(container: InputContainer) -> float:
    stream = container.streams.video[0]
    fps = float(stream.average_rate or stream.guessed_rate or 0)
    return fps if 0 < fps <= 1000 else 0.0


def _without_password(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//", url)
