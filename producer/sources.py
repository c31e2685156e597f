"""Where frames come from: a video, images, a webcam, a network camera, the drawn street."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from producer.errors import SourceError
from producer.picture import Picture, Source
from producer.street import Street
from producer.video import NetworkCamera, VideoSource
from producer.webcam import Webcam

IMAGE_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
JPEG_SUFFIXES: Final = frozenset({".jpg", ".jpeg"})
DEMO_FPS: Final = 10.0


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


def open_source(text: str, fps: float = 0) -> Source:
    """Finds out what a SOURCE of the command line is and opens it.

    Raises:
        SourceError: If it is nothing that can be read, with what is allowed.
    """
    if text == "demo" or re.fullmatch(r"demo:\d{1,9}", text):
        return DemoSource(int(text.partition(":")[2] or 0), fps)
    if text.isdecimal() and not Path(text).exists():
        return Webcam(int(text))
    if re.match(r"(rtsps?|https?|rtmp|udp)://", text):
        return NetworkCamera(text)
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
