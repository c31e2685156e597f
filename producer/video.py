"""Videos and network cameras, through PyAV (FFmpeg), with the time stamps of their streams."""

from __future__ import annotations

import errno
import random
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from producer.address import scheme, shown
from producer.clock import HostClock, StreamClock
from producer.errors import PictureError, SourceError, UnreachedError
from producer.picture import Image, Picture, Source

if TYPE_CHECKING:
    from av import FFmpegError, Packet
    from av.container import InputContainer
    from av.video.frame import VideoFrame

OPEN_TIMEOUT_SECONDS: Final = 10.0
READ_TIMEOUT_SECONDS: Final = 10.0
RECONNECT_BASE_SECONDS: Final = 0.5
RECONNECT_CAP_SECONDS: Final = 30.0
# Over UDP, RTSP's default, a lost packet smears the picture until the next key frame.
RTSP_OPTIONS: Final = {"rtsp_transport": "tcp"}


class VideoSource(Source):
    """A film: a video file, or what a URL leads to if it has an end.

    Args:
        address: Its path or URL.
        container: What `address` leads to, if it is open already.
    """

    def __init__(self, address: str, container: InputContainer | None = None) -> None:
        self._address = address
        self._first: InputContainer | None = container or _open(address)
        self.native_fps = _fps(self._first)

    def pictures(self) -> Iterator[Picture]:
        container, self._first = self._first or _open(self._address), None
        with container:
            # Decodes several pictures at once; the delay does not matter for a file. Before a cut, FFmpeg would lose
            # some good ones.
            container.streams.video[0].thread_type = "SLICE" if _is_cut(container) else "AUTO"
            reading = Reading(container, self._address)
            first: float | None = None
            for frame in reading.frames():
                seconds = frame.time
                first = seconds if first is None else first
                shown = None if seconds is None or first is None else seconds - first
                yield Picture(render=_pixels(frame), seconds=shown)
            reading.check()


class NetworkCamera(Source):
    """A camera with a URL (RTSP, HTTP, RTMP, UDP); it is connected again when it fails.

    Args:
        container: What `url` leads to; None if it could not be reached.
    """

    live = True

    def __init__(self, url: str, container: InputContainer | None) -> None:
        self._url = url
        self._first = container
        self.native_fps = _fps(container) if container else 0.0
        self.away = container is None

    def pictures(self) -> Iterator[Picture]:
        container, self._first = self._first, None
        attempt = 0
        host, clock = HostClock(), StreamClock()
        while True:
            if container is not None:
                clock.begin()
                with container:
                    for frame in Reading(container, self._url).frames():
                        attempt, self.away = 0, False
                        yield Picture(render=_pixels(frame), captured_at=clock.captured_at(frame.time, host.now()))
            attempt, self.away = attempt + 1, True
            time.sleep(random.uniform(0, min(RECONNECT_CAP_SECONDS, RECONNECT_BASE_SECONDS * 2**attempt)))  # noqa: S311
            try:
                container = _open(self._url)
            except SourceError:
                container = None


class Reading:
    """Decodes what can be decoded of a container: a damaged packet loses its own pictures only.

    Args:
        address: Names it in errors.
    """

    def __init__(self, container: InputContainer, address: str) -> None:
        self._container, self._address = container, address
        self._listed = _listed(container)
        self._read = self._decoded = self._damaged = 0
        self._broken_by: FFmpegError | None = None

    def frames(self) -> Iterator[VideoFrame]:
        """Yields its pictures up to its end, or to where it breaks off."""
        import av

        try:
            for packet in self._container.demux(video=0):
                self._read += packet.size > 0
                yield from self._decode(packet)
        except av.FFmpegError as error:
            if not self._is_end(error):
                self._broken_by = error
            last: Packet[Any] = av.Packet()  # an empty one asks for the pictures that the decoder still holds
            last.stream = self._container.streams.video[0]
            last.time_base = last.stream.time_base
            yield from self._decode(last)

    def check(self) -> None:
        """Compares what was decoded with what is there, after the end of `frames`.

        Raises:
            SourceError: If nothing could be decoded.
            PictureError: If there is more, because the film is cut or damaged.
        """
        there = max(self._listed, self._read)
        if not self._decoded:
            raise SourceError(f"{shown(self._address)}: none of its {there} pictures can be decoded")
        if self._listed > self._read or self._damaged or self._broken_by:
            why = f"it breaks off: {self._broken_by.strerror}" if self._broken_by else "the film is cut or damaged"
            text = f"{self._decoded} of {there} pictures can be decoded; {why}"
            raise PictureError(f"{shown(self._address)}: {text}", max(1, there - self._decoded))

    def _decode(self, packet: Packet[Any]) -> Iterator[VideoFrame]:
        import av

        try:
            for frame in packet.decode():
                self._decoded += 1
                yield frame
        except av.EOFError:
            pass
        except av.InvalidDataError:
            self._damaged += 1

    def _is_end(self, error: FFmpegError) -> bool:
        """Whether an error says that a server has closed the connection, which is how answers of unknown length end."""
        return error.errno == errno.EIO and self._container.size <= 0


def open_url(url: str) -> Source:
    """Opens a URL: what has a duration is a film, whatever its address, and anything else a camera.

    Raises:
        UnreachedError: If it cannot be reached, or there is no video.
        SourceError: If PyAV is not installed.
    """
    container = _open(url)
    # Motion JPEG has no times: FFmpeg guesses a duration where the camera claims a length.
    if container.format.name != "mpjpeg" and (container.duration or 0) > 0:
        return VideoSource(url, container)
    return NetworkCamera(url, container)


def _open(address: str) -> InputContainer:
    try:
        import av
    except ModuleNotFoundError:
        raise SourceError("reading videos needs PyAV: pip install 'cv2kinesis[camera]'") from None
    av.logging.set_level(None)  # errors are raised; other messages are noise
    options = RTSP_OPTIONS if scheme(address).startswith("rtsp") else {}
    try:
        container = av.open(address, options=options, timeout=(OPEN_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS))
    except av.FFmpegError as error:
        raise UnreachedError(f"{shown(address)}: cannot be opened as a video: {error.strerror}") from None
    if not container.streams.video:
        container.close()
        raise UnreachedError(f"{shown(address)}: there is no video in it")
    return container


def _pixels(frame: VideoFrame) -> Callable[[], Image]:
    def render() -> Image:
        image = frame.to_ndarray(format="bgr24")
        # Phones store an upright film so.
        turns = round(frame.rotation / 90) % 4
        return np.ascontiguousarray(np.rot90(image, turns)) if turns else image  # type: ignore[return-value]

    return render


def _listed(container: InputContainer) -> int:
    """How many pictures the container's index names; 0 if it has none that names all."""
    stream = container.streams.video[0]
    # What an editor has left out of the film is listed too, and not read. Matroska lists its key frames alone.
    return sum(entry.size > 0 and not entry.is_discard for entry in stream.index_entries) if stream.frames else 0


def _is_cut(container: InputContainer) -> bool:
    """Whether the index names pictures beyond the file's end."""
    entries = container.streams.video[0].index_entries
    return container.size > 0 and any(entry.pos + entry.size > container.size for entry in entries)


def _fps(container: InputContainer) -> float:
    stream = container.streams.video[0]
    average, usual = float(stream.average_rate or 0), float(stream.guessed_rate or 0)
    # A gap makes the average meaningless.
    fps = average if average >= 1 else usual or average
    return fps if 0 < fps <= 1000 else 0.0
