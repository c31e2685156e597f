"""Videos and network cameras, through PyAV (FFmpeg), with the time stamps of their streams."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from producer.address import is_url, scheme, shown
from producer.camera import Camera
from producer.clock import HostClock, StreamClock
from producer.errors import PictureError, SourceError, UnreachedError
from producer.mjpeg import LONGEST_WITHOUT_PICTURE_SECONDS, MotionJpeg, open_motion_jpeg
from producer.picture import Image, Picture, Source
from producer.rate import FilmRate

if TYPE_CHECKING:
    from av import FFmpegError, Packet
    from av.container import InputContainer
    from av.video.frame import VideoFrame

OPEN_TIMEOUT_SECONDS: Final = 10.0
READ_TIMEOUT_SECONDS: Final = 10.0
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
            reading = Reading(container, self._address, threads=self.threads)
            first: float | None = None
            for frame in reading.frames():
                seconds = frame.time
                first = seconds if first is None else first
                shown = None if seconds is None or first is None else seconds - first
                yield Picture(render=_pixels(frame), seconds=shown)
            reading.check()


class NetworkCamera(Camera):
    """A camera with a URL (RTSP, HTTP, RTMP, UDP).

    What could not be reached at the start may be a film. It is shown at its pace then, as a camera would.

    Args:
        reached: What `url` leads to; None if it could not be reached, which was told.
    """

    def __init__(self, url: str, reached: InputContainer | MotionJpeg | None) -> None:
        super().__init__(away=reached is None)
        self._url, self._first = url, reached
        self.native_fps = 0.0 if reached is None or isinstance(reached, MotionJpeg) else _fps(reached)
        self._host, self._clock = HostClock(), StreamClock()
        self._may_be_film = reached is None

    def connection(self) -> Generator[Picture, None, None]:
        reached, self._first = self._first or _reach(self._url), None
        if isinstance(reached, MotionJpeg):
            self._may_be_film, came = False, reached.pictures()
        else:
            self.ends = self._may_be_film = self._may_be_film and _is_film(reached)
            came = self._film(reached) if self.ends else self._stream(reached)
        any_came = False
        with reached, closing(came):
            for picture in came:
                any_came = True
                yield picture
        if not any_came:
            raise UnreachedError(f"{shown(self._url)}: no pictures come")

    def _stream(self, container: InputContainer) -> Generator[Picture, None, None]:
        self._clock.begin()
        reading = Reading(container, self._url, LONGEST_WITHOUT_PICTURE_SECONDS, threads=self.threads)
        for frame in reading.frames():
            captured_at = self._clock.captured_at(frame.time, self._host.now())
            yield Picture(render=_pixels(frame), captured_at=captured_at)
        if reading.broken_by:
            raise UnreachedError(f"{shown(self._url)}: {reading.broken_by}")

    def _film(self, container: InputContainer) -> Generator[Picture, None, None]:
        pace = FilmRate(_fps(container))
        film = VideoSource(self._url, container)
        film.threads = self.threads
        for picture in film.pictures():
            time.sleep(pace.wait(picture, time.monotonic()) or 0)
            yield picture


class Reading:
    """Decodes what can be decoded of a container: a damaged packet loses its own pictures only.

    Args:
        address: Names it in errors.
        patience: It breaks off when it sends no picture that can be decoded for so many seconds.
        threads: The most threads of its decoder; 0: one for each core.

    Attributes:
        broken_by: Why it broke off; empty if it did not.
    """

    def __init__(
        self, container: InputContainer, address: str, patience: float = float("inf"), *, threads: int = 0
    ) -> None:
        container.streams.video[0].codec_context.thread_count = threads
        self._container, self._address, self._patience = container, address, patience
        self._listed = _listed(container)
        self._read = self._decoded = self._damaged = 0
        self.broken_by = ""

    def frames(self) -> Iterator[VideoFrame]:
        """Yields its pictures up to its end, or to where it breaks off."""
        import av

        latest = time.monotonic()
        try:
            for packet in self._container.demux(video=0):
                self._read += packet.size > 0
                decoded = self._decoded
                yield from self._decode(packet)
                if self._decoded > decoded:
                    latest = time.monotonic()
                elif time.monotonic() - latest > self._patience:
                    self.broken_by = f"no picture that can be decoded comes for {self._patience:g} seconds"
                    return
        except av.FFmpegError as error:
            if not self._is_end(error):
                self.broken_by = f"it breaks off: {_why(error, READ_TIMEOUT_SECONDS)}"
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
        if self._listed > self._read or self._damaged or self.broken_by:
            why = self.broken_by or "the film is cut or damaged"
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
        return error.errno == errno.EIO and _size(self._container) <= 0


def open_url(url: str) -> Source:
    """Opens a URL: what has a duration is a film, whatever its address, and anything else a camera.

    Raises:
        UnreachedError: If it cannot be reached, or there is no video.
        SourceError: If PyAV is not installed.
    """
    reached = _reach(url)
    if not isinstance(reached, MotionJpeg) and _is_film(reached):
        return VideoSource(url, reached)
    return NetworkCamera(url, reached)


def _reach(url: str) -> InputContainer | MotionJpeg:
    """Opens a URL."""
    is_http = scheme(url) in ("http", "https")
    if is_http and (camera := open_motion_jpeg(url)):
        return camera
    container = _open(url)
    if is_http and container.format.name in ("mpjpeg", "mjpeg"):  # what it is shows in its bytes alone
        container.close()
        return open_motion_jpeg(url, certain=True) or _open(url)
    return container


def _open(address: str) -> InputContainer:
    try:
        import av
    except ModuleNotFoundError:
        raise SourceError("reading videos needs PyAV: pip install 'cv2kinesis[camera]'") from None
    av.logging.set_level(None)  # errors are raised; other messages are noise
    options = RTSP_OPTIONS if scheme(address).startswith("rtsp") else {}
    try:
        container = av.open(
            _for_ffmpeg(address),
            options=options,
            timeout=(OPEN_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS),
            metadata_errors="replace",  # nobody needs a film's title
        )
    except av.ProtocolNotFoundError:
        raise SourceError(
            f"{shown(address)}: the FFmpeg in this PyAV has no {scheme(address)}; use RTSP or HTTP"
        ) from None
    except av.FFmpegError as error:
        # Of a name without an address, and of a camera that says nothing, FFmpeg knows no better words.
        hint = "; is the address right, and the camera on?" if is_url(address) else ""
        why = _why(error, OPEN_TIMEOUT_SECONDS) + hint
        raise UnreachedError(f"{shown(address)}: cannot be opened as a video: {why}") from None
    if not container.streams.video:
        container.close()
        raise UnreachedError(f"{shown(address)}: there is no video in it")
    return container


def _for_ffmpeg(address: str) -> str:
    """An address as FFmpeg understands it: it takes `12:30.mp4` for a protocol, and knows `rtsp` in small letters."""
    if is_url(address):
        return scheme(address) + address[len(scheme(address)) :]
    return os.path.abspath(address)


def _why(error: FFmpegError, seconds: float) -> str:
    import av

    # So FFmpeg obeys a timeout.
    return f"nothing comes for {seconds:g} seconds" if isinstance(error, av.ExitError) else str(error.strerror)


def _pixels(frame: VideoFrame) -> Callable[[], Image]:
    def render() -> Image:
        image = frame.to_ndarray(format="bgr24")
        # Phones store an upright film so.
        turns = round(frame.rotation / 90) % 4
        return np.ascontiguousarray(np.rot90(image, turns)) if turns else image  # type: ignore[return-value]

    return render


def _is_film(container: InputContainer) -> bool:
    return (container.duration or 0) > 0


def _listed(container: InputContainer) -> int:
    """How many pictures the container's index names; 0 if it has none that names all."""
    stream = container.streams.video[0]
    # What an editor has left out of the film is listed too, and not read. Matroska lists its key frames alone.
    return sum(entry.size > 0 and not entry.is_discard for entry in stream.index_entries) if stream.frames else 0


def _is_cut(container: InputContainer) -> bool:
    """Whether the index names pictures beyond the file's end."""
    size = _size(container)
    return size > 0 and any(entry.pos + entry.size > size for entry in container.streams.video[0].index_entries)


def _size(container: InputContainer) -> int:
    """A file's bytes; 0 or less where nobody says it, as over HTTP. PyAV 19 has none then, and 18 a negative number."""
    return container.size or 0


def _fps(container: InputContainer) -> float:
    stream = container.streams.video[0]
    average, usual = float(stream.average_rate or 0), float(stream.guessed_rate or 0)
    # A gap makes the average meaningless.
    fps = average if average >= 1 else usual or average
    return fps if 0 < fps <= 1000 else 0.0
