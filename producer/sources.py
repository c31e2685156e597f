"""Where frames come from: a video, images, a webcam, a network camera, the drawn street."""

from __future__ import annotations

import glob
import os
import random
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from producer.errors import SourceError
from producer.street import Image, Street

IMAGE_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
JPEG_SUFFIXES: Final = frozenset({".jpg", ".jpeg"})
DEMO_FPS: Final = 10.0
RECONNECT_CAP_SECONDS: Final = 30.0
OPEN_TIMEOUT_MS: Final = 10_000
READ_TIMEOUT_MS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of a source: its pixels, its JPEG file as it is, or both ways open.

    Attributes:
        image: BGR, or None while only the file is known.
        jpeg: The bytes of a JPEG file, which need no encoding.
    """

    image: Image | None = None
    jpeg: bytes | None = None

    def pixels(self) -> Image:
        """The decoded picture.

        Raises:
            SourceError: If the file cannot be decoded.
        """
        if self.image is not None:
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
        """Each picture once, in order. Called once; closing the iterator frees the device.

        Raises:
            SourceError: If the source cannot be read.
        """


class DemoSource(Source):
    """The drawn street; every seed shows another one."""

    native_fps = DEMO_FPS

    def __init__(self, seed: int = 0, fps: float = DEMO_FPS) -> None:
        self._seed, self._fps = seed, fps or DEMO_FPS

    def pictures(self) -> Iterator[Picture]:
        for image in Street(self._seed).frames(self._fps):
            yield Picture(image)


class ImageSource(Source):
    """Image files, in the order of their names. JPEGs are passed on as they are."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths

    def pictures(self) -> Iterator[Picture]:
        for path in self._paths:
            try:
                data = path.read_bytes()
            except OSError as error:
                raise SourceError(f"{path}: {error.strerror}") from None
            if path.suffix.lower() in JPEG_SUFFIXES:
                yield Picture(jpeg=data)
                continue
            image = cv2.imdecode(np.frombuffer(data or b"\0", np.uint8), cv2.IMREAD_COLOR)
            if image is None:
                raise SourceError(f"{path}: not an image that can be read")
            yield Picture(np.asarray(image, np.uint8))


class VideoSource(Source):
    """A video file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        capture = _open(str(path))
        self.native_fps = _fps(capture)
        capture.release()

    def pictures(self) -> Iterator[Picture]:
        yield from _read_all(_open(str(self._path)))


class CameraSource(Source):
    """A webcam by its index, or a network camera by its URL, which is reconnected when it fails."""

    live = True

    def __init__(self, address: int | str) -> None:
        self._address = address
        self._first = _open(address)
        self.native_fps = _fps(self._first)

    def pictures(self) -> Iterator[Picture]:
        capture: cv2.VideoCapture | None = self._first
        attempt = 0
        while True:
            if capture is not None:
                for picture in _read_all(capture):
                    attempt = 0
                    yield picture
            if isinstance(self._address, int):
                raise SourceError(f"webcam {self._address}: no more pictures")
            attempt += 1
            time.sleep(random.uniform(0, min(RECONNECT_CAP_SECONDS, 0.5 * 2**attempt)))  # noqa: S311
            try:
                capture = _open(self._address)
            except SourceError:
                capture = None


def open_source(text: str, fps: float = 0) -> Source:
    """Finds out what a SOURCE of the command line is and opens it.

    Raises:
        SourceError: If it is nothing that can be read, with what is allowed.
    """
    if text == "demo" or re.fullmatch(r"demo:\d{1,9}", text):
        return DemoSource(int(text.partition(":")[2] or 0), fps)
    if text.isdecimal() and not Path(text).exists():
        return CameraSource(int(text))
    if re.match(r"(rtsps?|https?|rtmp|udp)://", text):
        return CameraSource(text)
    path = Path(text).expanduser()
    if path.is_dir():
        return ImageSource(_images(path.iterdir(), text))
    if path.is_file():
        return ImageSource([path]) if path.suffix.lower() in IMAGE_SUFFIXES else VideoSource(path)
    if glob.has_magic(text):
        return ImageSource(_images(map(Path, glob.iglob(str(path), recursive=True)), text))
    raise SourceError(
        f"{text}: no such file; a video, a folder or glob of images, a webcam's index, an RTSP or HTTP URL, "
        "or `demo` is allowed"
    )


def source_name(text: str) -> str:
    """A source id made of a SOURCE: its file's or host's name, in the characters that are allowed."""
    if text.isdecimal():
        return f"webcam-{text}"
    name = re.sub(r"^\w+://([^/@]*@)?", "", text)  # a URL's password must not become a name
    name = name.split("?")[0].rstrip("/")
    if "://" not in text:
        name = Path(name).stem if not Path(text).is_dir() else Path(name).name
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:128]
    return name or "source"


def _images(paths: Iterator[Path], text: str) -> list[Path]:
    found = sorted(path for path in paths if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    if not found:
        raise SourceError(f"{text}: no images there; {', '.join(sorted(IMAGE_SUFFIXES))} are read")
    return found


def _open(address: int | str) -> cv2.VideoCapture:
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    if isinstance(address, int):
        capture = cv2.VideoCapture(address)
    else:
        timeouts = [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_TIMEOUT_MS,
            cv2.CAP_PROP_READ_TIMEOUT_MSEC, READ_TIMEOUT_MS,
        ]  # fmt: skip
        capture = cv2.VideoCapture(address, cv2.CAP_FFMPEG, timeouts)
    if not capture.isOpened():
        capture.release()
        what = f"webcam {address}" if isinstance(address, int) else _without_password(address)
        raise SourceError(f"{what}: cannot be opened as a video")
    return capture


def _read_all(capture: cv2.VideoCapture) -> Iterator[Picture]:
    try:
        while True:
            ok, image = capture.read()
            if not ok:
                return
            yield Picture(np.asarray(image, np.uint8))
    finally:
        capture.release()


def _fps(capture: cv2.VideoCapture) -> float:
    fps = float(capture.get(cv2.CAP_PROP_FPS))
    return fps if 0 < fps <= 1000 else 0.0


def _without_password(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//", url)
